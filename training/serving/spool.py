"""A folder for what requests send: gone when the service ends, and if that was killed, when the next one starts."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from semblance.manifests.errors import SemblanceError

_LOCK = "lock"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A new private folder, which is also where this process and its children put temporary files.

    Folders of services that no longer run are removed first: each holds a lock that ends with its process.
    """
    root = Path(tempfile.gettempdir()) / f"semblance-serve-{os.getuid()}"
    with contextlib.ExitStack() as stack:
        try:
            root.mkdir(mode=0o700, exist_ok=True)
            if root.is_symlink() or root.stat().st_uid != os.getuid():
                raise SemblanceError(f"{root} belongs to somebody else; remove it, or set TMPDIR to another folder.")
            with _locked(root / _LOCK):  # two services that start at once
                _sweep(root)
                own = Path(tempfile.mkdtemp(dir=root))
                stack.enter_context(_locked(own / _LOCK))
        except OSError as error:
            why = error.strerror or str(error)
            raise SemblanceError(f"{root} cannot be written ({why}); set TMPDIR to another folder.") from error
        before = os.environ.get("TMPDIR"), tempfile.tempdir
        os.environ["TMPDIR"] = tempfile.tempdir = str(own)
        try:
            yield own
        finally:
            tempfile.tempdir = before[1]
            if before[0] is None:
                os.environ.pop("TMPDIR", None)
            else:
                os.environ["TMPDIR"] = before[0]
            shutil.rmtree(own, ignore_errors=True)


@contextlib.contextmanager
def _locked(file: Path, *, wait: bool = True) -> Iterator[None]:
    """Raises BlockingIOError if another process holds the lock, and this one does not wait."""
    with file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def _sweep(root: Path) -> None:
    for one in root.iterdir():
        if one.is_dir():
            with contextlib.suppress(OSError), _locked(one / _LOCK, wait=False):
                shutil.rmtree(one, ignore_errors=True)
