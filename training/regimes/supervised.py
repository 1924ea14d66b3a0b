"""Supervised learning: the recipe's loss of the model's output on the batch's labels."""

from __future__ import annotations

from typing import Literal

from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.records import Batch
from semblance.training.regimes import registry
from semblance.training.regimes.base import Chance, Regime, RegimeConfig, Step


class SupervisedConfig(RegimeConfig):
    """Learn from labels."""

    kind: Literal["supervised"] = "supervised"


@registry.register(SupervisedConfig)
class Supervised(Regime):
    """The recipe's loss, and nothing else."""

    def __init__(self, config: SupervisedConfig, _: Model, loss: Loss) -> None:
        super().__init__(config, loss)

    def forward(self, model: Model, batch: Batch, chance: Chance) -> Step:
        del chance
        parts = self.loss(model(batch.image_BCHW), batch.by_unit(model.members))
        return Step(loss=parts["loss"], parts=parts)
