"""The commands that do not build: plan, status, doctor; queries; and help texts."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from semblance import manifests
from semblance.shards import lock
from tests.conftest import Run


def test_plan_shows_parts_and_splits(demo: Path, recipe: tuple[str, ...], run: Run) -> None:
    output = run("ingest", "plan", "--dataset", "dfdc", "--root", demo, *recipe).stdout
    assert "split: family" in output
    for part in ("train_00", "train_01"):
        assert part in output
    assert "no actor ids" in output or "people" in output
    assert "fingerprint" in output
    assert run("ingest", "plan", "--dataset", "dfdc", "--root", demo, *recipe).stdout == output


def test_plan_warns_about_missing_and_unlabelled_files(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "dfdc" / "dfdc_train_part_7"
    folder.mkdir(parents=True)
    real, fake = "aaaaaaaaaa.mp4", "bbbbbbbbbb.mp4"
    table = {real: {"label": "REAL", "split": "train"}, fake: {"label": "FAKE", "split": "train", "original": real}}
    (folder / "metadata.json").write_text(json.dumps(table))
    (folder / fake).write_bytes(b"x")
    (folder / "unlisted.mp4").write_bytes(b"x")
    output = run("ingest", "plan", "--dataset", "dfdc", "--root", tmp_path / "dfdc").stdout
    assert "missing: dfdc_train_part_7/aaaaaaaaaa.mp4" in output
    assert "unlabelled: dfdc_train_part_7/unlisted.mp4" in output


def test_an_invalid_frame_list_is_refused(demo: Path, run: Run, tmp_path: Path) -> None:
    table = tmp_path / "frames.csv"
    options = ("--set", "sampling.mode=list", "--set", f"sampling.table={table}")
    table.write_text("video,frame\na,1\n")
    error = run("ingest", "plan", "--dataset", "dfdc", "--root", demo, *options, expect=1).stderr
    assert "no column video_id and no column frame_index; it has video, frame" in error
    table.write_text("video_id,frame_index\ndfdc-nobody,1\n")
    error = run("ingest", "plan", "--dataset", "dfdc", "--root", demo, *options, expect=1).stderr
    assert "(first: dfdc-nobody); use ids such as dfdc-" in error


def test_a_frame_list_is_built(built: Path, demo: Path, run: Run, tmp_path: Path) -> None:
    plan = manifests.scan(str(built), "plan").collect()
    family = plan.filter(pl.col("label") == 1).sort("family_id")["family_id"][0]
    videos = plan.filter(pl.col("family_id") == family)["video_id"].to_list()
    table = tmp_path / "frames.csv"
    table.write_text("video_id,frame_index\n" + "".join(f"{name},{index}\n" for name in videos for index in (4, 21)))
    out, options = tmp_path / "out", ("--set", "sampling.mode=list", "--set", f"sampling.table={table}")
    run("ingest", "build", "--workers", 1, "--dataset", "dfdc", "--root", demo, "--out", out, *options)
    samples = manifests.scan(str(out)).collect()
    assert set(samples["video_id"]) == set(videos)
    assert set(samples["frame_index"]) == {4, 21}
    counted = manifests.scan(str(out), "videos").collect()
    assert counted.height == plan.height
    assert set(counted.filter(~pl.col("video_id").is_in(videos))["frames_sampled"]) == {0}
    assert "intact" in run("shards", "verify", out, "--deep").stdout


def test_a_build_in_which_every_face_is_rejected_says_so(demo: Path, run: Run, tmp_path: Path) -> None:
    """It ends with exit code 0 all the same: the gates did what the recipe says."""
    out, options = tmp_path / "out", ("--set", "sampling.n=2", "--set", "gates.blur=1e6", "--workers", 1)
    output = run("ingest", "build", "--dataset", "dfdc", "--root", demo, "--out", out, *options).stdout
    videos = manifests.scan(str(out), "videos").collect()
    faces = videos.filter(label=0)["faces_seen"].sum()
    assert f"warning: gate blur rejected {faces} of {faces} faces of real videos: `quality thresholds {out}`" in output
    ending = output.splitlines()[-2:]
    for line, (kind, label) in zip(ending, (("real", 0), ("fake", 1)), strict=True):
        assert line.startswith(
            f"No crop of a {kind} video was kept ({videos.filter(label=label).height} videos: every "
        )
    assert all(line in run("ingest", "status", out).stdout for line in ending)


def test_status_of_a_finished_build_and_of_no_build(built: Path, run: Run, tmp_path: Path) -> None:
    output = run("ingest", "status", built).stdout
    assert "finished" in output
    assert "left    0 shards, 0 videos" in output
    assert "is not a build" in run("ingest", "status", tmp_path, expect=1).stderr


def test_status_of_a_build_with_a_damaged_table_and_of_one_without_any(built: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(built, out)
    before = run("ingest", "status", out).stdout.splitlines()
    table = next(out.glob("manifests/videos/*.parquet"))
    table.write_bytes(table.read_bytes()[:-20])
    assert run("ingest", "status", out).stdout.splitlines() == [
        *before[:4],
        f"a table is damaged, so losses are not counted; `shards verify {out}` names it",
    ]
    shutil.rmtree(out / "manifests")
    shutil.rmtree(out / "receipts")
    (out / "dataset.json").unlink()
    output = run("ingest", "status", out).stdout
    assert "done    0 of" in output
    assert "No crop" not in output, "nothing is lost before anything is built"


def test_status_names_the_builder(built: Path, run: Run, tmp_path: Path) -> None:
    """From the lock: a live process on this machine, and a process on another one."""
    out = tmp_path / "out"
    shutil.copytree(built, out)
    (out / "dataset.json").unlink()
    (next(out.glob("receipts/*.json"))).unlink()
    with lock.held(str(out)):
        output = run("ingest", "status", out).stdout
        assert f"not finished; process {os.getpid()} on" in output
        assert "is building it" in output
        assert "left    1 shards" in output
        assert "run the same" not in output
    (out / lock.LOCK).write_text(json.dumps({"pid": 7, "host": "far\x1b[31m", "written": "2026-01-02"}))
    output = run("ingest", "status", out).stdout
    assert "process 7 on far\\x1b[31m was building it at 2026-01-02" in output.replace("\n", " ")
    assert "run the same" in output


def test_the_doctor_passes_on_this_machine(run: Run) -> None:
    output = run("ingest", "doctor").stdout
    for word in ("facenet-pytorch", "pyav", "decord", "opencv-python-headless", "cores", "memory", "disk", "CUDA"):
        assert word in output
    assert "FIX" not in output


@pytest.mark.parametrize("command", ["ingest", "manifests", "shards", "quality", "training"])
def test_every_command_has_help(command: str, run: Run) -> None:
    assert "Usage" in run(command, "--help").stdout


def test_a_query_reads_only_the_build(built: Path, run: Run, tmp_path: Path) -> None:
    """A query sees the six tables; the answer is a table, csv, json or parquet."""
    query = "SELECT split, count(*) AS crops FROM samples GROUP BY split ORDER BY split"
    expected = manifests.scan(str(built)).group_by("split").agg(crops=pl.len()).sort("split").collect()
    answer = run("manifests", "query", built, query, "--format", "csv").stdout
    assert pl.read_csv(answer.encode()).rows() == expected.rows()
    assert json.loads(run("manifests", "query", built, query, "--format", "json").stdout) == expected.to_dicts()
    run("manifests", "query", built, query, "--format", "parquet", "--to", tmp_path / "answer.parquet")
    assert pl.read_parquet(tmp_path / "answer.parquet").rows() == expected.rows()
    assert "test" in run("manifests", "query", built, query).stdout
    error = run("manifests", "query", built, "SELECT nothing FROM samples", expect=2).stderr
    assert "nothing" in error
    assert error.count("\n") == 1
