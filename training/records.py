"""The records of training: the batch that a loader yields, and the output of a model.

B: batch, C: 3 colours (RGB), H, W: pixels, D: features of an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Pictures with their labels. ``mixed_with_B`` and ``lam_B`` are None in a batch without mixing."""

    image_BCHW: Tensor  # float32 in [0, 1], RGB; normalisation belongs to the model
    target_B: Tensor  # float32, hard: 0 real, 1 fake
    mixed_with_B: Tensor | None = None  # float32, the hard label of the other picture
    lam_B: Tensor | None = None  # float32, the weight of the sample itself; 1.0: not mixed
    draws_BK: Tensor | None = None  # float32, on the host: what the device is to do to each picture (augment/draws.py)
    sample_ids: tuple[str, ...]
    video_ids: tuple[str, ...]
    tracks: tuple[int, ...]  # stretches of one face, of which clips are made
    persons: tuple[int, ...]  # whose mean logit is a score, the highest that of the video; -1 - track if unknown

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch on another device; Lightning calls this method."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; torch's DataLoader calls this method."""
        return self._with(lambda tensor: tensor.pin_memory())

    def by_unit(self, members: int) -> Batch:
        """The labels of units of ``members`` adjacent pictures, (U,): fake if one of the pictures is.

        The pictures and their ids stay as they are. Mixed pictures must be mixed by unit, with one ``lam_B``.
        """
        if members == 1:
            return self
        mixed = self.mixed_with_B
        return replace(
            self,
            target_B=self.target_B.view(-1, members).amax(1),
            mixed_with_B=None if mixed is None else mixed.view(-1, members).amax(1),
            lam_B=None if self.lam_B is None else self.lam_B.view(-1, members)[:, 0],
        )

    def _with(self, change: Any) -> Batch:
        return replace(
            self,
            image_BCHW=change(self.image_BCHW),
            target_B=change(self.target_B),
            mixed_with_B=None if self.mixed_with_B is None else change(self.mixed_with_B),
            lam_B=None if self.lam_B is None else change(self.lam_B),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Output:
    """The output of a model for a batch."""

    logit_B: Tensor  # the only score: log odds of fake, before calibration; of a clip model one for each clip
    embedding_BD: Tensor  # the input of the head that computes ``logit_B``, before dropout
    frequency_BD: Tensor | None = None  # pooled frequency embedding; None for models without one


def to_device(table: Tensor, device: torch.device) -> Tensor:
    """A small tensor of the host on a device, without waiting for it: through page-locked memory where there is any."""
    return table.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else table.to(device)
