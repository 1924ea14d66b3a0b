"""`training predict` for many files: what is given, one row a video and person, and faults that cost one row only."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from semblance.ingest import recipe as recipes
from semblance.ingest.detector.door import Detector
from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.quality import video
from semblance.training.cli import app
from semblance.training.inference import inputs, many, predictor, scores_table
from semblance.training.inference import video as inference
from semblance.training.inference.inputs import Input, gather
from semblance.training.inference.video import Failure
from tests.training import untrained


@pytest.fixture(scope="module")
def one(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> predictor.Predictor:
    return predictor.load(untrained.make(tmp_path_factory.mktemp("runs") / "alone", [ffpp], gain=9))


@pytest.fixture(scope="module")
def mixed(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a video, a picture of its first frame, and all kinds of faults."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "none").mkdir()
    files = sorted(demo.rglob("*.mp4"), key=lambda file: file.stat().st_size)
    (folder / "deep" / "faces.mp4").write_bytes(files[-1].read_bytes())
    (folder / "room.mp4").write_bytes(files[0].read_bytes())
    first = next(iter(video.frames(str(files[-1]), [0], decoder="pyav"))).image
    cv2.imwrite(str(folder / "deep" / "er" / "still.png"), first[..., ::-1])
    (folder / "text.mp4").write_text("no video")
    (folder / "zero.mp4").write_bytes(b"")
    (folder / "torn.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (folder / "notes.txt").write_text("not asked for")
    (folder / ".hidden.mp4").write_bytes(b"")
    return folder


def names(given: inputs.Inputs, folder: Path) -> list[str]:
    return [one.path.removeprefix(f"{folder}/") for one in given.files]


def test_folders_patterns_and_tables_name_files(mixed: Path, tmp_path: Path) -> None:
    below = names(gather([str(mixed)]), mixed)
    assert below == ["deep/er/still.png", "deep/faces.mp4", "room.mp4", "text.mp4", "torn.jpg", "zero.mp4"]
    assert names(gather([f"{mixed}/*.mp4"]), mixed) == ["room.mp4", "text.mp4", "zero.mp4"]
    assert names(gather([f"{mixed}/**/[fr]*.mp4"]), mixed) == ["deep/faces.mp4", "room.mp4"]
    table = pl.DataFrame({"path": ["deep/faces.mp4", "absent.mp4", f"{mixed}/room.mp4"], "note": ["a", "b", "c"]})
    for name, write in (
        ("list.csv", pl.DataFrame.write_csv),
        ("list.parquet", pl.DataFrame.write_parquet),
        ("list.jsonl", pl.DataFrame.write_ndjson),
    ):
        scores = io.BytesIO()
        write(table, scores)
        file = mixed / "none" / name
        file.write_bytes(scores.getvalue())
        file.rename(mixed / name)
        found = gather([str(mixed / name)])
        assert names(found, mixed) == ["deep/faces.mp4", "absent.mp4", "room.mp4"]
        assert [one.status for one in found.files] == ["ok", "missing", "ok"]
        (mixed / name).unlink()
    twice = gather([f"{mixed}/room.mp4", f"{mixed}/deep/../room.mp4", f"{mixed}/*.mp4"])
    assert (names(twice, mixed), twice.repeated) == (["room.mp4", "text.mp4", "zero.mp4"], 2)
    (tmp_path / "bad.csv").write_text("file\na.mp4\n")
    for given, reason in (
        (str(mixed / "none"), "holds no video or picture"),
        (f"{mixed}/x*.mp4", "matches no file"),
        (str(tmp_path / "absent.mp4"), "does not exist"),
        (str(tmp_path / "bad.csv"), "has no column path; it has file"),
    ):
        (fault,) = gather([given]).files
        assert (fault.path, fault.status) == (given, "missing")
        assert reason in str(fault.reason)


def test_patterns_in_object_stores_are_read_as_on_disk() -> None:
    for pattern, name, matches in (
        ("*.mp4", "a.mp4", True),
        ("*.mp4", "b/a.mp4", False),
        ("**/*.mp4", "a.mp4", True),
        ("**/*.mp4", "b/c/a.mp4", True),
        ("b/?.mp4", "b/a.mp4", True),
        ("[ab].mp4", "c.mp4", False),
        ("a+(1).mp4", "a+(1).mp4", True),
    ):
        assert (re.fullmatch(inputs._regex(pattern), name) is not None) == matches, (pattern, name)


def test_an_object_store_is_a_place_like_any_other(
    s3: dict[str, str], demo: Path, one: predictor.Predictor, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    source = max(demo.rglob("*.mp4"), key=lambda file: file.stat().st_size)
    top = "s3://bucket/predict"
    storage.write_bytes(f"{top}/a/clip.mp4", source.read_bytes())
    storage.write_bytes(f"{top}/notes.txt", b"none")
    assert [file.path for file in gather([top]).files] == [f"{top}/a/clip.mp4"]
    assert gather([f"{top}/*/c*.mp4"]) == gather([f"{top}/a/clip.mp4"])
    recipe = recipes.load("plan", ("sampling.n=2",))
    far = inference.predict(f"{top}/a/clip.mp4", one, recipe, passes=0, detector=lambda: detector)
    near = inference.predict(str(source), one, recipe, passes=0, detector=lambda: detector)
    assert far.video == near.video


def test_a_picture_is_scored_as_it_is_and_a_video_by_its_name_with_a_link(
    mixed: Path, one: predictor.Predictor, detector: Detector, tmp_path: Path
) -> None:
    recipe = recipes.load("plan", ("sampling.n=3",))
    still = str(mixed / "deep/er/still.png")
    with many.as_video(Input(path=still, kind="picture")) as place:
        found = inference.predict(still, one, recipe, passes=0, detector=lambda: detector, place=place)
    first = inference.predict(
        str(mixed / "deep/faces.mp4"),
        one,
        recipes.load("plan", ("sampling.mode=first", "sampling.n=1")),
        passes=0,
        detector=lambda: detector,
    )
    assert found.path == still
    assert found.pictures.height == first.pictures.height > 0
    assert found.pictures["time_s"].null_count() == found.pictures.height
    assert found.video.logit == pytest.approx(first.video.logit, abs=0.05)
    (tmp_path / "link.mp4").symlink_to(mixed / "deep" / "faces.mp4")
    linked = inference.predict(str(tmp_path / "link.mp4"), one, recipe, passes=0, detector=lambda: detector)
    assert linked.row["path"] == "link.mp4"


def test_the_command_scores_what_it_can(mixed: Path, one: predictor.Predictor, tmp_path: Path) -> None:
    words = ["predict", str(mixed), "--run", str(one.path), "--passes", "2", "--set", "sampling.n=2"]
    done = CliRunner().invoke(app, [*words, "--to", str(tmp_path / "scores.parquet")])
    assert done.exit_code == 0, done.output
    assert "2 of 6 inputs are scored (2 decode_error, 1 empty, 1 no_face)" in done.output
    rows = pl.read_parquet(tmp_path / "scores.parquet")
    assert rows.schema == dict(scores_table.SCHEMA)
    videos, persons = rows.filter(level="video"), rows.filter(level="person")
    assert videos["path"].to_list() == [file.path for file in gather([str(mixed)]).files]
    scored = videos.filter(pl.col("logit").is_not_null())
    assert scored["status"].to_list() == ["ok", "ok"]
    by_person = persons.group_by("path").agg(pl.col("logit").max(), pl.col("pictures").sum(), pl.len())
    joined = scored.join(by_person, on="path", suffix="_persons")
    assert joined["logit"].to_list() == pytest.approx(joined["logit_persons"].to_list())
    assert joined["pictures"].to_list() == joined["pictures_persons"].to_list()
    assert joined["persons"].to_list() == joined["len"].to_list()
    failed = videos.filter(pl.col("logit").is_null())
    assert failed["reason"].null_count() == 0
    assert all(reason.count("\n") == 0 for reason in failed["reason"])


def test_an_interruption_keeps_what_is_scored(
    mixed: Path, one: predictor.Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> Iterator[Failure]:
        yield Failure(path="first.mp4", status="missing", reason="first.mp4 does not exist.")
        raise KeyboardInterrupt

    monkeypatch.setattr(many, "predict", interrupted)
    words = ["predict", str(mixed), "--run", str(one.path), "--to", str(tmp_path / "scores.jsonl")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    assert pl.read_ndjson(tmp_path / "scores.jsonl")["path"].to_list() == ["first.mp4"]


def test_without_a_score_it_fails(mixed: Path, one: predictor.Predictor, tmp_path: Path) -> None:
    run = ["--run", str(one.path)]
    both = [str(mixed / "absent.mp4"), str(mixed / "none")]
    done = CliRunner().invoke(app, ["predict", *both, *run, "--to", str(tmp_path / "scores.csv")])
    assert done.exit_code == 1
    assert "0 of 2 inputs are scored (2 missing)" in done.output
    assert pl.read_csv(tmp_path / "scores.csv")["status"].to_list() == ["missing", "missing"]
    for words, code, sentence in (
        ([str(mixed / "zero.mp4")], 1, "cannot be scored: the file has zero bytes"),
        ([str(mixed / "zero.mp4"), "--to", "faces.png"], 2, "write the faces with --faces faces.png"),
        ([str(mixed / "zero.mp4"), "--to", "scores.xlsx"], 2, "must end in .jsonl, .ndjson, .csv, .parquet"),
        ([str(mixed), "--faces", "faces.png"], 2, "6 inputs are given"),
    ):
        done = CliRunner().invoke(app, ["predict", *words, *run])
        assert done.exit_code == code
        assert sentence in done.output
        assert done.output.count("\n") == 1


def test_tables_agree_in_every_format(tmp_path: Path) -> None:
    row = scores_table.rows(Failure(path="a,b.mp4", status="no_face", reason='no "face"'), "run", False)
    for suffix in (".csv", ".jsonl", ".parquet"):
        scores_table.write(str(tmp_path / f"t{suffix}"), row)
    read = [
        pl.read_csv(tmp_path / "t.csv", schema=dict(scores_table.SCHEMA)),
        pl.DataFrame([json.loads((tmp_path / "t.jsonl").read_text())], schema=dict(scores_table.SCHEMA)),
        pl.read_parquet(tmp_path / "t.parquet"),
    ]
    assert read[0].equals(read[1])
    assert read[1].equals(read[2])
    with pytest.raises(UsageError, match="--faces"):
        scores_table.check("faces.png")


def test_a_logit_that_is_no_number_is_no_verdict(ffpp: Path, tmp_path: Path) -> None:
    """It was called real."""
    broken = predictor.load(untrained.make(tmp_path / "broken", [ffpp], gain=float("nan")))
    with pytest.raises(SemblanceError, match="is not finite"):
        broken.logits([np.zeros((32, 32, 3), np.uint8)])
