"""Temporal order (Lee et al., ICCV 2017): in which order the frames of a clip are shown.

U: clips of a batch, F: frames of a clip, P: pairs of them, K: orders, D: features of an embedding.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from semblance.manifests.errors import UsageError
from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.records import Batch, to_device
from semblance.training.regimes import registry
from semblance.training.regimes.pretext import Classes, PretextConfig, Questions, guess


class OrderConfig(PretextConfig):
    """Tell in which order the frames of a clip are shown, up to the direction of time.

    ``frames``: those of a clip, as ``data.clip.frames`` with ``data.mode: clips``. A still face reads alike both ways,
    so an order and the same one in reversed time are one class: 3, 12 and 60 classes of 3, 4 and 5 frames. ``floor``: a
    clip in which any two frames differ by less, in mean absolute value over all pixels in [0, 1], is a guess: nobody
    can tell its order. Clips must not be augmented frame by frame (``augment.p: 0``), which would hide that. They are
    mirrored as a whole here, with probability ``flip``. ``hidden``: features of a pair of frames.
    """

    kind: Literal["order"] = "order"
    frames: int = Field(default=4, ge=3, le=5)
    floor: float = Field(default=0.01, ge=0, lt=1)
    flip: float = Field(default=0.5, ge=0, le=1)
    hidden: int = Field(default=64, ge=1)

    @property
    def clip(self) -> int:
        return self.frames

    @property
    def terms(self) -> tuple[str, ...]:
        return (guess(math.factorial(self.frames) // 2),)


class PairHead(nn.Module):
    """(U, F, D) to (U, K): features of the absolute difference of each two frames, and a linear layer on all of them.

    Up to its direction, the order says which frames are near each other in time.
    """

    def __init__(self, dim: int, frames: int, hidden: int, classes: int) -> None:
        super().__init__()
        pairs = list(itertools.combinations(range(frames), 2))
        self.first, self.second = [a for a, _ in pairs], [b for _, b in pairs]
        self.pair = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU())
        self.order = nn.Linear(len(pairs) * hidden, classes)

    def forward(self, embedding_UFD: Tensor) -> Tensor:
        difference_UPD = (embedding_UFD[:, self.first] - embedding_UFD[:, self.second]).abs()
        logit_UK: Tensor = self.order(self.pair(difference_UPD).flatten(1))
        return logit_UK


@registry.register(OrderConfig)
class TemporalOrder(Classes):
    """The frames of each clip in an order drawn for it; a question is a clip, and a fair one moves."""

    def __init__(self, config: OrderConfig, model: Model, loss: Loss) -> None:
        super().__init__(config, model, loss)
        self.frames, self.floor, self.flip = config.frames, config.floor, config.flip
        self.orders, self.class_of = orders(config.frames)
        self.classes = int(self.class_of.max()) + 1
        self.head = PairHead(model.embedding_dim, config.frames, config.hidden, self.classes)

    def ask(self, batch: Batch, epoch: int) -> Questions:
        image_BCHW = batch.image_BCHW
        clip_UFCHW = self._clips(batch)
        uniform_U2 = self.draw(batch.sample_ids[:: self.frames], epoch, 2)
        which_U = (uniform_U2[:, 0] * len(self.orders)).long()
        mirrored_U = to_device(uniform_U2[:, 1] < self.flip, image_BCHW.device)
        shown_UF = to_device(self.orders[which_U], image_BCHW.device)
        fair_U = change(clip_UFCHW) >= self.floor
        clip_UFCHW = clip_UFCHW[torch.arange(len(clip_UFCHW), device=image_BCHW.device)[:, None], shown_UF]
        clip_UFCHW = torch.where(mirrored_U[:, None, None, None, None], clip_UFCHW.flip(-1), clip_UFCHW)
        return Questions(
            image_BCHW=clip_UFCHW.flatten(0, 1).contiguous(memory_format=torch.channels_last),
            answer_Q=to_device(self.class_of[which_U], image_BCHW.device),
            fair_Q=fair_U,
        )

    def _clips(self, batch: Batch) -> Tensor:
        """The pictures by clip, (U, F, 3, H, W); raises UsageError if they are of other units."""
        frames, names = self.frames, list(zip(batch.video_ids, batch.persons, strict=True))
        whole = len(names) % frames == 0
        if not whole or any(len(set(names[i : i + frames])) > 1 for i in range(0, len(names), frames)):
            raise UsageError(
                f"The regime order takes clips of {frames} faces of one track; set data.mode=clips and "
                f"data.clip.frames={frames}."
            )
        return _by_clip(batch.image_BCHW, frames)

    def answer(self, model: Model, image_BCHW: Tensor) -> Tensor:
        embedding_BD = model(image_BCHW).embedding_BD
        with torch.autocast(embedding_BD.device.type, enabled=False):
            logit_UK: Tensor = self.head(_by_clip(embedding_BD.float(), self.frames))
        return logit_UK


def _by_clip(values: Tensor, frames: int) -> Tensor:
    """(B, ...) to (U, F, ...)."""
    return values.reshape(-1, frames, *values.shape[1:])


def orders(frames: int) -> tuple[Tensor, Tensor]:
    """Every order of ``frames``, (F!, F), and its class, (F!,): place i of order p shows frame p[i].

    Reversed in time, frame f is frame F - 1 - f: p and F - 1 - p have one class. That is not p read from behind.
    """
    every = list(itertools.permutations(range(frames)))
    first = [min(order, tuple(frames - 1 - frame for frame in order)) for order in every]
    numbers = {order: number for number, order in enumerate(dict.fromkeys(first))}
    return torch.tensor(every), torch.tensor([numbers[order] for order in first])


def change(clip_UFCHW: Tensor) -> Tensor:
    """The least mean absolute difference of any two frames of each clip, (U,)."""
    pairs = itertools.combinations(range(clip_UFCHW.shape[1]), 2)
    return torch.stack([(clip_UFCHW[:, a] - clip_UFCHW[:, b]).abs().mean((1, 2, 3)) for a, b in pairs]).amin(0)
