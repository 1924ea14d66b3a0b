"""FAB: the nearest picture that is judged wrongly, by steps to the linearised boundary.

Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack" (ICML 2020), for one
logit and the L-infinity norm, with the paper's constants.

B: pictures, D: values of a picture.
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

BIAS: Final = 0.1  # the largest share of the step from the clean picture
OVERSHOOT: Final = 1.05
BACK: Final = 0.9  # how far from the clean picture it goes on after a success
SEARCH: Final = 3  # halvings between the clean picture and the nearest found


@register("fab", passes=304, quick_passes=34, iterations=10)
@dataclass(frozen=True, kw_only=True)
class Fab(Attack):
    """``iterations`` steps a start, the first from the picture itself, others from random pictures around it.

    Where the nearest picture found is farther than ``eps``, it is clipped to that distance; with None it is returned as
    it is. A picture for which none is found is returned unchanged.
    """

    eps: float | None = EPS
    iterations: int = 100
    restarts: int = 1

    def perturb(
        self, target: Target, image_BCHW: Tensor, target_B: Tensor, generators_B: Sequence[torch.Generator]
    ) -> Tensor:
        found_BCHW = image_BCHW.clone()
        far_B = torch.where(target.loss(image_BCHW, target_B) > 0, 0.0, math.inf).to(image_BCHW.dtype)
        for start in range(self.restarts):
            left = torch.nonzero(far_B > (self.eps or 0)).flatten()
            if len(left) == 0:
                break
            clean_BCHW, at_BCHW = image_BCHW[left], image_BCHW[left]
            if start:
                some = [generators_B[place] for place in left.tolist()]
                noise_BCHW = 2 * uniform(some, *at_BCHW.shape[1:], like=at_BCHW) - 1
                reach_B = far_B[left].clamp(max=self.eps or EPS) / 2
                at_BCHW = (clean_BCHW + over(reach_B) * noise_BCHW).clamp(0, 1)
            near_BCHW, distance_B = self._start(target, clean_BCHW, at_BCHW, target_B[left])
            better_B = distance_B < far_B[left]
            found_BCHW[left[better_B]], far_B[left[better_B]] = near_BCHW[better_B], distance_B[better_B]
        return found_BCHW if self.eps is None else within(found_BCHW, image_BCHW, self.eps)

    def _start(self, target: Target, clean_BCHW: Tensor, at_BCHW: Tensor, target_B: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest wrong pictures from one start and their distances, infinite where none was found."""
        near_BCHW, nearest_B = clean_BCHW, torch.full_like(target_B, math.inf)
        for _ in range(self.iterations):
            loss_B, gradient_BCHW = target.gradient(at_BCHW, target_B)
            to_go_B = -loss_B
            gone_B = (gradient_BCHW * (at_BCHW - clean_BCHW)).flatten(1).sum(1)
            step_BCHW = to_plane(at_BCHW, gradient_BCHW, to_go_B)
            direct_BCHW = to_plane(clean_BCHW, gradient_BCHW, to_go_B + gone_B)
            one_B, other_B = distance(step_BCHW), distance(direct_BCHW)
            bias_B = (one_B / (one_B + other_B).clamp(min=1e-12)).clamp(max=BIAS)
            at_BCHW = (
                (1 - over(bias_B)) * (at_BCHW + OVERSHOOT * step_BCHW)
                + over(bias_B) * (clean_BCHW + OVERSHOOT * direct_BCHW)
            ).clamp(0, 1)
            wrong_B = target.loss(at_BCHW, target_B) > 0
            far_B = distance(at_BCHW - clean_BCHW)
            better_B = wrong_B & (far_B < nearest_B)
            near_BCHW = torch.where(over(better_B), at_BCHW, near_BCHW)
            nearest_B = torch.where(better_B, far_B, nearest_B)
            at_BCHW = torch.where(over(wrong_B), clean_BCHW + BACK * (at_BCHW - clean_BCHW), at_BCHW)
        return self._closer(target, clean_BCHW, near_BCHW, target_B, nearest_B)

    def _closer(
        self, target: Target, clean_BCHW: Tensor, near_BCHW: Tensor, target_B: Tensor, nearest_B: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Halve the way to the clean picture a few times."""
        low_BCHW = clean_BCHW
        for _ in range(SEARCH):
            middle_BCHW = (low_BCHW + near_BCHW) / 2
            wrong_B = over(target.loss(middle_BCHW, target_B) > 0)
            low_BCHW = torch.where(wrong_B, low_BCHW, middle_BCHW)
            near_BCHW = torch.where(wrong_B, middle_BCHW, near_BCHW)
        far_B = distance(near_BCHW - clean_BCHW)
        return near_BCHW, torch.where(nearest_B.isfinite(), far_B, nearest_B)


def distance(change_BCHW: Tensor) -> Tensor:
    """The L-infinity norm of each picture, (B,)."""
    return change_BCHW.abs().flatten(1).amax(1)


def to_plane(image_BCHW: Tensor, slope_BCHW: Tensor, rise_B: Tensor) -> Tensor:
    """The smallest change, by the L-infinity norm, by which <slope, change> is ``rise`` and the picture in [0, 1].

    Every value moves by t in the direction of its slope, or as far as 0 or 1 allow; the rise is piecewise linear in t.
    Where no picture in [0, 1] reaches it, every value moves as far as it can.
    """
    slope_BD = slope_BCHW.flatten(1).double() * rise_B.double().sign()[:, None]
    value_BD = image_BCHW.flatten(1).double()
    room_BD = torch.where(slope_BD > 0, 1 - value_BD, value_BD)
    room_BD = torch.where(slope_BD == 0, 0, room_BD)
    sorted_BD, order_BD = room_BD.sort(1)
    steep_BD = slope_BD.abs().gather(1, order_BD)
    filled_BD = (steep_BD * sorted_BD).cumsum(1)  # the rise by values that stand at their end
    moving_BD = steep_BD.sum(1, keepdim=True) - steep_BD.cumsum(1)  # the slope of all others
    reached_BD = filled_BD + moving_BD * sorted_BD  # the rise where t is this value's room
    place_B1 = torch.searchsorted(reached_BD, rise_B.double().abs()[:, None]).clamp(max=room_BD.shape[1] - 1)
    before_B1 = (filled_BD - steep_BD * sorted_BD).gather(1, place_B1)
    slope_B1 = (moving_BD + steep_BD).gather(1, place_B1)
    t_B1 = (rise_B.double().abs()[:, None] - before_B1) / slope_B1.clamp(min=1e-300)
    change_BD = slope_BD.sign() * torch.minimum(room_BD, t_B1.clamp(0, 1))
    return change_BD.to(image_BCHW.dtype).view_as(image_BCHW)
