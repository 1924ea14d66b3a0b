"""Randomised smoothing against closed forms: linear detectors, whose exact radius is |z| / ||w||."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm
from torch import Tensor

from semblance.manifests.errors import UsageError
from semblance.training.evaluation import evaluate, smoothing
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.report import security
from semblance.training.evaluation.smoothing import Options
from tests.training import untrained
from tests.training.evaluation import linear


def test_a_certificate_is_no_longer_than_the_way_to_the_boundary() -> None:
    """Of 1,000 pictures 1 in a thousand may be wrong; more than 5 would be a chance of one in 1,600."""
    options = Options(samples=400)
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(12, generator=generator)
    found = []
    for number in range(1000):
        image_CHW = torch.rand(3, 2, 2, generator=generator)
        bias = float(torch.rand((), generator=generator)) - 0.5 - float(weight.sum()) / 2

        def logits(image_BCHW: Tensor, bias: float = bias) -> Tensor:
            return image_BCHW.flatten(1) @ weight + bias

        exact = float(logits(image_CHW[None])) / float(weight.norm())
        noise = torch.Generator().manual_seed(number)
        answer = smoothing.certify(logits, image_CHW, options, noise)
        assert answer.radius <= options.cap + 1e-9
        if answer.label is None:
            found.append((0.0, exact))
            assert answer.radius == 0
        else:
            found.append((answer.radius if answer.label else -answer.radius, exact))
    beyond = sum(given > exact for given, exact in found if given > 0)
    beyond += sum(given < exact for given, exact in found if given < 0)
    assert beyond <= 5
    sure = [given / exact for given, exact in found if given]
    assert len(sure) > 500
    assert 0.6 < np.median(sure) < 1


@pytest.mark.parametrize(("count", "samples"), [(0, 10), (7, 10), (10, 10), (999, 1000), (1000, 1000)])
def test_the_lower_bound_is_that_of_the_binomial(count: int, samples: int) -> None:
    """At the bound, so many or more would be seen with probability alpha (Clopper and Pearson 1934)."""
    bound = smoothing.lower(count, samples, 0.01)
    assert binom.sf(count - 1, samples, bound) == pytest.approx(0.01) if count else bound == 0


def test_what_no_detector_can_exceed() -> None:
    plan = Options()
    assert plan.cap == pytest.approx(0.25 * norm.ppf(0.001 ** (1 / 10_000)))
    assert plan.cap == pytest.approx(0.80, abs=0.005)
    constant = smoothing.certify(lambda many: torch.ones(len(many)), torch.zeros(3, 2, 2), plan, torch.Generator())
    assert (constant.label, constant.radius) == (1, pytest.approx(plan.cap))
    assert smoothing.covering(0.03, 224) == pytest.approx(11.6, abs=0.05)


def test_a_half_and_half_answer_is_none() -> None:
    def logits(many: Tensor) -> Tensor:
        return many[:, 0, 0, 0]

    answer = smoothing.certify(logits, torch.zeros(3, 2, 2), Options(samples=500), torch.Generator().manual_seed(1))
    assert (answer.label, answer.radius) == (None, 0.0)


@pytest.fixture(scope="module")
def result(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    run = untrained.make(tmp_path_factory.mktemp("runs") / "one", [ffpp])
    return evaluate.evaluate([str(ffpp)], [str(run)], evaluate.Options(draws=20), say=lambda _: None)


def with_linear(result: Evaluation, weight_CHW: Tensor, bias: float, threshold: float = 0.0) -> Evaluation:
    run = linear.predictor("one", linear.member("one", weight_CHW, bias))
    limits = dict.fromkeys(("frame", "video", "video (mean)"), threshold)
    return replace(result, predictors={"one": run}, thresholds={"one": limits})  # type: ignore[dict-item]


def test_a_constant_answer_is_certified_to_the_cap_and_no_better_than_chance(result: Evaluation) -> None:
    constant = with_linear(result, torch.zeros(3, 32, 32), 1.0)
    options = Options(samples=50, pictures=20)
    (found,), notes = smoothing.measure(constant, options, say=lambda _: None)
    assert (found.reals, found.fakes, found.abstained) == (10, 10, 0)
    assert [point.radius for point in found.points] == pytest.approx([0.0, 0.1, 0.2][: len(found.points)])
    assert all((point.balanced.value, point.real, point.fake) == (0.5, 0.0, 1.0) for point in found.points)
    assert found.clean.value == 0.5
    assert "was not trained on noise" in notes[0]
    page = security.certificates([found], notes)
    assert "never covers the plan's L-infinity 0.03" in str(page.blocks[1])
    assert f"L2 {0.03 * math.sqrt(3) * 32:.1f} at 32 px" in str(page.blocks[1])


def test_who_abstains_is_wrong(result: Evaluation) -> None:
    """Noise that is much stronger than the picture leaves every answer to chance."""
    weight_CHW = torch.zeros(3, 32, 32)
    weight_CHW[0, 16, 16] = 1.0
    tossed = with_linear(result, weight_CHW, -0.5)
    (found,), _ = smoothing.measure(tossed, Options(sigma=10, samples=100, pictures=20), say=lambda _: None)
    count = found.reals + found.fakes
    right = [(point.real or 0) * found.reals + (point.fake or 0) * found.fakes for point in found.points]
    assert found.abstained >= 0.8 * count
    assert all(round(one) <= count - found.abstained for one in right)


def test_the_same_pictures_get_the_same_noise_in_any_company(result: Evaluation) -> None:
    weight_CHW = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0)) / 8
    noisy = with_linear(result, weight_CHW, -float(weight_CHW.sum()) / 2)
    once = smoothing.measure(noisy, Options(samples=60, pictures=12), say=lambda _: None)
    again = smoothing.measure(noisy, Options(samples=60, pictures=12), say=lambda _: None)
    assert once == again


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"sigma": 0.0}, "--sigma 0 is not in"),
        ({"alpha": 0.5}, "--alpha 0.5 is not between"),
        ({"pictures": 1}, "--certify-pictures 1 is too few"),
        ({"samples": 9}, "--samples 9 can certify nothing at --alpha 0.001"),
        ({"samples": 0}, "take at least 10"),
    ],
)
def test_values_that_mean_nothing_are_refused(values: dict[str, float], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Options(**values)  # type: ignore[arg-type]


def test_as_many_samples_as_the_sentence_says_are_enough() -> None:
    assert Options(samples=10).cap > 0


def test_noise_in_training_is_told(ffpp: Path, tmp_path: Path) -> None:
    run = untrained.make(tmp_path / "noisy", [ffpp], "regime.kind=noisy", "regime.sigma=0.5")
    noisy = evaluate.evaluate([str(ffpp)], [str(run)], evaluate.Options(draws=0), say=lambda _: None)
    (found,), notes = smoothing.measure(noisy, Options(samples=20, pictures=2), say=lambda _: None)
    assert (found.trained, notes) == (0.5, [])
