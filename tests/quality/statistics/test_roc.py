"""The area under the ROC curve, held against scikit-learn's, and its laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from semblance.quality.statistics import roc

Rows = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    """Labels of both kinds, scores with ties, whole weights."""
    labels = np.array([0, 1, *draw(st.lists(st.integers(0, 1), min_size=2, max_size=60))])
    count = len(labels)
    scores = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    weights = draw(st.lists(st.integers(1, 5), min_size=count, max_size=count))
    return labels, np.array(scores, float), np.array(weights, float)


@given(rows())
@settings(max_examples=60)
def test_the_area_is_scikit_learns(given_rows: Rows) -> None:
    labels, scores, weights = given_rows
    assert roc.auc(labels, scores)[0] == pytest.approx(roc_auc_score(labels, scores))
    assert roc.auc(labels, scores, weights[None])[0] == pytest.approx(
        roc_auc_score(labels, scores, sample_weight=weights)
    )


@given(rows())
def test_a_weight_is_a_number_of_copies_and_order_is_all_that_counts(given_rows: Rows) -> None:
    """Exactly: sums of whole weights have no rounding, so models that rank alike are tied, in any order of rows."""
    labels, scores, weights = given_rows
    area = roc.auc(labels, scores, weights[None])[0]
    times = weights.astype(int)
    assert roc.auc(labels.repeat(times), scores.repeat(times))[0] == area
    turned = np.random.default_rng(len(labels)).permutation(len(labels))
    assert roc.auc(labels[turned], np.exp(scores[turned] / 3), weights[None, turned])[0] == area
    assert roc.auc(1 - labels, -scores, weights[None])[0] == area
    assert roc.auc(labels, -scores, weights[None])[0] == pytest.approx(1 - area)


@given(rows(), st.integers(1, 4))
def test_draws_are_judged_each_by_itself(given_rows: Rows, draws: int) -> None:
    labels, scores, weights = given_rows
    weight_DN = np.stack([np.roll(weights, draw) for draw in range(draws)])
    whole = roc.roc(labels, scores, weight_DN)
    for draw in range(draws):
        alone = roc.roc(labels, scores, weight_DN[[draw]])
        assert np.array_equal(alone.fpr_DK[0], whole.fpr_DK[draw])
        assert np.array_equal(alone.tpr_DK[0], whole.tpr_DK[draw])
        assert alone.auc_D[0] == whole.auc_D[draw]
    assert np.trapezoid(whole.tpr_DK[0], whole.fpr_DK[0]) == pytest.approx(whole.auc_D[0])


def test_one_class_has_no_area() -> None:
    assert np.isnan(roc.auc(np.ones(3), np.arange(3.0))).all()
    both = roc.auc(np.array([0, 1]), np.array([0.0, 1.0]), np.array([[1.0, 1.0], [0.0, 2.0]]))
    assert both[0] == 1
    assert np.isnan(both[1])
