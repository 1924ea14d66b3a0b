"""The ranked list of doubtful labels: its order, what a model's scores are worth, and planted wrong labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance import manifests
from semblance.manifests.errors import SemblanceError
from semblance.quality.audit import checks
from semblance.quality.checks import doubtful, label_noise, linear, predictions
from semblance.quality.report import gallery
from semblance.quality.report.doubtful import sheets
from semblance.training.evaluation.predictions import COLUMNS
from tests.benchmarks import label_noise as planting
from tests.conftest import Run
from tests.quality import planted


def test_planted_wrong_labels_come_first() -> None:
    """2 % of the labels are turned: a good part of as many at the top of the list are these, and most are on it."""
    found = planting.measure(*planting.photographs(100, 25), draws=3)
    print(found)
    assert found.planted == 4
    assert found.auc > 0.9
    assert found.at_planted >= 0.4  # by chance 0.02
    assert found.found >= 0.7


def test_a_model_that_knows_nothing_doubts_nothing() -> None:
    names = [f"v{number}" for number in range(120)]
    chance = np.random.default_rng(3)
    labels = np.arange(120) % 2
    table = pl.DataFrame(
        {"video_id": names, "label": labels, "family_id": [f"f{number // 2}" for number in range(120)]}
    )
    told = linear.told(chance.normal(size=(120, 50)), labels, table["family_id"].to_list())
    found = doubtful.scored("a guess", table, told, 3)
    assert not found.scores
    assert "too weak to doubt a label by" in found.words
    assert "3 videos have no score" in found.words
    few = linear.told(chance.normal(size=(20, 5)), labels[:20], table["family_id"].to_list()[:20])
    assert "too few families" in doubtful.scored("a guess", table.head(20), few, 0).words


@given(st.dictionaries(st.integers(0, 40), st.floats(0, 1), min_size=1), st.integers(0, 2**41 - 1))
def test_the_list_is_ordered_bounded_and_of_scored_videos(drawn: dict[int, float], bits: int) -> None:
    scores = {f"v{number}": score for number, score in drawn.items()}
    labels = {name: bits >> int(name[1:]) & 1 for name in scores}
    found = doubtful.rank(labels, scores)
    values = [one.value for one in found]
    assert values == sorted(values, reverse=True)
    assert all(value >= doubtful.LIMIT for value in values)
    assert len(found) <= np.ceil(doubtful.SHARE * len(scores))
    for one in found:
        score = scores[one.video_id]
        assert one.value == pytest.approx(score if one.label == 0 else 1 - score, abs=1e-6)


def test_evidence_adds_up_and_a_changed_fake_is_one() -> None:
    def flag(name: str, kind: str, value: float | None) -> dict[str, object]:
        return {"sample_id": None, "video_id": name, "flag": kind, "value": value, "by": "list.csv"}

    rows = [
        flag("copy", label_noise.EQUALS_REAL, 0.9),
        flag("faint", label_noise.UNCHANGED, 1.9),
        flag("loud", "audio_altered", None),
        flag("absent", "audio_altered", None),
    ]
    labels = dict.fromkeys(("copy", "faint", "loud", "clear", "plain"), 1)
    scores = {"copy": 0.4, "faint": 0.2, "clear": 0.05, "plain": 0.1}
    found = {one.video_id: one for one in doubtful.rank(labels, scores, rows, {"clear": 9.0, "faint": 1.9})}
    assert list(found) == ["copy", "faint", "plain", "loud"]
    assert found["copy"].value == pytest.approx(1 - 0.1 * 0.4)
    assert found["faint"].value == pytest.approx(1 - 0.5 * 0.2)
    assert found["faint"].reasons == ("looks real (0.80)", "no altered face (change_peak 1.9)")
    assert found["loud"].why == "listed as audio_altered by list.csv"
    assert found["copy"].reasons[0] == "90% of its pictures are those of a real video"


def test_calibration_keeps_the_order_and_balances_the_labels() -> None:
    chance = np.random.default_rng(0)
    labels = (np.arange(1000) % 5 > 0).astype(np.int64)
    scores = 1 / (1 + np.exp(-(2 * labels - 1) * 1.5 - chance.normal(0, 1.5, 1000) - 4))  # much too sure
    found = linear.calibrated(scores, labels)
    assert np.array_equal(np.argsort(np.clip(scores, 1e-4, 1 - 1e-4), kind="stable"), np.argsort(found, kind="stable"))
    assert np.mean([found[labels == label].mean() for label in (0, 1)]) == pytest.approx(0.5, abs=0.02)


def predicted(out: Path, wrong: set[str]) -> pl.DataFrame:
    """What ``training evaluate`` writes: two models, and a person beside the altered one; unsure of some videos."""
    samples = manifests.scan(str(out)).collect()
    rows = []
    for row in samples.iter_rows(named=True):
        chance = np.random.default_rng(int(row["phash"]) % 2**32)
        fake = (row["label"] == 1) != (row["video_id"] in wrong)
        for model, lift in (("one", 0.0), ("two", 0.1)):
            for person in (0, 1):
                high = fake and person == 0
                score = chance.uniform(0.8 if high else 0.05, 0.9 if high else 0.3) + lift
                known = {name: row.get(name) for name in COLUMNS}
                rows.append(known | {"model": model, "person": person, "logit": 0.0, "score": score})
    return pl.DataFrame(rows, infer_schema_length=None).select(COLUMNS)


def test_a_models_scores_are_ranked_written_and_shown(run: Run, tmp_path: Path) -> None:
    out, table = tmp_path / "out", tmp_path / "predictions.parquet"
    planted.build(out, 24, planted.Faults(unforged=frozenset({"folder-fake_5_2"})))
    wrong = {"folder-real_3", "folder-fake_7_1"}
    predicted(out, wrong).write_parquet(table)
    said = run("quality", "flag", out, "--scores", table).stdout
    assert "the scores of predictions.parquet: AUC" in said
    flags = manifests.scan(str(out), "flags").filter(pl.col("flag") == doubtful.FLAG).collect()
    ranked = flags.sort("value", descending=True)["video_id"].to_list()
    # the scores are sure of the one, the other has its original's pictures, whatever they say
    assert ranked[:2] == ["folder-real_3", "folder-fake_5_2"]
    assert "folder-fake_7_1" not in ranked, "its change from the original shows that it is a fake"
    assert f"  1. {max(flags['value'].to_list()):.2f} folder-real_3, labelled real: looks fake" in said
    joined = manifests.scan(str(out)).filter(pl.col("flags").list.contains(doubtful.FLAG)).collect()
    assert set(joined["video_id"]) == set(ranked)
    again = run("quality", "flag", out, "--scores", table).stdout
    assert again == said
    (note,) = [one for one in checks.measure(str(out)).findings() if "list of `quality flag`" in one.what]
    assert list(note.ids) == ranked
    album = gallery.Gallery(str(out))
    shown = sheets(album)
    assert [one.title.split(": ")[1].split(",")[0] for one in shown] == ranked
    assert all(one.pictures for one in shown)
    assert "looks fake" in next(one.title for one in shown if "folder-real_3" in one.title)


def test_a_table_without_scores_is_refused(tmp_path: Path) -> None:
    out, table = tmp_path / "out", tmp_path / "scores.csv"
    planted.build(out, 4)
    for text, match in (
        ("video_id,p\na,0.5\n", "no column score"),
        ("video_id,score\nfolder-real_0,7\n", "probability of fake"),
        ("video_id,score\nfolder-real_0,high\n", "probability of fake"),
        ("video_id,score\nelsewhere,0.5\n", "holds no video"),
    ):
        table.write_text(text)
        with pytest.raises(SemblanceError, match=match):
            predictions.read(str(out), str(table))
    table.write_text("video_id,score\nfolder-real_0,0.5\n")
    assert "too few families" in predictions.read(str(out), str(table)).words


def test_the_light_model_by_command(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planted.build(out, 24)
    said = run("quality", "flag", out).stdout
    assert "the light model: AUC" in said
    assert "doubtful_label: 0 videos" in said
    planted.build(tmp_path / "few", 4)
    assert "the light model: too few families" in run("quality", "flag", tmp_path / "few").stdout
