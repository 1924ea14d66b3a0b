"""Low-rank adaptation (Hu et al., ICLR 2022): W + alpha / r x B A in place of the weight W of a linear layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

_OWN: Final = "parametrizations.weight."
_A: Final = _OWN + "0.a_RI"


class Lora(nn.Module):
    """The parametrization of a weight (O, I): adds ``scale`` x B (O, R) A (R, I), which is zero at the start.

    A starts as torch's linear layers do, B at zero.
    """

    scale: Tensor

    def __init__(self, outputs: int, inputs: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.a_RI = nn.Parameter(torch.empty(rank, inputs))
        self.b_OR = nn.Parameter(torch.zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.a_RI, a=math.sqrt(5))
        self.register_buffer("scale", torch.tensor(alpha / rank))

    def forward(self, weight_OI: Tensor) -> Tensor:
        with torch.autocast(weight_OI.device.type, enabled=False):
            return weight_OI + self.scale * (self.b_OR @ self.a_RI)


def attach(layers: Iterable[nn.Linear], rank: int, alpha: float) -> None:
    """Train a product of two matrices beside the weight of each layer; everything else of the layer is frozen."""
    for layer in layers:
        layer.requires_grad_(False)
        update = Lora(layer.out_features, layer.in_features, rank, alpha)
        parametrize.register_parametrization(layer, "weight", update)


def merged(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with each product added to its weight, under the name that the weight has without it.

    Added column by column in float32, one operation after another, so that every machine computes the same bits: the
    result may be the base of another run.
    """
    found = dict(state)
    for name in [name for name in state if name.endswith(_A)]:
        layer = name.removesuffix(_A)
        parts = ("original", "0.a_RI", "0.b_OR", "0.scale")
        weight_OI, a_RI, b_OR, scale = (found.pop(layer + _OWN + part).float() for part in parts)
        delta_OI = torch.zeros_like(weight_OI)
        for row in range(len(a_RI)):
            delta_OI = delta_OI + b_OR[:, row : row + 1] * a_RI[row]
        found[f"{layer}weight"] = weight_OI + scale * delta_OI
    return found
