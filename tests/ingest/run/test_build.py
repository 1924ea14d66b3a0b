"""Laws 1 to 6 on complete builds by the real command, with a real cluster and real H.264."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from semblance import manifests
from semblance.ingest.run import dask
from semblance.manifests import schema
from tests.conftest import BIN, HANG, Run


def content(out: Path) -> dict[str, Any]:
    """The parts of a build that must be equal between two builds: bytes; videos and receipts without their times."""
    parts: dict[str, Any] = {}
    for file in sorted(path for path in out.rglob("*") if path.is_file()):
        name = file.relative_to(out).as_posix()
        if name.startswith("manifests/videos/"):
            parts[name] = pl.read_parquet(file).drop(schema.TIMES).to_dicts()
        elif name.startswith("receipts/"):
            parts[name] = {key: value for key, value in json.loads(file.read_text()).items() if key != "times"}
        else:
            parts[name] = file.read_bytes()
    return parts


def build(run: Run, demo: Path, out: Path, *more: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
    return run("ingest", "build", "--dataset", "dfdc", "--root", demo, "--out", out, *more, expect=expect)


def test_conservation_by_an_independent_reader(built: Path) -> None:
    """Law 1, counted by DuckDB: faces seen = kept + rejected, for every video."""
    rows = duckdb.sql(
        f"""
        SELECT v.video_id, v.faces_seen, v.crops_kept, v.crops_rejected,
               (SELECT count(*) FROM '{built}/manifests/samples/*.parquet' s WHERE s.video_id = v.video_id),
               (SELECT count(*) FROM '{built}/manifests/rejects/*.parquet' r
                WHERE r.video_id = v.video_id AND r.unit = 'face')
        FROM '{built}/manifests/videos/*.parquet' v
        """
    ).fetchall()
    assert sum(row[1] for row in rows) > 0
    for _, seen, kept, rejected, samples, rejects in rows:
        assert (seen, kept, rejected) == (samples + rejects, samples, rejects)
    planned = duckdb.sql(f"SELECT video_id FROM '{built}/plan.parquet'").fetchall()
    assert sorted(row[0] for row in rows) == sorted(row[0] for row in planned)


def test_isolation(built: Path) -> None:
    """Law 3: no family is in two splits, in the plan and in the samples."""
    for table in ("plan", "samples"):
        splits = manifests.scan(str(built), table).group_by("family_id").agg(pl.col("split").n_unique()).collect()
        assert splits["split"].max() == 1
    assert set(manifests.scan(str(built), "plan").collect()["split"]) == {"train", "val", "test"}


def test_bijection_by_tar_itself(built: Path) -> None:
    """Law 4: rows and members match one to one, at the offsets of the rows, by Python's and the system's tar."""
    samples = manifests.scan(str(built)).collect()
    for shard, rows in samples.group_by("shard"):
        file = built / str(shard[0])
        names = subprocess.run(["tar", "tf", file], capture_output=True, text=True, check=True).stdout.split()
        expected = {f"{name}.{kind}" for name in rows["sample_id"] for kind in ("jpg", "json")}
        assert len(names) == len(set(names))
        assert set(names) == expected
        with tarfile.open(file) as tar:
            places = {member.name: (member.offset_data, member.size) for member in tar}
            assert all((m.mtime, m.uid, m.gid, m.uname) == (0, 0, 0, "") for m in tar.getmembers())
        for row in rows.iter_rows(named=True):
            assert places[f"{row['sample_id']}.jpg"] == (row["tar_offset"], row["tar_bytes"])


def test_every_column_is_filled_or_expected_to_be_empty(built: Path) -> None:
    """A value that is not recorded at build time cannot be added later."""
    empty = {
        "samples": {"compression", "target_id", "donor_id", "recording_id", "split_identity"}
        | {"split_method", "split_temporal", "split_person_estimated", "split_note"},
        "videos": {"member", "compression", "target_id", "donor_id", "recording_id", "donor_recording_id"}
        | {"split_identity", "split_method", "split_temporal", "split_person_estimated", "persons_estimated"}
        | {"split_note", "created", "error", "masks", "mask_note"}
        | {"audio_codec", "audio_rate", "audio_bit_rate", "colour_transfer", "colour_primaries"},
    }
    for table, expected in empty.items():
        frame = manifests.scan(str(built), table).collect()  # type: ignore[arg-type]
        nulls = {name for name in frame.columns if frame[name].null_count() == frame.height}
        assert nulls == expected


@pytest.mark.parametrize("workers", [1, 3])
def test_determinism_for_any_number_of_workers(
    built: Path, demo: Path, recipe: tuple[str, ...], run: Run, tmp_path: Path, workers: int
) -> None:
    """Law 2."""
    build(run, demo, tmp_path / "out", "--workers", workers, *recipe)
    assert content(tmp_path / "out") == content(built)


def test_a_running_cluster_gives_the_same(
    built: Path, demo: Path, recipe: tuple[str, ...], run: Run, tmp_path: Path
) -> None:
    """``--scheduler``: a scheduler and two workers, each in its own process."""
    scheduler_file = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(scheduler_file)]
    started = [subprocess.Popen([BIN / "dask", "scheduler", *options], **quiet)]  # type: ignore[call-overload]
    try:
        for _ in range(600):
            if scheduler_file.exists() and scheduler_file.read_text().strip().endswith("}"):
                break
            time.sleep(0.1)
        worker = [BIN / "dask", "worker", "--scheduler-file", scheduler_file, "--nthreads", "1", "--no-dashboard"]
        started += [subprocess.Popen(worker, **quiet) for _ in range(2)]  # type: ignore[call-overload]
        address = json.loads(scheduler_file.read_text())["address"]
        for _ in range(600):
            done = subprocess.run(
                [BIN / "python", "-c", f"from distributed import Client; print(len(Client('{address}').nthreads()))"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.stdout.strip() == "2":
                break
        build(run, demo, tmp_path / "out", "--scheduler", address, *recipe)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(HANG)
    assert content(tmp_path / "out") == content(built)


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_resume(
    built: Path, demo: Path, recipe: tuple[str, ...], run: Run, tmp_path: Path, how: signal.Signals, code: int
) -> None:
    """Law 5: a build stopped after its first receipt and run again equals an undisturbed build."""
    out = tmp_path / "out"
    command: list[str | Path] = [
        BIN / "ingest",
        "build",
        "--dataset",
        "dfdc",
        "--root",
        demo,
        "--out",
        out,
        "--workers",
        "1",
        *recipe,
    ]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while first.poll() is None and not list(out.glob("receipts/*.json")):
        time.sleep(0.02)
    first.send_signal(how)
    _, error = first.communicate(timeout=HANG)
    assert first.returncode == code
    assert not (out / "dataset.json").exists()
    if how is signal.SIGINT:
        assert "run the same command again" in error
        assert "Traceback" not in error
    status = run("ingest", "status", out).stdout
    assert "not finished" in status
    assert ("was building it and died" in status) == (how is signal.SIGKILL)
    receipts = {file: file.stat().st_mtime_ns for file in out.glob("receipts/*.json")}
    assert receipts
    build(run, demo, out, "--workers", 1, *recipe)
    assert content(out) == content(built)
    assert all(file.stat().st_mtime_ns == when for file, when in receipts.items())  # sealed shards are not rebuilt


def test_a_finished_build_does_nothing(built: Path, demo: Path, recipe: tuple[str, ...], run: Run) -> None:
    before = {file: file.stat().st_mtime_ns for file in built.rglob("*")}
    assert "nothing to do" in build(run, demo, built, *recipe).stdout
    assert {file: file.stat().st_mtime_ns for file in built.rglob("*")} == before


def test_another_recipe_or_input_is_refused(
    built: Path, demo: Path, recipe: tuple[str, ...], run: Run, tmp_path: Path
) -> None:
    """The refusal names the differences, and changes nothing."""
    before = content(built)
    error = build(run, demo, built, *recipe, "--set", "gates.blur=60", expect=1).stderr
    assert "recipe.gates.blur: 50.0 -> 60.0" in error
    changed = tmp_path / "dfdc"
    shutil.copytree(demo, changed)
    video = min(changed.rglob("*.mp4"))
    os.utime(video, ns=(1, 1))
    error = build(run, changed, built, *recipe, expect=1).stderr
    assert f"input {video.relative_to(changed)}: changed" in error
    assert content(built) == before


def test_invalid_options_get_one_sentence(
    demo: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written; exit code 2 for invalid options, 1 for missing inputs."""
    monkeypatch.setattr(dask, "_ATTACH", 0.5)  # nothing answers at that port in 15 s either
    out = tmp_path / "out"
    for options, code, sentence in (
        (("--set", "gates.blurr=1"), 2, "unknown key 'gates.blurr'"),
        (("--set", "gates.blur=soft"), 2, "wrong value for 'gates.blur'"),
        (("--set", "gates"), 2, "has no value"),
        (("--recipe", "nope"), 2, "Unknown recipe 'nope'"),
        (("--root", tmp_path / "absent"), 1, "does not exist; pass the folder of the dataset"),
        (("--dataset", "nope"), 2, "--dataset accepts celebdf, dfdc, "),
        (("--scheduler", "tcp://127.0.0.1:9"), 1, "No Dask scheduler answers"),
    ):
        error = build(run, demo, out, *options, expect=code).stderr
        assert sentence in error
        assert error.count("\n") == 1
    assert not out.exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert "has files that are not from a build" in build(run, demo, tmp_path / "full", expect=1).stderr
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    (tmp_path / "file").write_text("")
    assert "cannot be written" in build(run, demo, tmp_path / "file" / "out", expect=1).stderr


def test_without_any_readable_metadata_the_build_refuses(demo: Path, run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "dfdc"
    shutil.copytree(demo, broken)
    for file in broken.rglob("metadata.json"):
        file.write_text("{")
    assert "no video has a label" in build(run, broken, tmp_path / "out", expect=1).stderr
    assert not (tmp_path / "out").exists()
