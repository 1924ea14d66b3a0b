"""A lock for one build at a time in a build folder, which recognises the lock of a dead build.

On disk it is a kernel lock (``flock``), which ends with its process. Object stores and some file systems have none:
there the lock is a file that its owner renews. If it is not renewed for three periods, its owner is dead.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError, StorageError

LOCK: Final = "build.lock"
BEAT: Final = 15.0  # seconds between two renewals
_ATTEMPTS: Final = 1000  # to create the file while other owners end
_UNSUPPORTED: Final = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Lease:
    """The right to write into a build folder while it is held; ``lost`` is the reason if it was lost."""

    def __init__(self) -> None:
        self.lost: str | None = None

    def check(self) -> None:
        """Raise SemblanceError if another build has taken over the folder."""
        if self.lost is not None:
            raise SemblanceError(self.lost)


@contextlib.contextmanager
def held(out: str, *, beat: float = BEAT) -> Iterator[Lease]:
    """Hold ``out`` for the block.

    Raises SemblanceError if another build holds it, StorageError if the folder cannot be written.
    """
    url = storage.join(out, LOCK)
    lock = _flock(url) if not storage.is_remote(url) else None
    if lock is None:
        with _renewed(url, beat) as lease:
            yield lease
        return
    try:
        yield Lease()
    finally:
        path = url.removeprefix("file://")
        with contextlib.suppress(OSError):
            os.unlink(path)
            os.rmdir(os.path.dirname(path))  # if nothing was written to it
        os.close(lock)


def _flock(url: str) -> int | None:
    """The descriptor of the locked file; None if this file system has no locks."""
    path = url.removeprefix("file://")
    folder = os.path.dirname(path) or "."
    attempts = 0
    while True:
        if os.path.lexists(folder) and not os.path.isdir(folder):
            raise storage.unwritable(url, NotADirectoryError(errno.ENOTDIR, "it is a file, not a folder"))
        try:
            os.makedirs(folder, exist_ok=True)
            descriptor, ours = _opened(path)
        except (FileNotFoundError, FileExistsError) as error:
            attempts += 1
            if attempts < _ATTEMPTS:
                continue  # its owner ended in between and removed the file or the empty folder
            raise storage.unwritable(url, error) from error  # nothing can be created here, as in /proc
        except OSError as error:
            raise storage.unwritable(url, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(descriptor, path):
                os.truncate(descriptor, 0)
                os.write(descriptor, _note("", 0))
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise SemblanceError(_refusal(url, _read(url))) from error
        except OSError as error:
            os.close(descriptor)
            if error.errno in _UNSUPPORTED:
                if ours:
                    os.unlink(path)
                return None
            raise storage.unwritable(url, error) from error
        os.close(descriptor)  # its owner ended in between and removed the file


def _opened(path: str) -> tuple[int, bool]:
    """The descriptor of the file, and whether this call created it; links are not followed."""
    with contextlib.suppress(FileExistsError):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), True
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW), False


def _same(descriptor: int, path: str) -> bool:
    try:
        return os.fstat(descriptor).st_ino == os.stat(path).st_ino
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _renewed(url: str, beat: float) -> Iterator[Lease]:
    token = secrets.token_hex(8)
    if not storage.create(url, _note(token, 0)):
        _take_over(url, token, beat)
    lease, ended = Lease(), threading.Event()
    renewal = threading.Thread(target=_renew, args=(url, token, beat, lease, ended), daemon=True, name="build.lock")
    renewal.start()
    try:
        yield lease
    finally:
        ended.set()
        renewal.join(beat)
        if not renewal.is_alive() and lease.lost is None:  # a renewal that still waits for storage would write it again
            with contextlib.suppress(StorageError):
                if _read(url).get("token") == token:
                    storage.remove(url)


def _take_over(url: str, token: str, beat: float) -> None:
    """Take the lock of a dead build; raises SemblanceError if that build is alive or another one was faster."""
    first = _read(url)
    if _here(first) and not _dead(first) and first["pid"] != os.getpid():
        raise SemblanceError(_refusal(url, first))  # it is alive, and may be waiting for storage
    until = time.monotonic() + 3 * beat
    while not _dead(first) and time.monotonic() < until:
        time.sleep(beat / 4)
        if _read(url) != first:
            raise SemblanceError(_refusal(url, first))
    storage.remove(url)
    taken = storage.create(url, _note(token, 0))
    time.sleep(beat / 8)  # another build may have found the owner dead too and removed this lock
    if not taken or _read(url).get("token") != token:
        raise SemblanceError(_refusal(url, _read(url)))


def _renew(url: str, token: str, beat: float, lease: Lease, ended: threading.Event) -> None:
    count = 0
    while not ended.wait(beat):
        count += 1
        try:
            known = _read(url)
            if known and known.get("token") != token:
                lease.lost = _refusal(url, known)
                return
            storage.write_bytes(url, _note(token, count))
        except Exception:  # writing shards reports the error; without renewals the lease would be lost
            continue


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The owner of a lock; ``lives`` is None if its processes are not visible from here."""

    who: str
    lives: bool | None
    written: str  # UTC; on disk the start, otherwise the last renewal


def owner(out: str) -> Owner | None:
    """The build that writes to ``out``, or did so when it died; None if there is no lock."""
    known = _read(storage.join(out, LOCK))
    if not known:
        return None
    lives = not _dead(known) if _here(known) else None
    return Owner(who=_who(known), lives=lives, written=str(known.get("written")))


def _dead(known: dict[str, Any]) -> bool:
    """Whether the owner ran here and has ended; independent of clocks, since clocks are set and machines sleep."""
    return _here(known) and (known.get("started") is None or _started(known["pid"]) != known["started"])


def _here(known: dict[str, Any]) -> bool:
    space = _space()
    return space is not None and known.get("space") == space and isinstance(known.get("pid"), int)


def _note(token: str, count: int) -> bytes:
    pid = os.getpid()
    fields = {"pid": pid, "host": socket.gethostname(), "space": _space(), "started": _started(pid), "token": token}
    return json.dumps(fields | {"renewed": count, "written": datetime.now(UTC).isoformat(timespec="seconds")}).encode()


def _space() -> str | None:
    """The scope of process ids: this boot of this machine, and this container; None if unknown."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    return None


def _started(pid: int) -> int | None:
    """Ticks from the machine's start to the process's (proc_pid_stat(5), field 22); None if it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        state, *fields = file.read().rpartition(")")[2].split()
        return None if state in "ZX" else int(fields[18])
    return None


def _read(url: str) -> dict[str, Any]:
    try:
        known = json.loads(storage.read_bytes(url))
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _refusal(url: str, known: dict[str, Any]) -> str:
    out = url.removesuffix(f"/{LOCK}")
    return f"{out} is being written by {_who(known)}; wait until it has ended, stop it, or choose another output."


def _who(known: dict[str, Any]) -> str:
    return f"process {known['pid']} on {known['host']}" if "pid" in known and "host" in known else "another process"
