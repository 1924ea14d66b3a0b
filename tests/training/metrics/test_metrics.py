"""Metrics against scikit-learn, and the bootstrap against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from semblance.quality.statistics import bootstrap
from semblance.training.inference.predictor import sigmoid
from semblance.training.metrics import classification, registry
from semblance.training.metrics.classification import Judged


def rows(seed: int, count: int = 200, *, ties: bool = True) -> Judged:
    rng = np.random.default_rng(seed)
    label_N = (rng.random(count) < 0.6).astype(float)
    label_N[:2] = 0, 1
    score_N = rng.normal(label_N, 1.5)
    score_N = np.round(score_N, 1) if ties else score_N
    return Judged(label_N=label_N, score_N=score_N, probability_N=sigmoid(score_N))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), count=st.integers(3, 120), ties=st.booleans(), weighted=st.booleans())
def test_figures_equal_those_of_scikit_learn(seed: int, count: int, ties: bool, weighted: bool) -> None:
    judged = rows(seed, count, ties=ties)
    weight_N = np.random.default_rng(seed + 1).integers(0, 4, count).astype(float) if weighted else np.ones(count)
    weight_N[:2] = 1  # both classes
    found = {name: float(value[0]) for name, value in registry.figures(judged, 0.25, weight_N[None]).items()}
    label_N, score_N, called_N = judged.label_N, judged.score_N, judged.score_N >= 0.25
    weigh = {"sample_weight": weight_N}
    assert found["auc"] == pytest.approx(sk.roc_auc_score(label_N, score_N, **weigh))
    assert found["ap"] == pytest.approx(sk.average_precision_score(label_N, score_N, **weigh))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(label_N, called_N, **weigh))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(label_N, called_N, **weigh))
    assert found["log_loss"] == pytest.approx(sk.log_loss(label_N, judged.probability_N, **weigh))
    assert found["prevalence"] == pytest.approx(np.average(label_N, weights=weight_N))
    assert found["eer"] == pytest.approx(equal_error(label_N, score_N, weight_N), abs=1e-9)


def equal_error(label_N: np.ndarray, score_N: np.ndarray, weight_N: np.ndarray) -> float:
    """The intersection of FPR + TPR = 1 with scikit-learn's ROC, by bisection on its linear interpolation."""
    fpr, tpr, _ = sk.roc_curve(label_N, score_N, sample_weight=weight_N, drop_intermediate=False)
    place = np.arange(len(fpr))
    low, high = 0.0, float(len(fpr) - 1)
    for _ in range(80):
        middle = (low + high) / 2
        over = np.interp(middle, place, fpr) + np.interp(middle, place, tpr) >= 1
        low, high = (low, middle) if over else (middle, high)
    return float(np.interp(high, place, fpr))


def test_bins_have_equal_mass_and_ece_is_their_mean_gap() -> None:
    judged = rows(3, 300, ties=False)
    bin_N = classification.bins_of(judged.probability_N)
    assert np.bincount(bin_N).tolist() == [20] * 15
    shares, means = calibration_curve(judged.label_N, judged.probability_N, n_bins=15, strategy="quantile")
    assert registry.figures(judged, 0.0)["ece"][0] == pytest.approx(np.abs(shares - means).mean())
    assert [one[1] for one in classification.reliability(judged)] == pytest.approx(shares.tolist())


def test_equal_probabilities_share_a_bin() -> None:
    judged = Judged(label_N=np.array([0.0, 1] * 10), score_N=np.zeros(20), probability_N=np.full(20, 0.5))
    assert len(set(classification.bins_of(judged.probability_N).tolist())) == 1
    assert registry.figures(judged, 0.0)["ece"][0] == 0
    assert registry.figures(judged, 0.0)["eer"][0] == 0.5


def test_one_class_has_no_auc_but_a_loss() -> None:
    judged = Judged(label_N=np.ones(3), score_N=np.arange(3.0), probability_N=np.array([0.5, 0.6, 0.7]))
    found = registry.figures(judged, 0.0)
    assert np.isnan(found["auc"][0])
    assert np.isnan(found["balanced_accuracy"][0])
    assert found["log_loss"][0] == pytest.approx(-np.log([0.5, 0.6, 0.7]).mean())
    with pytest.raises(ValueError, match="both classes"):
        classification.threshold(judged)


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_has_the_best_balanced_accuracy_of_all(seed: int) -> None:
    judged = rows(seed)
    tries = np.concatenate([judged.score_N - 1e-9, judged.score_N + 1e-9])
    best = max(sk.balanced_accuracy_score(judged.label_N, judged.score_N >= one) for one in tries)
    chosen = sk.balanced_accuracy_score(judged.label_N, judged.score_N >= classification.threshold(judged))
    assert chosen == pytest.approx(best)


def test_rates_at_a_threshold() -> None:
    judged = rows(1)
    tn, fp, fn, tp = sk.confusion_matrix(judged.label_N, judged.score_N >= 0.3).ravel()
    found = classification.rates(judged, 0.3)
    assert found["fpr"][0] == pytest.approx(fp / (fp + tn))
    assert found["fnr"][0] == pytest.approx(fn / (fn + tp))
    assert found["positive"][0] == pytest.approx((fp + tp) / 200)


def test_risk_and_coverage() -> None:
    wrong_N = np.array([False, True, False, True])
    assert classification.risk_coverage(wrong_N, np.array([0.1, 0.4, 0.2, 0.4])) == [
        (0.25, 0.0),
        (0.5, 0.0),
        (1.0, 0.5),
    ]


def test_draws_are_of_whole_groups() -> None:
    judged = rows(5, 90)
    group_N = np.array([f"family {number % 9}" for number in range(90)])

    def figures(weight_DN: np.ndarray | None) -> dict[str, np.ndarray]:
        return registry.figures(judged, 0.0, weight_DN)

    found = bootstrap.estimate(figures, group_N, draws=400, seed=7)
    times_DG = np.random.default_rng(7).multinomial(9, np.full(9, 1 / 9), size=400)
    aucs = []
    for times_G in times_DG:  # the same draws, each written out in full
        picked = np.concatenate(
            [np.flatnonzero(group_N == f"family {g}").repeat(times) for g, times in enumerate(times_G)]
        )
        aucs.append(sk.roc_auc_score(judged.label_N[picked], judged.score_N[picked]))
    assert found["auc"].value == pytest.approx(sk.roc_auc_score(judged.label_N, judged.score_N))
    assert (found["auc"].low, found["auc"].high) == pytest.approx(tuple(np.percentile(aucs, (2.5, 97.5))))
    assert found == bootstrap.estimate(figures, group_N, draws=400, seed=7)


def test_chunks_of_draws_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = rows(2, 40)
    group_N = np.arange(40).astype(str)

    def figures(weight_DN: np.ndarray | None) -> dict[str, np.ndarray]:
        return registry.figures(judged, 0.0, weight_DN)

    whole = bootstrap.estimate(figures, group_N, draws=50, seed=0)
    monkeypatch.setattr(bootstrap, "_CELLS", 40 * 7)
    parts = bootstrap.estimate(figures, group_N, draws=50, seed=0)
    assert parts.keys() == whole.keys()
    known = {name: one for name, one in whole.items() if one.low is not None}
    assert {name: one for name, one in parts.items() if name not in known} == {
        name: one for name, one in whole.items() if name not in known
    }
    for name, one in known.items():  # sums may be taken in another order, by the processor's own vectors
        assert (parts[name].value, parts[name].low, parts[name].high) == pytest.approx(
            (one.value, one.low, one.high), rel=1e-12, nan_ok=True
        )


def test_one_group_has_no_interval() -> None:
    judged = rows(2, 40)
    found = bootstrap.estimate(lambda w: registry.figures(judged, 0.0, w), ["a"] * 40, draws=50, seed=0)
    assert found["auc"].value is not None
    assert found["auc"].low is None
