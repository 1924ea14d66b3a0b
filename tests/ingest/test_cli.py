"""The commands that look and do not build: plan, status, doctor; and what no command may do."""

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


def test_plan_says_what_is_there(demo: Path, recipe: tuple[str, ...], run: Run) -> None:
    said = run("ingest", "plan", "--dataset", "dfdc", "--root", demo, *recipe).stdout
    assert "split: family" in said
    for part in ("train_00", "train_01"):
        assert part in said
    assert "no actor ids" in said or "people" in said
    assert "fingerprint" in said
    assert run("ingest", "plan", "--dataset", "dfdc", "--root", demo, *recipe).stdout == said


def test_plan_names_what_does_not_fit(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "dfdc" / "dfdc_train_part_7"
    folder.mkdir(parents=True)
    real, fake = "aaaaaaaaaa.mp4", "bbbbbbbbbb.mp4"
    table = {real: {"label": "REAL", "split": "train"}, fake: {"label": "FAKE", "split": "train", "original": real}}
    (folder / "metadata.json").write_text(json.dumps(table))
    (folder / fake).write_bytes(b"x")
    (folder / "stranger.mp4").write_bytes(b"x")
    said = run("ingest", "plan", "--dataset", "dfdc", "--root", tmp_path / "dfdc").stdout
    assert "missing: dfdc_train_part_7/aaaaaaaaaa.mp4" in said
    assert "unlabelled: dfdc_train_part_7/stranger.mp4" in said


def test_a_frame_list_that_does_not_fit_is_refused(demo: Path, run: Run, tmp_path: Path) -> None:
    table = tmp_path / "frames.csv"
    words = ("--set", "sampling.mode=list", "--set", f"sampling.table={table}")
    table.write_text("video,frame\na,1\n")
    said = run("ingest", "plan", "--dataset", "dfdc", "--root", demo, *words, expect=1).stderr
    assert "columns video_id and frame_index" in said
    table.write_text("video_id,frame_index\ndfdc-nobody,1\n")
    said = run("ingest", "plan", "--dataset", "dfdc", "--root", demo, *words, expect=1).stderr
    assert "(first: dfdc-nobody); use ids such as dfdc-" in said


def test_a_frame_list_is_built(built: Path, demo: Path, run: Run, tmp_path: Path) -> None:
    plan = manifests.scan(str(built), "plan").collect()
    family = plan.filter(pl.col("label") == 1).sort("family_id")["family_id"][0]
    videos = plan.filter(pl.col("family_id") == family)["video_id"].to_list()
    table = tmp_path / "frames.csv"
    table.write_text("video_id,frame_index\n" + "".join(f"{name},{index}\n" for name in videos for index in (4, 21)))
    out, words = tmp_path / "out", ("--set", "sampling.mode=list", "--set", f"sampling.table={table}")
    run("ingest", "build", "--dataset", "dfdc", "--root", demo, "--out", out, *words)
    samples = manifests.scan(str(out)).collect()
    assert set(samples["video_id"]) == set(videos)
    assert set(samples["frame_index"]) == {4, 21}
    counted = manifests.scan(str(out), "videos").collect()
    assert counted.height == plan.height
    assert set(counted.filter(~pl.col("video_id").is_in(videos))["frames_sampled"]) == {0}
    assert "whole" in run("shards", "verify", out, "--deep").stdout


def test_status_of_a_finished_build_and_of_nothing(built: Path, run: Run, tmp_path: Path) -> None:
    said = run("ingest", "status", built).stdout
    assert "finished" in said
    assert "left    0 shards, 0 videos" in said
    assert "holds no build" in run("ingest", "status", tmp_path, expect=1).stderr


def test_status_says_who_builds(built: Path, run: Run, tmp_path: Path) -> None:
    """From the lock: a living process, and one elsewhere that nobody can see from here."""
    out = tmp_path / "out"
    shutil.copytree(built, out)
    (out / "dataset.json").unlink()
    (next(out.glob("receipts/*.json"))).unlink()
    with lock.held(str(out)):
        said = run("ingest", "status", out).stdout
        assert f"not finished; process {os.getpid()} on" in said
        assert "is building it" in said
        assert "left    1 shards" in said
        assert "run the same" not in said
    (out / lock.LOCK).write_text(json.dumps({"pid": 7, "host": "far\x1b[31m", "written": "2026-01-02"}))
    said = run("ingest", "status", out).stdout
    assert "process 7 on far\\x1b[31m was building it at 2026-01-02" in said.replace("\n", " ")
    assert "run the same" in said


def test_the_doctor_knows_this_machine(run: Run) -> None:
    said = run("ingest", "doctor").stdout
    for word in ("facenet-pytorch", "pyav", "decord", "opencv-python-headless", "cores", "memory", "disk", "CUDA"):
        assert word in said
    assert "FIX" not in said


@pytest.mark.parametrize("command", ["ingest", "manifests", "shards", "quality", "training"])
def test_every_command_explains_itself(command: str, run: Run) -> None:
    assert "Usage" in run(command, "--help").stdout


def test_sql_reads_nothing_but_the_build(built: Path, run: Run, tmp_path: Path) -> None:
    """A query sees the six tables, and its answer comes as table, csv, json or parquet."""
    query = "SELECT split, count(*) AS crops FROM samples GROUP BY split ORDER BY split"
    expected = manifests.scan(str(built)).group_by("split").agg(crops=pl.len()).sort("split").collect()
    answer = run("manifests", "query", built, query, "--format", "csv").stdout
    assert pl.read_csv(answer.encode()).rows() == expected.rows()
    assert json.loads(run("manifests", "query", built, query, "--format", "json").stdout) == expected.to_dicts()
    run("manifests", "query", built, query, "--format", "parquet", "--to", tmp_path / "answer.parquet")
    assert pl.read_parquet(tmp_path / "answer.parquet").rows() == expected.rows()
    assert "test" in run("manifests", "query", built, query).stdout
    said = run("manifests", "query", built, "SELECT nothing FROM samples", expect=2).stderr
    assert "nothing" in said
    assert said.count("\n") == 1
