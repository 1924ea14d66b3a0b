"""Evaluations against an independent computation on the same pictures, and what they refuse."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
import torch
from sklearn import metrics as sk

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.data import peek, query
from semblance.training.evaluation import evaluate, predictions, results
from semblance.training.evaluation.evaluate import Evaluation, Options
from semblance.training.evaluation.report import page
from tests.training import untrained

DRAWS = Options(draws=50)


@pytest.fixture(scope="module")
def run(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained.make(tmp_path_factory.mktemp("runs") / "alone", [ffpp], "tta=mirror")


@pytest.fixture(scope="module")
def result(ffpp: Path, dfdc: Path, run: Path) -> Evaluation:
    return evaluate.evaluate([str(ffpp), str(dfdc)], [str(run)], DRAWS, say=lambda _: None)


def row(result: Evaluation, level: str, *part: str | None, model: str = "alone") -> results.Row:
    (found,) = (
        one
        for one in result.rows
        if (one.model, one.level, one.dataset, one.compression, one.method) == (model, level, *part)
    )
    return found


def test_every_picture_has_the_logit_of_the_model(result: Evaluation, run: Path, ffpp: Path) -> None:
    chosen = query.select([str(ffpp)], "test", unlabelled=True)
    model = untrained.model(run)
    found = result.predictions["alone"].filter(pl.col("dataset") == "ffpp")
    logits = dict(found.select("sample_id", "logit").iter_rows())
    plain = dict(result.predictions["alone+plain"].select("sample_id", "logit").iter_rows())
    assert found.height == len(logits) == chosen.pictures.height
    with torch.inference_mode():
        for name, image in peek.images(chosen):
            picture = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255
            both = [float(model(view).logit_B) for view in (picture, picture.flip(3))]
            assert logits[name] == pytest.approx(sum(both) / 2, abs=1e-4)
            assert plain[name] == pytest.approx(both[0], abs=1e-4)


def test_figures_follow_from_the_table(result: Evaluation, tmp_path: Path) -> None:
    """Recomputed by DuckDB and scikit-learn from the Parquet table only."""
    evaluate.write(result, tmp_path)
    table = f"(SELECT * FROM '{tmp_path}/predictions.parquet' WHERE model = 'alone' AND dataset = 'ffpp')"
    videos = duckdb.sql(
        f"""SELECT any_value(label), max(logit) FROM (SELECT video_id, any_value(label) AS label, avg(logit) AS logit
            FROM {table} GROUP BY video_id, person) GROUP BY video_id"""
    ).fetchall()
    label, logit = np.array(videos).T
    video = row(result, "video", "ffpp", None, None)
    assert (video.reals, video.fakes, video.scored, video.listed) == (6, 12, 18, 18)
    assert video.figures["auc"].value == pytest.approx(sk.roc_auc_score(label, logit))
    called = logit >= video.threshold
    assert video.figures["balanced_accuracy"].value == pytest.approx(sk.balanced_accuracy_score(label, called))
    frames = duckdb.sql(f"SELECT face_label, score FROM {table} WHERE face_label IS NOT NULL").fetchall()
    label, score = np.array(frames).T
    frame = row(result, "frame", "ffpp", None, None)
    assert frame.figures["ap"].value == pytest.approx(sk.average_precision_score(label, score))
    assert frame.figures["log_loss"].value == pytest.approx(sk.log_loss(label, score))
    assert frame.unlabelled == duckdb.sql(f"SELECT count(*) FROM {table} WHERE face_label IS NULL").fetchall()[0][0]
    assert (video.figures["auc"].low, video.figures["auc"].high) == (None, None)  # of six families


@pytest.mark.parametrize(("families", "known"), [(9, False), (10, True)])
def test_few_groups_have_no_interval(families: int, known: bool) -> None:
    """Ten of each class have one; perfect separation of fewer would read "1.000 (1.000 to 1.000)"."""
    count = 10 + families
    rows = pl.DataFrame(
        {
            "dataset": ["a"] * count,
            "family_id": [str(number) for number in range(count)],
            "target_id": pl.Series([None] * count, dtype=pl.String),
            "label": [0] * 10 + [1] * families,
            "logit": [float(number % 7) for number in range(count)],
            "score": [0.5] * count,
        }
    )
    found = results._figures(rows, "label", 0.0, 200, 0)["auc"]
    assert found.value is not None
    assert ((found.low is not None), (found.high is not None)) == (known, known)


def test_a_method_is_compared_with_reals_of_its_compression(result: Evaluation) -> None:
    part = row(result, "video", "ffpp", "c40", "FaceSwap")
    assert (part.reals, part.fakes) == (3, 3)
    assert part.mark == "unseen method"
    assert row(result, "video", "ffpp", "c40", "Deepfakes").mark == "seen"
    assert row(result, "video", "ffpp", None, None).mark == "mixed"
    assert row(result, "video", "dfdc", None, None).mark == "unseen dataset"


def test_only_what_was_all_seen_is_marked_seen() -> None:
    trained = [{"role": "train", "dataset": "a", "methods": ["x", "pristine"], "unnamed_methods": False}]

    def mark(*rows: tuple[str, int, str | None]) -> str:
        videos = pl.DataFrame(rows, {"dataset": pl.String, "label": pl.Int64, "method": pl.String}, orient="row")
        return results.mark(trained, videos)

    real = ("a", 0, "pristine")
    assert mark(real) == mark(real, ("a", 1, "x")) == "seen"
    assert mark(real, ("a", 1, "y")) == mark(real, ("a", 1, None)) == "unseen method"
    assert mark(("b", 0, "pristine"), ("b", 1, "x")) == "unseen dataset"
    assert mark(real, ("a", 1, "x"), ("a", 1, "y")) == mark(real, ("a", 1, "x"), ("b", 1, "x")) == "mixed"
    assert mark(real, ("a", 1, "x"), ("a", 1, None)) == "mixed"


def test_the_threshold_is_chosen_on_val(ffpp: Path, run: Path, result: Evaluation) -> None:
    val = evaluate.evaluate([str(ffpp)], [str(run)], Options(split="val", draws=0), say=lambda _: None)
    videos = (
        val.predictions["alone"].group_by("video_id", "person").agg(pl.col("logit").mean(), pl.col("label").first())
    )
    videos = videos.group_by("video_id").agg(pl.col("logit").max(), pl.col("label").first())
    best = max(
        sk.balanced_accuracy_score(videos["label"], videos["logit"] >= limit) for limit in (*videos["logit"], np.inf)
    )
    limit = result.thresholds["alone"]["video"]
    assert sk.balanced_accuracy_score(videos["label"], videos["logit"] >= limit) == pytest.approx(best)


def test_a_video_without_a_face_is_counted_and_scored_in_the_second_column(
    ffpp: Path, run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(ffpp, out)
    file = next((out / "manifests" / "videos").glob("*-test-*.parquet"))
    videos = pl.read_parquet(file)
    pl.concat(
        [videos, videos.filter(pl.col("label") == 1).head(1).with_columns(video_id=pl.lit("faceless"))]
    ).write_parquet(file)
    result = evaluate.evaluate([str(out)], [str(run)], DRAWS, say=lambda _: None)
    video = row(result, "video", "ffpp", None, None)
    assert (video.scored, video.listed) == (18, 19)
    scored = predictions.of_videos(result.videos, result.predictions["alone"], result.predictors["alone"])
    label, score = scored["label"], scored["score"].fill_null(0.5)
    assert video.filled["auc"].value == pytest.approx(sk.roc_auc_score(label, score))
    assert "18/19" in page.markdown(result)


def test_training_data_are_refused_unless_allowed(ffpp: Path, run: Path) -> None:
    with pytest.raises(SemblanceError, match=r"(families|videos) of .* were trained on .*--allow-leaks"):
        evaluate.evaluate([str(ffpp)], [str(run)], Options(split="train", draws=0), say=lambda _: None)
    said: list[str] = []
    options = Options(split="train", draws=0, allow_leaks=True)
    found = evaluate.evaluate([str(ffpp)], [str(run)], options, say=said.append)
    assert {one.kind for one in found.leaks.leaks} == {"video", "family"}
    assert any("warning" in line for line in said)
    assert "**Leak**" in page.markdown(found)


def test_invalid_input_is_reported_in_one_sentence(ffpp: Path, run: Path, tmp_path: Path) -> None:
    quiet: dict[str, Any] = {"say": lambda _: None}
    with pytest.raises(UsageError, match="is not a trained run"):
        evaluate.evaluate([str(ffpp)], [str(tmp_path)], **quiet)
    with pytest.raises(UsageError, match="Unknown split 'exam'"):
        evaluate.evaluate([str(ffpp)], [str(run)], Options(split="exam"), **quiet)
    with pytest.raises(SemblanceError, match=r"Split unassigned of .* is empty"):
        evaluate.evaluate([str(ffpp)], [str(run)], Options(split="unassigned"), **quiet)
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    (broken / "checkpoints" / "best.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(SemblanceError, match="is damaged or not a checkpoint"):
        evaluate.evaluate([str(ffpp)], [str(broken)], **quiet)
    copied = tmp_path / "again"
    shutil.copytree(ffpp, copied)
    with pytest.raises(UsageError, match="hold the same pictures"):
        evaluate.evaluate([str(ffpp), str(copied)], [str(run)], **quiet)
