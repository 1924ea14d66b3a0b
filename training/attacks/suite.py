"""AA-binary: APGD, FAB and Square one after the other, each on what is still judged rightly.

It stands for AutoAttack (Croce and Hein, ICML 2020), whose standard form is undefined on two classes: its DLR loss
takes the third highest logit. Figures of the two are not comparable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semblance.training.attacks.apgd import Apgd
from semblance.training.attacks.base import EPS, Attack, register
from semblance.training.attacks.fab import Fab
from semblance.training.attacks.square import Square
from semblance.training.attacks.target import Target


@register("aa-binary", passes=5507, quick_passes=177, iterations=20, fab_iterations=10, queries=100)
@dataclass(frozen=True, kw_only=True)
class AaBinary(Attack):
    """Returns the first picture that is judged wrongly, else the one of APGD."""

    eps: float = EPS
    iterations: int = 100
    restarts: int = 1
    fab_iterations: int = 100
    queries: int = 5000

    def perturb(
        self, target: Target, image_BCHW: Tensor, target_B: Tensor, generators_B: Sequence[torch.Generator]
    ) -> Tensor:
        attacks: Sequence[Attack] = (
            Apgd(eps=self.eps, iterations=self.iterations, restarts=self.restarts),
            Fab(eps=self.eps, iterations=self.fab_iterations),
            Square(eps=self.eps, queries=self.queries),
        )
        found_BCHW, left = image_BCHW.clone(), torch.arange(len(image_BCHW), device=image_BCHW.device)
        for attack in attacks:
            some = [generators_B[place] for place in left.tolist()]
            tried_BCHW = attack(target, image_BCHW[left], target_B[left], some)
            wrong_B = target.loss(tried_BCHW, target_B[left]) > 0
            taken_B = wrong_B | isinstance(attack, Apgd)
            found_BCHW[left[taken_B]] = tried_BCHW[taken_B]
            left = left[~wrong_B]
            if len(left) == 0:
                break
        return found_BCHW
