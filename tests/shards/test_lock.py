"""One build at a time: by the kernel's lock on disk, by a renewed file elsewhere; dead owners are recognised."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError
from semblance.shards import lock
from tests.conftest import REPOSITORY

HOLD = """
import sys, time
from semblance.shards import lock
with lock.held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(99)
"""


def test_a_second_owner_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused = pytest.raises(SemblanceError, match=f"is being written by process {os.getpid()} on")
    with lock.held(str(out)), refused, lock.held(str(out)):
        pass
    assert not out.exists()  # nothing was written to it
    with lock.held(str(out)):
        pass


def test_a_killed_owner_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY, env=os.environ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(SemblanceError, match=f"process {owner.pid}"), lock.held(str(tmp_path)):
            pass
        owner.kill()
    assert (tmp_path / lock.LOCK).exists()
    with lock.held(str(tmp_path)):
        pass
    assert not (tmp_path / lock.LOCK).exists()


def test_many_at_once_are_one_after_another(tmp_path: Path) -> None:
    """At most one process holds it, and a released lock never refuses anyone."""
    inside, refused = [], []

    def hold() -> None:
        for _ in range(30):
            try:
                with lock.held(str(tmp_path)):
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
    storage.remove(f"{OUT}/{lock.LOCK}")


def _foreign(pid: int, space: str | None, started: int = 1) -> None:
    note = {"pid": pid, "host": "another", "space": space, "started": started, "token": "x"}
    storage.write_bytes(f"{OUT}/{lock.LOCK}", json.dumps(note).encode())


def test_without_locks_a_renewed_file_is_one() -> None:
    with lock.held(OUT, beat=BEAT) as ours:
        with pytest.raises(SemblanceError, match="is being written by"), lock.held(OUT, beat=BEAT):
            pass
        ours.check()
    assert not storage.exists(f"{OUT}/{lock.LOCK}")


@pytest.mark.parametrize(
    ("here", "pid"),
    [
        pytest.param(False, os.getpid(), id="elsewhere"),
        pytest.param(True, 2**22 + 1, id="gone"),
        pytest.param(True, os.getpid(), id="its number is another process's now"),
    ],
)
def test_a_dead_builds_file_is_taken_over(here: bool, pid: int) -> None:
    """On this machine by its process, on others by missing renewals."""
    _foreign(pid, lock._space() if here else "elsewhere")
    owner = lock.owner(OUT)
    assert owner is not None
    assert owner.lives is (False if here else None)
    started = time.monotonic()
    with lock.held(OUT, beat=BEAT) as ours:
        ours.check()
    waited = time.monotonic() - started
    assert (waited >= 3 * BEAT) != here
    assert lock.owner(OUT) is None


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The renewed file also works on disk, without waiting for the file that the kernel cannot lock."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    started = time.monotonic()
    with lock.held(str(tmp_path), beat=BEAT):
        assert time.monotonic() - started < 3 * BEAT
        owner = lock.owner(str(tmp_path))
        assert owner is not None
        assert owner.lives
        with pytest.raises(SemblanceError, match="is being written by"), lock.held(str(tmp_path), beat=BEAT):
            pass
    assert not list(tmp_path.iterdir())


def test_a_living_owner_here_is_never_taken_for_dead() -> None:
    """Its renewals may be waiting for storage: its process is seen."""
    _foreign(os.getppid(), lock._space(), lock._started(os.getppid()) or 0)
    with pytest.raises(SemblanceError, match="is being written by"), lock.held(OUT, beat=0.01):
        pass


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / lock.LOCK).symlink_to(tmp_path / "nowhere" / "else")
    with pytest.raises(SemblanceError, match="cannot be written"), lock.held(str(tmp_path)):
        pass


@pytest.mark.parametrize("kind", ["file", "below a file", "dangling link"])
def test_a_file_in_the_folders_place_is_said(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "taken"
    if kind == "dangling link":
        place.symlink_to(tmp_path / "nowhere")
    else:
        place.write_text("mine")
    out = place / "out" if kind == "below a file" else place
    with pytest.raises(SemblanceError, match="cannot be written"), lock.held(str(out)):
        pass
    assert kind == "dangling link" or place.read_text() == "mine"


def test_where_no_folder_can_be_made_it_is_said() -> None:
    with pytest.raises(SemblanceError, match="cannot be written"), lock.held("/proc/semblance"):
        pass


def test_a_renewal_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever storage throws, the renewing goes on, so that a living build is never taken for dead."""
    true, calls = storage.write_bytes, []

    def fail(url: str, data: bytes) -> None:
        calls.append(url)
        if len(calls) < 3:
            raise RuntimeError("from an unknown client")
        true(url, data)

    with lock.held(OUT, beat=0.05) as ours:
        monkeypatch.setattr(storage, "write_bytes", fail)
        until = time.monotonic() + 10
        while json.loads(storage.read_bytes(f"{OUT}/{lock.LOCK}"))["renewed"] < 3 and time.monotonic() < until:
            time.sleep(0.02)
        assert json.loads(storage.read_bytes(f"{OUT}/{lock.LOCK}"))["renewed"] >= 3
        ours.check()


def test_an_owner_whose_lease_was_taken_says_so() -> None:
    with lock.held(OUT, beat=0.05) as ours:
        _foreign(1, "elsewhere")
        for _ in range(200):
            if ours.lost:
                break
            time.sleep(0.02)
        with pytest.raises(SemblanceError, match="by process 1 on another"):
            ours.check()
    assert storage.exists(f"{OUT}/{lock.LOCK}")  # which is the other's
