"""Builds of the DFDC sample and of the broken sample, against their truth tables."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from semblance import manifests
from tests.conftest import Run

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def real(shared: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("real") / "out"
    run("ingest", "build", "--dataset", "dfdc", "--root", shared / "data/dfdc", "--out", out, "--set", "sampling.n=8")
    return out


@pytest.fixture(scope="module")
def broken(shared: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("broken") / "out"
    root = shared / "data/dfdc_broken"
    run("ingest", "build", "--dataset", "dfdc", "--root", root, "--out", out, expect=3)
    return out


def truth(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "truth.csv")


def test_every_frame_has_the_true_number_of_confident_faces(shared: Path, real: Path) -> None:
    videos = manifests.scan(str(real), "videos").collect()
    truths = truth(shared / "data/dfdc")
    assert sorted(videos["path"]) == sorted(truths["path"])
    columns = ["video_id", "frame_index", "confidence"]
    rejects = manifests.scan(str(real), "rejects").filter(pl.col("unit") == "face").select(columns)
    seen = (
        pl.concat([manifests.scan(str(real)).select(columns), rejects]).filter(pl.col("confidence") >= 0.95).collect()
    )
    for path, faces in truths.select("path", "faces").iter_rows():
        row = videos.row(by_predicate=pl.col("path") == path, named=True)
        counts = seen.filter(pl.col("video_id") == row["video_id"]).group_by("frame_index").len()
        if faces == 0:
            assert counts.is_empty()
        else:
            assert counts.height == row["frames_sampled"] == 8
            assert set(counts["len"]) == {faces}


def test_dark_blurred_and_faceless_videos_are_rejected_for_that_reason(shared: Path, real: Path) -> None:
    videos = manifests.scan(str(real), "videos").collect()
    rejects = manifests.scan(str(real), "rejects").collect()
    truths = truth(shared / "data/dfdc").filter(pl.col("note").is_not_null())
    for note, reason in (("very dark", "dark"), ("strongly blurred", "blur"), ("no face", "no_face")):
        paths = truths.filter(pl.col("note").str.starts_with(note))["path"].to_list()
        assert paths
        for row in videos.filter(pl.col("path").is_in(paths)).iter_rows(named=True):
            assert row["crops_kept"] == 0
            of_video = rejects.filter(pl.col("video_id") == row["video_id"])
            confident = of_video.filter((pl.col("unit") == "frame") | (pl.col("confidence") >= 0.95))
            assert set(confident["reason"]) == {reason}
            assert row["status"] == ("no_face" if reason == "no_face" else "ok")


def test_face_labels_name_the_altered_face(shared: Path, real: Path) -> None:
    """The notes of the truth table say whether the left or the right face is fake."""
    videos = manifests.scan(str(real), "videos").collect()
    columns = ["video_id", "box_x0", "face_label", "confidence"]
    rejects = manifests.scan(str(real), "rejects").filter(pl.col("unit") == "face").select(columns)
    seen = (
        pl.concat([manifests.scan(str(real)).select(columns), rejects]).filter(pl.col("confidence") >= 0.95).collect()
    )
    truths = truth(shared / "data/dfdc")
    assert set(manifests.scan(str(real)).filter(pl.col("label") == 1).collect()["method"]) == {None}
    for path, label, note in truths.filter(pl.col("faces") > 0).select("path", "label", "note").iter_rows():
        name = videos.row(by_predicate=pl.col("path") == path, named=True)["video_id"]
        rows = seen.filter(pl.col("video_id") == name)
        if "is faked" in (note or ""):
            for row in rows.iter_rows(named=True):
                right = row["box_x0"] > 800
                assert row["face_label"] == (1 if right == ("(right)" in note) else None)
        else:
            assert set(rows["face_label"]) == {label}


def test_the_sample_build_is_complete(real: Path, run: Run) -> None:
    assert "intact" in run("shards", "verify", real, "--deep").stdout
    assert "pictures of" in run("training", "peek", "--data", real).stdout


def test_every_broken_file_has_a_row(shared: Path, broken: Path) -> None:
    expected = {
        "hazvarpowu": "ok",
        "gncwroovpi": "ok",
        "kvwzpvvifo": "decode_error",
        "wsgehoujoq": "partial",
        "pqvlbqgiuq": "empty",
        "ssoqyygtck": "decode_error",
        "raibvhslkd": "missing",
        "qyeixtaetu": "unlabelled",
        "fawyxuozrg": "empty",
        "iqfmpacgwz": "ok",
        "ohfhyapmqt": "ok",
        "hjaomprfkn": "ok",
        "yutidnlqyb": "ok",
        "majjshigql": "ok",
        "pvbzvnwrbt": "ok",
        "ziyuhvzael": "unlabelled",
        "ttdlmgnclk": "unlabelled",
    }
    videos = manifests.scan(str(broken), "videos").collect()
    assert {
        name.removeprefix("dfdc-"): status for name, status in videos.select("video_id", "status").iter_rows()
    } == expected
    assert videos.filter(pl.col("status") != "ok")["error"].null_count() == 0
    frames_of = {
        Path(path).stem: frames
        for path, frames in truth(shared / "data/dfdc_broken").select("path", "frames").iter_rows()
    }
    for row in videos.filter(pl.col("status") == "ok").iter_rows(named=True):
        assert row["frames_total"] == frames_of[row["video_id"].removeprefix("dfdc-")]
        assert row["faces_seen"] == row["frames_sampled"]
    turned = videos.row(by_predicate=pl.col("video_id") == "dfdc-yutidnlqyb", named=True)
    assert (turned["width"], turned["height"]) == (360, 640)
    assert videos.row(by_predicate=pl.col("video_id") == "dfdc-pvbzvnwrbt", named=True)["guide"] == "no_original"


def test_the_broken_build_is_complete(broken: Path, run: Run) -> None:
    assert "intact" in run("shards", "verify", broken, "--deep").stdout
    assert json.loads((broken / "dataset.json").read_text())["complete"]
    findings = manifests.scan(str(broken), "findings").collect()
    assert ("dfdc_train_part_2/metadata.json", "unreadable_metadata") in findings.select("path", "kind").rows()
    assert "finished" in run("ingest", "status", broken).stdout
