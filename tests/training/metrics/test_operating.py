"""Operating points, partial area, Brier and DeLong against scikit-learn and plain loops, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from semblance.training.metrics import delong, registry
from semblance.training.metrics.classification import Judged
from semblance.training.metrics.registry import METRICS, Weighted
from tests.training.metrics.test_metrics import rows


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 400), ties=st.booleans(), weighted=st.booleans())
def test_the_left_end_of_the_roc_equals_that_of_scikit_learn(seed: int, count: int, ties: bool, weighted: bool) -> None:
    judged = rows(seed, count, ties=ties)
    weight_DN = np.random.default_rng(seed + 1).integers(0, 4, (3, count)).astype(float)
    weight_DN = weight_DN if weighted else np.ones((1, count))
    weight_DN[:, :2] = 1  # both classes
    on = Weighted(rows=judged, threshold=0.0, weight_DN=weight_DN)
    found = {name: METRICS[name].compute(on) for name in ("pauc", "tpr_at_fpr_1", "tpr_at_fpr_01", "fpr_at_tpr_95")}
    brier_D = METRICS["brier"].compute(on)
    for place, weight_N in enumerate(weight_DN):
        taken = {"sample_weight": weight_N}
        fpr, tpr, _ = sk.roc_curve(judged.label_N, judged.score_N, drop_intermediate=False, **taken)
        area = sk.roc_auc_score(judged.label_N, judged.score_N, max_fpr=0.1, **taken)
        assert found["pauc"][place] == pytest.approx(area)
        assert found["tpr_at_fpr_1"][place] == pytest.approx(tpr[fpr <= 0.01].max())
        assert found["tpr_at_fpr_01"][place] == pytest.approx(tpr[fpr <= 0.001].max())
        assert found["fpr_at_tpr_95"][place] == pytest.approx(fpr[tpr >= 0.95].min())
        assert brier_D[place] == pytest.approx(sk.brier_score_loss(judged.label_N, judged.probability_N, **taken))


def test_an_allowed_rate_that_is_reached_exactly_counts() -> None:
    """One false alarm of a hundred reals is 1 %, and 19 of 20 fakes are 95 %: rounding must not exclude them."""
    label_N = np.repeat([0.0, 1.0], (100, 20))
    score_N = np.concatenate([np.linspace(-1, 0, 99), [5.0], np.full(19, 3.0), [-2.0]])
    found = registry.figures(Judged(label_N=label_N, score_N=score_N, probability_N=np.full(120, 0.5)), 0.0)
    assert (found["tpr_at_fpr_1"][0], found["fpr_at_tpr_95"][0]) == (0.95, 0.01)


@pytest.mark.parametrize(
    ("name", "reals", "fakes"),
    [("tpr_at_fpr_01", 1000, 1), ("tpr_at_fpr_1", 100, 1), ("pauc", 10, 1), ("fpr_at_tpr_95", 1, 20)],
)
def test_what_cannot_be_resolved_is_not_measured(name: str, reals: int, fakes: int) -> None:
    def figure(reals: int, fakes: int) -> float:
        label_N = np.repeat([0.0, 1.0], (reals, fakes))
        return float(registry.figures(Judged(label_N=label_N, score_N=label_N, probability_N=label_N), 0.5)[name][0])

    assert figure(reals, fakes) == METRICS[name].compute(_perfect())[0]
    assert np.isnan(figure(reals - 1 if reals > 1 else reals, fakes - 1 if fakes > 1 else fakes))


def _perfect() -> Weighted:
    label_N = np.repeat([0.0, 1.0], 5)
    judged = Judged(label_N=label_N, score_N=label_N, probability_N=label_N)
    return Weighted(rows=judged, threshold=0.5, weight_DN=np.ones((1, 10)))


def placements(label_N: np.ndarray, score_MN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's areas and covariance from all pairs of a fake and a real, as in the paper of 1988."""
    fake_MF, real_MR = score_MN[:, label_N == 1], score_MN[:, label_N == 0]
    won_MFR = (fake_MF[:, :, None] > real_MR[:, None, :]) + 0.5 * (fake_MF[:, :, None] == real_MR[:, None, :])
    by_fake_MF, by_real_MR = won_MFR.mean(2), won_MFR.mean(1)
    covariance = np.cov(by_fake_MF) / by_fake_MF.shape[1] + np.cov(by_real_MR) / by_real_MR.shape[1]
    return won_MFR.mean((1, 2)), covariance


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(8, 150), models=st.integers(2, 4), ties=st.booleans())
def test_delong_equals_all_pairs(seed: int, count: int, models: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    label_N = (rng.random(count) < 0.5).astype(float)
    label_N[:4] = 0, 0, 1, 1
    score_MN = rng.normal(label_N, 1.5, (models, count)) + rng.normal(size=count)
    score_MN = np.round(score_MN, 0) if ties else score_MN
    area_M, covariance_MM = delong.areas(label_N, score_MN)
    expected_M, expected_MM = placements(label_N, score_MN)
    assert area_M == pytest.approx(expected_M)
    assert covariance_MM == pytest.approx(expected_MM, abs=1e-12)
    assert area_M == pytest.approx([sk.roc_auc_score(label_N, score_N) for score_N in score_MN])
    found, turned = (delong.difference(label_N, *score_MN[order]) for order in ([0, 1], [1, 0]))
    assert (found.value, found.low, found.high) == pytest.approx((-turned.value, -turned.high, -turned.low))
    assert found.p == pytest.approx(turned.p)
    if found.high - found.low > 1e-9:
        spread = np.sqrt(np.array([1, -1]) @ expected_MM[:2, :2] @ np.array([1, -1]))
        assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.value) / spread), abs=1e-6)
        assert (found.low > 0 or found.high < 0) == (found.p < 0.05)


def test_a_model_does_not_differ_from_itself() -> None:
    judged = rows(3)
    same = delong.difference(judged.label_N, judged.score_N, 3 * judged.score_N + 1)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    opposite = delong.difference(np.array([0.0, 0, 1, 1]), np.array([0.0, 1, 2, 3]), np.array([3.0, 2, 1, 0]))
    assert (opposite.value, opposite.p) == (1, None)  # no spread to judge it by
    with pytest.raises(ValueError, match="two rows of each class"):
        delong.areas(np.array([0.0, 1, 1]), np.zeros((2, 3)))


def test_delong_holds_its_level_on_independent_rows() -> None:
    """Of equal models, about 5 % differ at the level of 5 %."""
    rng = np.random.default_rng(0)
    label_N = np.repeat([0.0, 1.0], 40)
    found = [delong.difference(label_N, *rng.normal(label_N, 1, (2, 80))).p for _ in range(400)]
    assert 0.02 < np.mean([p < 0.05 for p in found if p is not None]) < 0.09


def test_holm_corrects_as_published() -> None:
    """The example of Holm's rule worked by hand: the k-th smallest of m times m + 1 - k, never falling, at most 1."""
    assert delong.holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert delong.holm([None, 0.9, 0.8]) == [None, 1.0, 1.0]
    assert delong.holm([]) == []
