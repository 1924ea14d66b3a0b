"""SimCLR (Chen et al., ICML 2020): two views of a picture are nearer to each other than to those of other people.

U: units of a batch (two pictures each), C: dimensions of a projection; the other letters as in ``contrast_parts``.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor

from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.records import Batch
from semblance.training.regimes import contrast_parts as parts
from semblance.training.regimes import registry
from semblance.training.regimes.base import Chance, Regime, RegimeConfig, Stage, Step
from semblance.training.regimes.contrast_parts import Exclude, Groups


class SimCLRConfig(RegimeConfig):
    """Learn from two views of each picture (``data.views: 2``), or two frames of a track, without labels.

    ``dim``: of the projections, which have length 1. ``exclude``: whose pictures are no negatives: those of the same
    ``video``, or also those of the same ``family`` and person, or ``none`` but the picture itself.
    """

    labelled: ClassVar[bool] = False
    kind: Literal["simclr"] = "simclr"
    temperature: float = Field(default=0.1, gt=0)
    dim: int = Field(default=128, ge=2)
    exclude: Exclude = "family"

    @property
    def terms(self) -> tuple[str, ...]:
        """Whose pictures are no negatives."""
        return (parts.told(self.exclude),)


@registry.register(SimCLRConfig)
class SimCLR(Regime):
    """NT-Xent on the projections of an MLP with one hidden layer, over the batches of all ranks."""

    config: SimCLRConfig

    def __init__(self, config: SimCLRConfig, model: Model, loss: Loss) -> None:
        super().__init__(config, loss)
        parts.check_model(config.kind, model)
        self.groups = Groups(config.exclude)
        self.projector = parts.mlp([model.embedding_dim, model.embedding_dim, config.dim], norms=False)

    def begin(self, model: Model, stage: Stage) -> None:
        del model
        parts.check(self.config.kind, stage)
        self.groups.learn(stage)

    def forward(self, model: Model, batch: Batch, chance: Chance) -> Step:
        del chance
        output = model(batch.image_BCHW)
        embedding_ND, group_NG = parts.gathered(output.embedding_BD.float(), self.groups.of(batch))
        with torch.autocast(embedding_ND.device.type, enabled=False):
            projection_NC = F.normalize(self.projector(embedding_ND), dim=1)
            apart_NN = self.groups.apart(group_NG, group_NG)
            loss, figures = nt_xent(projection_NC, apart_NN, self.config.temperature)
        return Step(loss=loss + parts.untouched(output), parts={"loss": loss.detach(), **figures})


def nt_xent(projection_NC: Tensor, apart_NN: Tensor, temperature: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The normalised temperature-scaled cross-entropy of Chen et al., equation 1, and its figures.

    ``projection_NC``: of length 1, the two of a unit adjacent. ``apart_NN``: which pictures may be negatives of which;
    a picture is never one of itself, and its other view is always its positive.
    """
    place_N = torch.arange(len(projection_NC), device=projection_NC.device)
    logit_NN = projection_NC @ projection_NC.T / temperature
    itself_NN = torch.eye(len(place_N), dtype=torch.bool, device=place_N.device)
    return parts.cross_entropy(logit_NN, place_N ^ 1, apart_NN & ~itself_NN)
