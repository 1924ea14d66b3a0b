"""APGD, FAB, C&W, Square and their suite: exact on linear models, and what each promises."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.manifests.errors import UsageError
from semblance.training.attacks import ATTACKS, LADDER, Attack, Target, apgd, generators, of_model, square
from semblance.training.attacks.apgd import Apgd
from semblance.training.attacks.carlini import CarliniWagner
from semblance.training.attacks.fab import Fab, to_plane
from semblance.training.attacks.square import Square
from semblance.training.attacks.suite import AaBinary
from tests.training.attacks import nets
from tests.training.attacks.nets import Small


@settings(max_examples=15)
@given(seed=st.integers(0, 99), eps=st.sampled_from(LADDER))
def test_the_exact_pictures_of_linear_models_stay_right(seed: int, eps: float) -> None:
    model, image_BCHW, target_B = nets.linear(seed)
    target, exact_B = of_model(model), nets.exact(model, image_BCHW, target_B, eps)
    sure_B = exact_B.abs() > 1e-3
    attacks: tuple[Attack, ...] = (
        Apgd(eps=eps, iterations=20),
        Fab(eps=eps, iterations=5),
        AaBinary(eps=eps, iterations=20, fab_iterations=2, queries=5),
    )
    for attack in attacks:
        found_BCHW = attack(target, image_BCHW, target_B, torch.Generator().manual_seed(seed))
        assert torch.equal((target.loss(found_BCHW, target_B) < 0)[sure_B], (exact_B > 0)[sure_B])
    found_BCHW = Apgd(eps=eps, iterations=20)(target, image_BCHW, target_B, torch.Generator())
    assert torch.allclose(-target.loss(found_BCHW, target_B), exact_B)  # of all pictures it finds the worst


@given(seed=st.integers(0, 999))
def test_the_change_to_a_plane_is_the_smallest(seed: int) -> None:
    """No change by less than its size rises as far: with every value moved by 1 % less, the rise is not reached."""
    draw = torch.Generator().manual_seed(seed)
    image_BCHW, slope_BCHW = torch.rand(2, 16, 3, 2, 2, generator=draw, dtype=torch.float64)
    slope_BCHW = (slope_BCHW - 0.5) * (torch.rand(slope_BCHW.shape, generator=draw) < 0.8)
    rise_B = 2 * torch.rand(16, generator=draw, dtype=torch.float64) - 1
    change_BCHW = to_plane(image_BCHW, slope_BCHW, rise_B)
    moved_BCHW = image_BCHW + change_BCHW
    assert moved_BCHW.min() >= -1e-12
    assert moved_BCHW.max() <= 1 + 1e-12

    def reach(size_B: torch.Tensor) -> torch.Tensor:
        """The farthest rise with values moved by ``size`` at most."""
        way_BCHW = slope_BCHW.sign() * rise_B.sign()[:, None, None, None]
        size_BCHW = size_B[:, None, None, None] * way_BCHW
        return (slope_BCHW * ((image_BCHW + size_BCHW).clamp(0, 1) - image_BCHW)).flatten(1).sum(1)

    can_B = reach(torch.ones(16, dtype=torch.float64)).abs() > rise_B.abs()
    size_B = change_BCHW.abs().flatten(1).amax(1)
    got_B = (slope_BCHW * change_BCHW).flatten(1).sum(1)
    assert torch.allclose(got_B[can_B], rise_B[can_B])
    assert (reach(0.99 * size_B).abs() < rise_B.abs())[can_B].all()
    assert torch.allclose(got_B[~can_B], reach(torch.ones(16, dtype=torch.float64))[~can_B])


def test_the_nearest_pictures_of_a_linear_model() -> None:
    """FAB by the largest change of a value, which bisection of the closed form gives; C&W by |z| / |w|."""
    model, image_BCHW, target_B = nets.linear(3, 32)
    target = of_model(model)
    found_BCHW = Fab(eps=None, iterations=10)(target, image_BCHW, target_B, torch.Generator())
    far_B = (found_BCHW - image_BCHW).abs().flatten(1).amax(1)
    right_B = nets.right(target, image_BCHW, target_B)
    assert (far_B[~right_B] == 0).all()
    assert (target.loss(found_BCHW, target_B) > 0).all()
    for place in torch.nonzero(right_B).flatten().tolist():
        one, label = image_BCHW[place : place + 1], target_B[place : place + 1]
        assert nets.exact(model, one, label, float(far_B[place])) < 0
        assert nets.exact(model, one, label, float(far_B[place]) / 1.01) > 0
    middle_BCHW = 0.35 + 0.3 * image_BCHW  # so that 0 and 1 are no bounds
    logit_B = target(middle_BCHW)
    found_BCHW = CarliniWagner(eps=None, steps=100)(target, middle_BCHW, (logit_B > 0).double(), torch.Generator())
    ratio_B = (found_BCHW - middle_BCHW).flatten(1).norm(dim=1) / (logit_B.abs() / model.weight.detach().norm())
    assert ratio_B.min() >= 1 - 1e-9
    assert ratio_B.median() <= 1.02
    assert ratio_B[logit_B.abs() > 0.5].max() <= 1.02


@pytest.mark.parametrize("name", ["apgd", "fab", "cw", "square", "aa-binary"])
def test_pictures_stay_in_the_ball_and_attacks_repeat(name: str, small: Small) -> None:
    """Also for a picture in another batch: random numbers are its own, and none looks at its neighbours."""
    image_BCHW, target_B = nets.faces(6, 11)
    image_BCHW[0] = image_BCHW[0].round()
    image_BCHW, target_B = image_BCHW.double(), target_B.double()
    names, eps = list("abcdef"), 4 / 255
    attack, target = ATTACKS.find(name).quick(eps=eps), of_model(small.double())
    try:
        whole_BCHW = attack(target, image_BCHW, target_B, generators(1, names))
        part_BCHW = attack(target, image_BCHW[[4, 1]], target_B[[4, 1]], generators(1, [names[4], names[1]]))
    finally:
        small.float()
    assert torch.allclose(part_BCHW, whole_BCHW[[4, 1]], rtol=0, atol=1e-9)
    assert (whole_BCHW - image_BCHW).abs().max() <= eps + 1e-7
    assert whole_BCHW.min() >= 0
    assert whole_BCHW.max() <= 1
    assert (whole_BCHW != image_BCHW).any()


def test_attacks_rank_as_they_should(small: Small) -> None:
    """APGD is at least as strong as PGD, the suite as its parts, and Square asks for logits only and finds less."""
    image_BCHW, target_B = nets.faces(48, 21)
    target, names = of_model(small), [str(number) for number in range(48)]

    def left(name: str) -> torch.Tensor:
        found_BCHW = ATTACKS.find(name).quick(eps=4 / 255)(target, image_BCHW, target_B, generators(0, names))
        return nets.right(target, found_BCHW, target_B)

    lasting = {name: left(name) for name in ("fgsm", "pgd", "apgd", "fab", "square", "aa-binary")}
    counts = {name: int(right_B.sum()) for name, right_B in lasting.items()}
    assert counts["aa-binary"] <= min(counts[name] for name in ("apgd", "fab", "square"))
    assert counts["apgd"] <= counts["pgd"] <= counts["fgsm"]
    assert counts["apgd"] <= counts["square"]
    assert 0 < counts["aa-binary"] < counts["square"]


def test_pictures_made_on_another_model_mislead_less(small: Small) -> None:
    image_BCHW, target_B = nets.faces(48, 21)
    target, other = of_model(small), of_model(nets.trained(seed=1))
    names, pgd = [str(number) for number in range(48)], ATTACKS.find("pgd").at(4 / 255)
    own, foreign = (
        int(nets.right(target, pgd(made_on, image_BCHW, target_B, generators(0, names)), target_B).sum())
        for made_on in (target, other)
    )
    assert own < foreign <= int(nets.right(target, image_BCHW, target_B).sum())


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_no_attack_costs_more_than_it_says(name: str, small: Small) -> None:
    image_BCHW, target_B = nets.faces(4, 3)
    target = of_model(small)
    ATTACKS.find(name).quick(eps=1e-4)(target, image_BCHW, target_B, torch.Generator())
    assert target.passes <= ATTACKS.find(name).quick_passes * len(image_BCHW)
    assert ATTACKS.find(name).quick_passes <= ATTACKS.find(name).passes


def test_square_is_made_without_gradients(small: Small) -> None:
    target = Target(lambda image_BCHW: small(image_BCHW).logit_B.detach(), (small,))
    image_BCHW, target_B = nets.faces(16, 3)
    found_BCHW = Square(queries=60)(target, image_BCHW, target_B, torch.Generator())
    before_B, after_B = target.loss(image_BCHW, target_B), target.loss(found_BCHW, target_B)
    assert (after_B >= before_B).all()
    assert (after_B > before_B).float().mean() > 0.9
    with pytest.raises(UsageError, match="no gradient"):
        Apgd()(target, image_BCHW, target_B, torch.Generator())


def test_squares_shrink_as_published() -> None:
    assert [square.side(proposal, 10_000, 224, 224) for proposal in (0, 10, 11, 51, 201, 501, 9999)] == [
        *(200, 200, 142, 100, 71, 50),
        9,
    ]
    window_B1HW = square.windows(torch.tensor([[0.0, 0.0], [0.999, 0.999], [0.5, 0.0]]), 3, 8, 8)
    assert window_B1HW.sum((1, 2, 3)).tolist() == [9, 9, 9]
    assert [window_B1HW[place, 0].nonzero()[0].tolist() for place in range(3)] == [[0, 0], [5, 5], [3, 0]]


def test_steps_are_halved_when_the_paper_says() -> None:
    assert apgd.periods(100) == [22, 41, 57, 70, 80, 87, 93, 99]


def test_later_starts_are_of_what_is_still_right(small: Small) -> None:
    image_BCHW, target_B = nets.faces(16, 3)
    target = of_model(small)
    one = Apgd(eps=4 / 255, iterations=5)(target, image_BCHW, target_B, torch.Generator())
    first = target.passes
    left = int((target.loss(one, target_B) <= 0).sum())
    target.passes = 0
    Apgd(eps=4 / 255, iterations=5, restarts=2)(target, image_BCHW, target_B, torch.Generator())
    assert 0 < left < 16
    assert target.passes == first + 10 * left
    more = Fab(eps=4 / 255, iterations=5, restarts=2)(target, image_BCHW, target_B, torch.Generator())
    fewer = Fab(eps=4 / 255, iterations=5)(target, image_BCHW, target_B, torch.Generator())
    assert nets.right(target, more, target_B).sum() <= nets.right(target, fewer, target_B).sum()
