"""C&W: the nearest picture by the L2 norm that is judged wrongly.

Carlini and Wagner, "Towards evaluating the robustness of neural networks" (IEEE S&P 2017), section VI-A.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import torch
from torch import Tensor

from semblance.training.attacks.base import EPS, Attack, over, register, within
from semblance.training.attacks.target import Target

INSIDE: Final = 0.999999  # values are kept off 0 and 1, where tanh cannot move them
MEAN, SQUARE, TINY = 0.9, 0.999, 1e-8  # of Adam


@register("cw", passes=3601, quick_passes=121, searches=3, steps=20, weight=1.0, rate=0.03)
@dataclass(frozen=True, kw_only=True)
class CarliniWagner(Attack):
    """Minimises |d|^2 + c max(0, (2y - 1) z + ``confidence``) over pictures (tanh w + 1) / 2, with Adam.

    c begins at ``weight`` and is found for each picture in ``searches`` of ``steps`` steps at the learning ``rate``:
    ten times c as long as none succeeded, then by halving. The nearest picture found is returned, clipped to ``eps`` in
    each value; with None as it is. A picture for which none is found is returned unchanged.
    """

    norm: ClassVar[Literal["linf", "l2"]] = "l2"
    eps: float | None = EPS
    confidence: float = 0.0
    searches: int = 9
    steps: int = 200
    rate: float = 0.01
    weight: float = 1e-3

    def perturb(
        self, target: Target, image_BCHW: Tensor, target_B: Tensor, generators_B: Sequence[torch.Generator]
    ) -> Tensor:
        del generators_B
        found_BCHW = image_BCHW.clone()
        wrong_B = target.loss(image_BCHW, target_B) > self.confidence
        nearest_B = torch.where(wrong_B, 0.0, math.inf).to(image_BCHW.dtype)
        low_B, high_B = torch.zeros_like(target_B), torch.full_like(target_B, math.inf)
        weight_B = torch.full_like(target_B, self.weight)
        for _ in range(self.searches):
            near_BCHW, far_B = self._descent(target, image_BCHW, target_B, weight_B)
            better_B = far_B < nearest_B
            found_BCHW = torch.where(over(better_B), near_BCHW, found_BCHW)
            nearest_B = torch.minimum(far_B, nearest_B)
            reached_B = far_B.isfinite()
            high_B = torch.where(reached_B, torch.minimum(high_B, weight_B), high_B)
            low_B = torch.where(reached_B, low_B, torch.maximum(low_B, weight_B))
            weight_B = torch.where(high_B.isfinite(), (low_B + high_B) / 2, 10 * weight_B)
        return found_BCHW if self.eps is None else within(found_BCHW, image_BCHW, self.eps)

    def _descent(self, target: Target, image_BCHW: Tensor, target_B: Tensor, weight_B: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest pictures found with the weights c, and their squared distances: infinite where none was found."""
        near_BCHW, nearest_B = image_BCHW, torch.full_like(target_B, math.inf)
        free_BCHW = torch.atanh((2 * image_BCHW - 1) * INSIDE)
        mean_BCHW, square_BCHW = torch.zeros_like(free_BCHW), torch.zeros_like(free_BCHW)
        for step in range(1, self.steps + 1):
            bent_BCHW = torch.tanh(free_BCHW)
            at_BCHW = (bent_BCHW + 1) / 2
            loss_B, gradient_BCHW = target.gradient(at_BCHW, target_B)
            change_BCHW = at_BCHW - image_BCHW
            far_B = change_BCHW.square().flatten(1).sum(1)
            better_B = (loss_B > self.confidence) & (far_B < nearest_B)
            near_BCHW = torch.where(over(better_B), at_BCHW, near_BCHW)
            nearest_B = torch.where(better_B, far_B, nearest_B)
            push_B = torch.where(loss_B < self.confidence, weight_B, 0)
            slope_BCHW = (2 * change_BCHW - over(push_B) * gradient_BCHW) * (1 - bent_BCHW.square()) / 2
            mean_BCHW = MEAN * mean_BCHW + (1 - MEAN) * slope_BCHW
            square_BCHW = SQUARE * square_BCHW + (1 - SQUARE) * slope_BCHW.square()
            scale_BCHW = (square_BCHW / (1 - SQUARE**step)).sqrt() + TINY
            free_BCHW = free_BCHW - self.rate * mean_BCHW / (1 - MEAN**step) / scale_BCHW
        return near_BCHW, nearest_B
