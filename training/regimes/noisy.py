"""Learning under Gaussian noise, the base of randomised smoothing: pictures get noise, then labels are learned.

Cohen, Rosenfeld and Kolter (ICML 2019): a detector that never saw noise abstains under it nearly always.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from semblance.manifests.ids import digest
from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.records import Batch
from semblance.training.regimes import registry
from semblance.training.regimes.base import Chance, Regime, RegimeConfig, Stage, Step


class NoisyConfig(RegimeConfig):
    """Learn from labels under noise of standard deviation ``sigma``, of values in [0, 1], which is not clipped.

    Val is scored without noise.
    """

    kind: Literal["noisy"] = "noisy"
    sigma: float = Field(default=0.25, gt=0, le=10)


@registry.register(NoisyConfig)
class Noisy(Regime):
    """The recipe's loss on noisy pictures."""

    def __init__(self, config: NoisyConfig, _: Model, loss: Loss) -> None:
        super().__init__(config, loss)
        self.sigma, self.seed = config.sigma, 0

    def begin(self, model: Model, stage: Stage) -> None:
        del model
        self.seed = stage.seed

    def forward(self, model: Model, batch: Batch, chance: Chance) -> Step:
        image_BCHW = batch.image_BCHW + self.sigma * noise(batch, self.seed, chance.epoch, chance.progress)
        parts = self.loss(model(image_BCHW), batch.by_unit(model.members))
        return Step(loss=parts["loss"], parts=parts)


def noise(batch: Batch, *place: object) -> Tensor:
    """Standard normal noise (B, C, H, W), drawn on the device, each kind of which has its own.

    That of a picture follows from ``place`` (seed, epoch and progress) and its id alone: not from the others, nor from
    the number of devices that share a batch. A picture that is in a batch twice has the same noise twice.
    """
    shape, device = batch.image_BCHW.shape[1:], batch.image_BCHW.device
    drawn = []
    for name in batch.sample_ids:
        number = int(digest("noise", *place, name)[:15], 16)
        generator = torch.Generator(device).manual_seed(number)
        drawn.append(torch.randn(shape, generator=generator, device=device))
    return torch.stack(drawn).to(batch.image_BCHW.dtype)
