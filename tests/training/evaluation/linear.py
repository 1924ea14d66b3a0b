"""Linear detectors, whose attacks and certificates have a closed form."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from semblance.training.inference.member import Member
from semblance.training.inference.predictor import Predictor
from semblance.training.models import Model
from semblance.training.records import Output
from semblance.training.runs.checkpoint import Trained
from tests.training import untrained


class Linear(Model):
    """z = w x + b over all values of a picture."""

    embedding_dim = 1

    def __init__(self, weight_CHW: Tensor, bias: float) -> None:
        super().__init__()
        self.weight_CHW = torch.nn.Parameter(weight_CHW)
        self.bias = bias

    def forward(self, image_BCHW: Tensor) -> Output:
        logit_B = (image_BCHW * self.weight_CHW).sum((1, 2, 3)) + self.bias
        return Output(logit_B=logit_B, embedding_BD=logit_B[:, None])


def member(name: str, weight_CHW: Tensor, bias: float = 0.0, *, mirror: bool = False, size: int = 32) -> Member:
    recipe = untrained.recipe(f"augment.size={size}")
    model = Linear(weight_CHW, bias).eval()
    trained = Trained(model=model, recipe=recipe, datasets=[], epoch=0, step=0, figures={})
    return Member(name=name, sha256=name, file=Path(), trained=trained, mirror=mirror)


def predictor(name: str, *members: Member) -> Predictor:
    weights = (1 / len(members),) * len(members)
    return Predictor(name=name, path=Path(), members=members, weights=weights, calibrated=len(members) > 1)
