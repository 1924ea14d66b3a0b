"""Equal to public implementations: foolbox (FGSM, PGD, C&W) and ART (APGD, Square)."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from semblance.training.attacks import Attack, generators, of_model
from semblance.training.attacks.apgd import Apgd
from semblance.training.attacks.carlini import CarliniWagner
from semblance.training.attacks.gradient import Fgsm, Pgd
from semblance.training.attacks.square import Square
from semblance.training.models import Model
from tests.training.attacks import nets
from tests.training.attacks.nets import Small

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Please import `gaussian_filter`", DeprecationWarning)
    import foolbox
    from art.attacks.evasion import AutoProjectedGradientDescent, SquareAttack
    from art.estimators.classification import PyTorchClassifier
    from foolbox.attacks.carlini_wagner import L2CarliniWagnerAttack
    from foolbox.models.pytorch import PyTorchModel

EPS = 0.03


class TwoLogits(nn.Module):
    """One logit as two whose difference it is, as the libraries ask for."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, image_BCHW: Tensor) -> Tensor:
        logit_B = self.model(image_BCHW).logit_B
        return torch.stack([-logit_B / 2, logit_B / 2], 1)


def by_foolbox(attack: Any, model: Model, image_BCHW: Tensor, target_B: Tensor, eps: float | None) -> Tensor:
    found_BCHW: Tensor = attack(
        PyTorchModel(TwoLogits(model).eval(), bounds=(0, 1)), image_BCHW, target_B.long(), epsilons=eps
    )[1]
    return found_BCHW


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        (Fgsm(), foolbox.attacks.FGSM()),
        (Pgd(start=False), foolbox.attacks.LinfPGD(abs_stepsize=0.007, steps=10, random_start=False)),
    ],
    ids=["fgsm", "pgd"],
)
def test_the_same_pictures_as_foolbox(own: Attack, theirs: Any, small: Small) -> None:
    image_BCHW, target_B = nets.faces(32, 5)
    found_BCHW = own(of_model(small), image_BCHW, target_B, torch.Generator())
    assert torch.allclose(by_foolbox(theirs, small, image_BCHW, target_B, EPS), found_BCHW, rtol=0, atol=1e-7)


def test_carlini_and_wagner_come_as_near_as_foolbox(small: Small) -> None:
    image_BCHW, target_B = nets.faces(4, 5)
    theirs = L2CarliniWagnerAttack(
        binary_search_steps=4, steps=40, stepsize=0.01, confidence=0, initial_const=1e-1, abort_early=False
    )
    own = CarliniWagner(eps=None, searches=4, steps=40, weight=1e-1)
    found = [
        by_foolbox(theirs, small, image_BCHW, target_B, None),
        own(of_model(small), image_BCHW, target_B, torch.Generator()),
    ]
    assert all((of_model(small).loss(one, target_B) > 0).all() for one in found)
    one_B, other_B = ((picture - image_BCHW).flatten(1).norm(dim=1) for picture in found)
    assert torch.allclose(one_B, other_B, rtol=0.02)


def by_art(kind: Any, model: Model, image_BCHW: Tensor, target_B: Tensor, **settings: Any) -> Tensor:
    shape = tuple(image_BCHW.shape[1:])
    classifier = PyTorchClassifier(
        TwoLogits(model).eval(), nn.CrossEntropyLoss(), shape, 2, clip_values=(0, 1), device_type="cpu"
    )
    attack = kind(classifier, norm="inf", eps=EPS, **settings)
    attack.set_params(verbose=False)
    return torch.from_numpy(attack.generate(image_BCHW.numpy(), target_B.long().numpy()))


def test_as_many_pictures_stay_right_as_by_art(small: Small) -> None:
    """APGD breaks the same pictures; the random searches, which draw other numbers, about as many."""
    image_BCHW, target_B = nets.faces(64, 5)
    target, names = of_model(small), [str(number) for number in range(64)]
    own_B = nets.right(target, Apgd(iterations=30)(target, image_BCHW, target_B, generators(0, names)), target_B)
    apgd = {"max_iter": 30, "nb_random_init": 1, "eps_step": 2 * EPS, "loss_type": "cross_entropy"}
    art_BCHW = by_art(AutoProjectedGradientDescent, small, image_BCHW, target_B, **apgd)
    assert torch.equal(nets.right(target, art_BCHW, target_B), own_B)
    assert 0.05 < own_B.float().mean() < 0.95
    found_BCHW = Square(queries=100)(target, image_BCHW, target_B, generators(0, names))
    art_BCHW = by_art(SquareAttack, small, image_BCHW, target_B, max_iter=100, nb_restarts=1)
    shares = [float(nets.right(target, one, target_B).float().mean()) for one in (found_BCHW, art_BCHW)]
    assert shares[0] == pytest.approx(shares[1], abs=0.12)
    assert float(own_B.float().mean()) <= shares[0] < 1
