"""Rotation (Gidaris et al., ICLR 2018): by which multiple of 90 degrees a picture is turned.

B: pictures of a batch, C: 3 colours, H, W: pixels, which are equal here.
"""

from __future__ import annotations

from typing import Final, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.records import Batch
from semblance.training.regimes import registry
from semblance.training.regimes.pretext import GREY, Classes, PretextConfig, Questions, guess

TURNS: Final = 4


class RotationConfig(PretextConfig):
    """Tell the four quarter turns of a picture apart.

    Each picture is shown in all four, as the paper does, so a batch of 32 takes the memory of 128. ``disc``: what lies
    outside a centred disc of this diameter, as a share of the side, is grey. Borders would give the turn away: padding,
    mirrored margins and black bars have a direction, and the corners of a crop are background.
    """

    kind: Literal["rotation"] = "rotation"
    disc: float = Field(default=0.95, gt=0, le=1)

    @property
    def terms(self) -> tuple[str, ...]:
        return (guess(TURNS),)


@registry.register(RotationConfig)
class Rotation(Classes):
    """A linear layer on the embedding of each turned picture. The turns are exact: no pixel is interpolated."""

    classes = TURNS

    def __init__(self, config: RotationConfig, model: Model, loss: Loss) -> None:
        super().__init__(config, model, loss)
        self.disc = config.disc
        self.head = nn.Linear(model.embedding_dim, TURNS)

    def ask(self, batch: Batch, epoch: int) -> Questions:
        del epoch  # nothing is drawn
        image_BCHW = batch.image_BCHW
        inside_HW = disc(image_BCHW.shape[2], self.disc).to(image_BCHW.device)
        image_BCHW = torch.where(inside_HW, image_BCHW, GREY)
        turned = torch.cat([torch.rot90(image_BCHW, turn, (2, 3)) for turn in range(TURNS)])
        answer_Q = torch.arange(TURNS, device=turned.device).repeat_interleave(len(image_BCHW))
        return Questions(image_BCHW=turned.contiguous(memory_format=torch.channels_last), answer_Q=answer_Q)


def disc(side: int, diameter: float) -> Tensor:
    """The pixels within a centred disc of ``diameter`` x ``side``, bool (side, side); all turns leave it as it is."""
    squared = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2).square()
    return squared[:, None] + squared <= (diameter * side / 2) ** 2
