"""FGSM and PGD: exact on linear models, equal to their referees, and the same for a picture in any batch."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semblance.training.attacks import LADDER, generators, of_model
from semblance.training.attacks.gradient import Fgsm, Pgd
from tests.training.attacks import nets
from tests.training.attacks.nets import Small


@given(seed=st.integers(0, 99), eps=st.sampled_from((*LADDER, 0.3)))
def test_linear_models_are_attacked_exactly(seed: int, eps: float) -> None:
    """The closed form with the box [0, 1]; PGD needs as many steps as reach across the ball."""
    model, image_BCHW, target_B = nets.linear(seed)
    for attack in (Fgsm(eps=eps), Pgd(eps=eps), Pgd(eps=eps, start=False, steps=5)):
        found_BCHW = attack(of_model(model), image_BCHW, target_B, torch.Generator().manual_seed(seed))
        margin_B = -of_model(model).loss(found_BCHW, target_B)
        assert torch.allclose(margin_B, nets.exact(model, image_BCHW, target_B, eps), rtol=0, atol=1e-6)


@pytest.mark.parametrize("attack", [Fgsm(), Pgd(), Pgd(eps=1 / 255)], ids=["fgsm", "pgd", "pgd-1/255"])
def test_pictures_stay_in_the_ball_and_in_range(attack: Fgsm | Pgd, small: Small) -> None:
    draw = torch.Generator().manual_seed(0)
    image_BCHW = torch.rand(8, 3, 16, 16, generator=draw).round(decimals=1)  # some values are 0 and 1
    found_BCHW = attack(of_model(small), image_BCHW, torch.ones(8), draw)
    assert (found_BCHW.double() - image_BCHW.double()).abs().max() <= attack.eps + 1e-7
    assert found_BCHW.min() >= 0
    assert found_BCHW.max() <= 1
    assert found_BCHW.dtype == image_BCHW.dtype


def test_a_fake_that_is_surely_fake_is_attacked_in_every_pixel(small: Small) -> None:
    """At z = 20 the cross-entropy of one logit has no gradient left in float32."""
    image_BCHW, target_B = nets.faces(64, 9)
    image_BCHW, target_B = image_BCHW[target_B == 1], target_B[target_B == 1]
    with torch.no_grad():
        sure = nets.Small(gain=float(20 / small(image_BCHW).logit_B.min())).eval()
        sure.load_state_dict(small.state_dict())
        logit_B = sure(image_BCHW).logit_B
    assert logit_B.min() > 19.9
    asked_BCHW = image_BCHW.clone().requires_grad_()
    torch.nn.functional.binary_cross_entropy_with_logits(sure(asked_BCHW).logit_B, target_B).backward()
    assert asked_BCHW.grad is not None
    lost = (asked_BCHW.grad == 0).float().mean()
    found_BCHW = Pgd(start=False)(of_model(sure), image_BCHW, target_B, torch.Generator())
    assert lost > 0.5
    assert (found_BCHW != image_BCHW).any(1).all()
    with torch.no_grad():
        assert (sure(found_BCHW).logit_B < logit_B).all()


def test_stronger_attacks_and_strengths_leave_fewer_right(small: Small) -> None:
    image_BCHW, target_B = nets.faces(128, 77)
    target, names = of_model(small), [f"{number}" for number in range(128)]
    shares = []
    for eps in (0.0, *LADDER):
        left = [
            nets.right(target, attack(target, image_BCHW, target_B, generators(0, names)), target_B).float().mean()
            for attack in (Fgsm(eps=eps), Pgd(eps=eps), Pgd(eps=eps, steps=50))
        ]
        assert left[2] <= left[1] <= left[0]
        shares.append(left)
    assert all(torch.tensor(one).le(torch.tensor(other)).all() for one, other in pairwise(reversed(shares)))
    assert shares[0][0] == nets.right(target, image_BCHW, target_B).float().mean() > 0.9
    assert shares[-1][1] < 0.5


def test_a_picture_is_attacked_alike_in_any_batch(small: Small) -> None:
    image_BCHW, target_B = nets.faces(8, 3)
    image_BCHW, target_B = image_BCHW.double(), target_B.double()
    names = list("abcdefgh")
    target = of_model(small.double())
    whole_BCHW = Pgd(steps=3)(target, image_BCHW, target_B, generators(7, names))
    some = torch.tensor([5, 2])
    apart_BCHW = Pgd(steps=3)(target, image_BCHW[some], target_B[some], generators(7, [names[5], names[2]]))
    small.float()
    assert torch.equal(apart_BCHW, whole_BCHW[some])
    other_BCHW = Pgd(steps=3)(of_model(small), image_BCHW.float(), target_B.float(), generators(8, names))
    assert not torch.allclose(other_BCHW.double(), whole_BCHW)


def test_no_pictures_are_no_work(small: Small) -> None:
    assert len(Pgd()(of_model(small), torch.rand(0, 3, 16, 16), torch.rand(0), torch.Generator())) == 0
