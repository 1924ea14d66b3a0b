"""One build at a time: by the kernel's lock on disk, by a renewed file elsewhere; dead owners are recognised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from manifests import storage
from manifests.records import SemblanceError
from shards import lease
from tests.conftest import REPOSITORY

HOLD = """
import sys, time
from shards import lease
with lease.held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(99)
"""


def test_a_second_owner_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused = pytest.raises(SemblanceError, match=f"is being written by process {os.getpid()} on")
    with lease.held(str(out)), refused, lease.held(str(out)):
        pass
    assert not out.exists()  # nothing was written to it
    with lease.held(str(out)):
        pass


def test_a_killed_owner_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY, env=os.environ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(SemblanceError, match=f"process {owner.pid}"), lease.held(str(tmp_path)):
            pass
        owner.kill()
    assert (tmp_path / lease.LOCK).exists()
    with lease.held(str(tmp_path)):
        pass
    assert not (tmp_path / lease.LOCK).exists()


def test_many_at_once_are_one_after_another(tmp_path: Path) -> None:
    """No two ever hold it, and nobody is refused by a lock that is no more."""
    inside, refused = [], []

    def hold() -> None:
        for _ in range(30):
            try:
                with lease.held(str(tmp_path)):
                    inside.append(1)
                    assert len(inside) == 1
                    inside.pop()
            except SemblanceError:
                refused.append(1)

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not inside
    assert len(refused) < 120


OUT = "memory://leased"
BEAT = 0.2


@pytest.fixture(autouse=True)
def clean() -> None:
    storage.remove(f"{OUT}/{lease.LOCK}")


def _foreign(pid: int, host: str) -> None:
    storage.write_bytes(f"{OUT}/{lease.LOCK}", json.dumps({"pid": pid, "host": host, "token": "x", "unix": 0}).encode())


def test_without_locks_a_renewed_file_is_one() -> None:
    with lease.held(OUT, beat=BEAT) as ours:
        with pytest.raises(SemblanceError, match="is being written by"), lease.held(OUT, beat=BEAT):
            pass
        ours.check()
    assert not storage.exists(f"{OUT}/{lease.LOCK}")


@pytest.mark.parametrize("host", ["another", None])
def test_a_dead_builds_file_is_taken_over(host: str | None) -> None:
    """On this machine by its process, on others since nobody renews it."""
    _foreign(2**22 + 1, host or lease._host())
    started = time.monotonic()
    with lease.held(OUT, beat=BEAT) as ours:
        ours.check()
    waited = time.monotonic() - started
    assert waited >= 3 * BEAT or host is None


def test_an_owner_whose_lease_was_taken_says_so() -> None:
    with lease.held(OUT, beat=0.05) as ours:
        _foreign(1, "another")
        for _ in range(200):
            if ours.lost:
                break
            time.sleep(0.02)
        with pytest.raises(SemblanceError, match="by process 1 on another"):
            ours.check()
    assert storage.exists(f"{OUT}/{lease.LOCK}")  # which is the other's
