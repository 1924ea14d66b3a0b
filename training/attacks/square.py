"""Square: a random search by squares that asks for logits only.

Andriushchenko et al., "Square attack: a query-efficient black-box adversarial attack via random search" (ECCV 2020),
for the L-infinity norm, with the paper's constants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from semblance.training.attacks.base import EPS, Attack, over, register, uniform, within
from semblance.training.attacks.target import Target

AREA: Final = 0.8  # of the first squares, as a share of the picture
HALVED: Final = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries: when it is halved


@register("square", passes=5000, quick_passes=100, black_box=True, queries=100)
@dataclass(frozen=True, kw_only=True)
class Square(Attack):
    """At most ``queries`` of each picture, until it is judged wrongly; the picture with the highest L is returned."""

    eps: float = EPS
    queries: int = 5000

    def perturb(
        self, target: Target, image_BCHW: Tensor, target_B: Tensor, generators_B: Sequence[torch.Generator]
    ) -> Tensor:
        colours, height, width = image_BCHW.shape[1:]
        best_BCHW, highest_B = image_BCHW.clone(), target.loss(image_BCHW, target_B)
        side_BC1W = signs(uniform(generators_B, colours, 1, width, like=image_BCHW))
        numbers_BQN = torch.stack([torch.rand(self.queries, 2 + colours, generator=one) for one in generators_B])
        for query in range(1, self.queries):
            left = torch.nonzero(highest_B <= 0).flatten()
            if len(left) == 0:
                break
            clean_BCHW = image_BCHW[left]
            if query == 1:
                tried_BCHW = clean_BCHW + self.eps * side_BC1W[left]
            else:
                numbers_BN = numbers_BQN[left.cpu(), query].to(image_BCHW.device, image_BCHW.dtype)
                length = side(query - 2, self.queries, height, width)
                window_B1HW = windows(numbers_BN[:, :2], length, height, width)
                change_BC11 = 2 * self.eps * signs(numbers_BN[:, 2:])[:, :, None, None]
                tried_BCHW = best_BCHW[left] + window_B1HW * change_BC11
            tried_BCHW = within(tried_BCHW, clean_BCHW, self.eps)
            loss_B = target.loss(tried_BCHW, target_B[left])
            better_B = loss_B > highest_B[left]
            best_BCHW[left] = torch.where(over(better_B), tried_BCHW, best_BCHW[left])
            highest_B[left] = torch.maximum(loss_B, highest_B[left])
        return best_BCHW


def signs(uniform_: Tensor) -> Tensor:
    """1 or -1 for numbers in [0, 1)."""
    return torch.where(uniform_ < 0.5, -1.0, 1.0).to(uniform_.dtype)


def side(proposal: int, queries: int, height: int, width: int) -> int:
    """The side of the squares of a proposal (0 is the first) in px."""
    times = sum(proposal * 10_000 // queries > mark for mark in HALVED)
    return min(max(round(math.sqrt(AREA / 2**times * height * width)), 1), height, width)


def windows(corner_B2: Tensor, length: int, height: int, width: int) -> Tensor:
    """(B, 1, H, W): 1 in a square whose corner is at two shares, in [0, 1), of its possible places; else 0."""
    rows_BH = _between(corner_B2[:, :1], length, height)
    columns_BW = _between(corner_B2[:, 1:], length, width)
    within_BHW = rows_BH[:, :, None] & columns_BW[:, None, :]
    return within_BHW.unsqueeze(1).to(corner_B2.dtype)


def _between(first_B1: Tensor, length: int, size: int) -> Tensor:
    place_S = torch.arange(size, device=first_B1.device)
    start_B1 = (first_B1 * (size - length + 1)).long()
    return (place_S >= start_B1) & (place_S < start_B1 + length)
