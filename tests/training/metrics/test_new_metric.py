"""A new metric, added by one entry: equal to scikit-learn and on every page; and laws of all metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from semblance.training.evaluation import evaluate, predictions
from semblance.training.evaluation.evaluate import Options
from semblance.training.evaluation.report import about, figures, page
from semblance.training.metrics import registry
from semblance.training.metrics.classification import Floats, Judged
from semblance.training.metrics.registry import METRICS, Metric, Weighted
from tests.training import untrained
from tests.training.metrics.test_metrics import rows


def _found_at_five_percent(on: Weighted) -> Floats:
    allowed_DK = np.where(on.curve.fpr_DK <= 0.05, on.curve.tpr_DK, -np.inf)
    return np.where(np.isfinite(on.curve.fpr_DK[:, 0]), allowed_DK.max(1), np.nan)


TPR = Metric(
    name="tpr_at_fpr_5",
    title="TPR at FPR 5 %",
    compute=_found_at_five_percent,
    better="higher",
    source="sklearn.metrics.roc_curve: the largest TPR with FPR <= 0.05",
    interval=True,
    summary=True,
    note="the largest TPR at an FPR of at most 0.05",
)


@pytest.mark.parametrize("seed", range(8))
def test_a_metric_is_one_entry(seed: int) -> None:
    judged = rows(seed, 400)
    weight_DN = np.random.default_rng(seed).integers(0, 4, (3, 400)).astype(float)
    before = registry.figures(judged, 0.2, weight_DN)
    with METRICS.added(TPR.name, TPR):
        found = registry.figures(judged, 0.2, weight_DN)
    assert [*found] == [*before, TPR.name]
    for weight_N, value in zip(weight_DN, found[TPR.name], strict=True):
        fpr, tpr, _ = sk.roc_curve(judged.label_N, judged.score_N, sample_weight=weight_N, drop_intermediate=False)
        assert value == pytest.approx(tpr[fpr <= 0.05].max())


def test_every_page_shows_it(ffpp: Path, tmp_path: Path) -> None:
    run = untrained.make(tmp_path / "run", [ffpp], gain=9)
    with METRICS.added(TPR.name, TPR):
        result = evaluate.evaluate([str(ffpp)], [str(run)], Options(draws=20), say=lambda _: None)
        summary, markdown, html = page.summary(result), page.markdown(result), page.html(result)
    row = next(row for row in result.rows if row.level == "video" and row.method is row.compression is None)
    figure = row.figures[TPR.name]
    rows_ = predictions.of_videos(result.videos, result.predictions["run"], result.predictors["run"])
    fpr, tpr, _ = sk.roc_curve(*rows_.drop_nulls("logit").select("label", "logit"), drop_intermediate=False)
    assert figure.value == pytest.approx(tpr[fpr <= 0.05].max())
    assert figure.low is None  # few families
    assert dict(zip(*summary, strict=True))[TPR.title] == figures.shown(figure)
    assert f" | {TPR.title} |" in markdown
    assert f"| {figures.shown(figure)} |" in markdown
    assert f"{TPR.title}: {TPR.note}." in markdown
    assert f'<th scope="col" class="n">{TPR.title}</th>' in html


def test_the_current_columns() -> None:
    assert [metric.title for metric in METRICS.values()] == [
        *("AUC", "AP", "accuracy", "balanced acc.", "EER", "log loss", "ECE", "fakes"),
        *("pAUC", "TPR at FPR 1 %", "TPR at FPR 0.1 %", "FPR at TPR 95 %", "Brier"),
    ]
    said = " ".join(str(block) for block in about.legend(10).blocks)
    assert "EER: linear interpolation of the ROC. ECE: 15 bins of equal mass. pAUC: the area up to" in said


@pytest.mark.parametrize("name", METRICS)
def test_direction_and_threshold_are_as_declared(name: str) -> None:
    """Perfect scores beat random ones, and only metrics declared so depend on the threshold."""
    metric, chance = METRICS[name], np.random.default_rng(0)
    label_N = np.repeat([0.0, 1.0], 1000)
    perfect = Judged(label_N=label_N, score_N=label_N * 20 - 10, probability_N=label_N)
    guess_N = chance.random(2000)
    coin = Judged(label_N=label_N, score_N=guess_N * 20 - 10, probability_N=guess_N)
    good, bad = (float(registry.figures(one, 0.0)[name][0]) for one in (perfect, coin))
    if metric.better is None:
        assert good == bad
    else:
        assert (good > bad) == (metric.better == "higher")
        assert good != bad
    values = {float(registry.figures(coin, threshold)[name][0]) for threshold in (-7.0, -3.0, 0.0, 4.0, 8.0)}
    assert (len(values) > 1) == metric.thresholded
