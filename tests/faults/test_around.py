"""Faults around a build: killed processes, disks, two builds at once, failures without end; short forms."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import psutil
import pytest

from semblance.ingest.run import tasks
from semblance.manifests.errors import StorageError
from tests.faults import disk, kills, rig, videos
from tests.ingest.run.test_child_process import job


def test_a_worker_is_killed_at_a_random_moment(demo: Path, good: Path, tmp_path: Path) -> None:
    """Its loss does not even need a second run; that of the client is tests/ingest/test_build.py's."""
    rig.sound(kills.rounds("worker", [1], demo, good, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "child", "nanny", "scheduler", "client"])
def test_others_are_killed_at_random_moments(victim: kills.Victim, demo: Path, good: Path, tmp_path: Path) -> None:
    rig.sound(kills.rounds(victim, [2, 3], demo, good, tmp_path))


def test_a_full_disk(demo: Path, good: Path, tmp_path: Path) -> None:
    if disk.may_mount():
        rig.sound(disk.full(["200k"], demo, good, tmp_path))
    else:  # no file system of a test's own: the kernel's limit of a file's size instead
        rig.sound(disk.file_too_large(demo, good, tmp_path))


def test_damage_is_found_and_mended(demo: Path, good: Path, tmp_path: Path) -> None:
    """Torn receipts, flipped bits and cut tars are found each time, and one build makes all three good."""
    for name, alter in (("torn", disk.tear_receipt), ("bit", disk.flip_bit), ("cut", disk.cut_between_members)):
        disk.altered(name, alter, list(range(3)), good, tmp_path)

    def alter_all(moment: random.Random, out: Path) -> None:
        disk.flip_bit(moment, out)
        disk.cut_between_members(moment, out)
        disk.tear_receipt(moment, out)

    more = ("--retry", "damaged")
    rig.sound(disk.mended("all", alter_all, [5], demo, good, tmp_path, builds=1, more=more))


def test_two_builds_at_once(demo: Path, good: Path, tmp_path: Path) -> None:
    rig.sound(disk.two_at_once(1, demo, good, tmp_path))


def test_failures_in_a_row_end_the_build(demo: Path, tmp_path: Path) -> None:
    """A decoder that always dies: one sentence, a log with the ids and no secret; only loopback is listened at."""
    log, out = tmp_path / "log.jsonl", tmp_path / "out"
    env = videos.orders(any=("segv", videos.BOTH)) | {"AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-and-so-on"}
    words = rig.command(demo, out, "--workers", 2, "--max-failures-in-a-row", 2, "--log", log)
    listening: set[str] = set()
    with rig.started(words, env) as process:
        while process.poll() is None:
            listening |= _listening(process.pid)
            rig.wait_until(lambda: process.poll() is not None, 0.3)
        ended = rig.finish(process)
    assert ended.code == 1, ended.said
    assert "2 videos failed in a row" in ended.said
    assert ended.clear
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events][:2] == ["build", "started"]
    assert events[-1]["event"] == "stopped"
    failed = [event for event in events if event["event"] == "video" and event["status"] == "crashed"]
    assert len(failed) == 2
    assert all(event["video"].startswith("dfdc-") and event["shard"].endswith(".tar") for event in failed)
    assert all("SIGSEGV" in event["error"] and event["level"] == "warning" for event in failed)
    assert "wJalrXUtnFEMI" not in log.read_text()
    assert listening
    assert all(re.match(r"127\.|::1", address) for address in listening), listening


def _listening(pid: int) -> set[str]:
    """Addresses at which a process and all below it listen."""
    found = set()
    for one in [psutil.Process(pid), *rig.offspring(pid)] if psutil.pid_exists(pid) else []:
        try:
            found |= {each.laddr.ip for each in one.net_connections() if each.status == psutil.CONN_LISTEN}
        except psutil.Error:
            continue
    return found


def test_a_video_that_vanishes_is_missing_and_a_root_that_vanishes_is_no_missing_video(
    demo: Path, tmp_path: Path
) -> None:
    root = tmp_path / "dfdc"
    shutil.copytree(demo, root)
    planned = job(root)
    (root / planned.video.path).unlink()
    row = tasks.run_video(planned, None).outcome.video
    assert (row["status"], row["crops_kept"]) == ("missing", 0)
    shutil.rmtree(root)
    with pytest.raises(StorageError, match="no longer exists"):
        tasks.run_video(planned, None)


def test_a_defect_is_one_sentence_and_its_traceback_is_in_the_log(demo: Path, tmp_path: Path) -> None:
    """A programming error: injected through the test-only decoder."""
    log = tmp_path / "log.jsonl"
    env = videos.orders(any=("defect", videos.BOTH))
    ended = rig.build(demo, tmp_path / "out", "--workers", 1, "--log", log, env=env)
    assert ended.code == 1
    assert ended.clear, ended.said
    assert f"its traceback is in {log}" in ended.said
    last = json.loads(log.read_text().splitlines()[-1])
    assert (last["event"], last["level"]) == ("defect", "critical")
    assert "ZeroDivisionError" in last["traceback"]
