"""fsspec's one door: local paths and object stores alike, whole objects in, whole objects out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec

from manifests.records import SemblanceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """A stored file: path relative to the folder that was walked, size in bytes, and its version.

    ``version`` is the modification time in nanoseconds on disk, the etag on an object store.
    """

    path: str
    bytes: int
    version: str


def is_remote(url: str) -> bool:
    """Whether ``url`` names an object store rather than a local path."""
    return "://" in url and not url.startswith("file://")


def join(base: str, *parts: str) -> str:
    """Join with "/" for local paths and URLs alike."""
    return "/".join([base.rstrip("/") or "/", *parts]) if parts else base


def _fs(url: str) -> tuple[Any, str]:
    fs, path = fsspec.core.url_to_fs(url)
    return fs, path


@contextmanager
def _absent() -> Iterator[None]:
    """Below a file there are no files: that one is where a folder should be makes the file absent."""
    try:
        yield
    except NotADirectoryError as error:
        raise FileNotFoundError(*error.args) from error


def exists(url: str) -> bool:
    fs, path = _fs(url)
    try:
        return bool(fs.exists(path))
    except NotADirectoryError:  # a file where a folder should be
        return False


def size(url: str) -> int:
    """Bytes of the file; raises FileNotFoundError."""
    fs, path = _fs(url)
    with _absent():
        return int(fs.size(path))


def read_bytes(url: str) -> bytes:
    """The whole file; raises FileNotFoundError."""
    fs, path = _fs(url)
    with _absent():
        data: bytes = fs.cat_file(path)
    return data


def read_range(url: str, start: int, length: int) -> bytes:
    """``length`` bytes from offset ``start``; raises FileNotFoundError."""
    fs, path = _fs(url)
    with _absent():
        data: bytes = fs.cat_file(path, start=start, end=start + length)
    return data


@contextmanager
def reading(url: str) -> Iterator[IO[bytes]]:
    """Open for reading, closed at the end of the block; raises FileNotFoundError."""
    fs, path = _fs(url)
    with _absent():
        opened = fs.open(path, "rb")
    with opened as file:
        yield file


@contextmanager
def local_copy(url: str) -> Iterator[str]:
    """A local path with the file's content: the file itself on disk, a temporary copy of an object."""
    if not is_remote(url):
        yield url.removeprefix("file://")
        return
    fs, path = _fs(url)
    with tempfile.TemporaryDirectory(prefix="semblance-") as folder:
        target = str(Path(folder) / Path(path).name)
        fs.get_file(path, target)
        yield target


def list_names(url: str) -> list[str]:
    """Sorted names directly inside a folder; empty where it does not exist."""
    fs, path = _fs(url)
    fs.invalidate_cache()
    try:
        entries = fs.ls(path, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries if str(entry).rstrip("/") != path)


def walk(url: str) -> list[Stat]:
    """Every file below ``url``, sorted by path; links are followed to files, never out of a loop."""
    if is_remote(url):
        fs, path = _fs(url)
        fs.invalidate_cache()
        found = fs.find(path, detail=True)
        return sorted(
            (
                Stat(
                    path=name[len(path) :].lstrip("/"),
                    bytes=int(info["size"]),
                    version=str(info.get("ETag") or info.get("etag") or info.get("mtime") or ""),
                )
                for name, info in found.items()
            ),
            key=lambda stat: stat.path,
        )
    root = os.path.normpath(url.removeprefix("file://"))
    stats = []
    for folder, _, names in os.walk(root):
        above = "" if folder == root else f"{os.path.relpath(folder, root)}/"
        for name in names:
            with suppress(FileNotFoundError):  # a dangling link is not a file
                info = os.stat(os.path.join(folder, name))
                stats.append(Stat(path=f"{above}{name}", bytes=info.st_size, version=str(info.st_mtime_ns)))
    return sorted(stats, key=lambda stat: stat.path)


def publish(local: str, url: str) -> None:
    """Make the closed local file appear whole under ``url``: copy, fsync, rename, or one upload.

    Raises SemblanceError where the place cannot be written.
    """
    try:
        if is_remote(url):
            fs, path = _fs(url)
            fs.put_file(local, path)
            fs.invalidate_cache()
            return
        target = Path(url.removeprefix("file://"))
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")  # is_draft
        try:
            with os.fdopen(handle, "wb") as out, open(local, "rb") as source:
                while block := source.read(1 << 20):
                    out.write(block)
                out.flush()
                os.fsync(out.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, target)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        _sync_folder(target.parent)
    except OSError as error:
        raise unwritable(url, error) from error


def write_bytes(url: str, data: bytes) -> None:
    """Publish ``data`` atomically under ``url``."""
    with tempfile.TemporaryDirectory(prefix="semblance-") as folder:
        local = Path(folder) / "part"
        local.write_bytes(data)
        publish(str(local), url)


def remove(url: str) -> None:
    """Delete a file if it is there."""
    fs, path = _fs(url)
    with suppress(FileNotFoundError):
        fs.rm_file(path)


def sweep(url: str) -> None:
    """Delete below ``url`` what a killed ``publish`` left half-written; an object store shows nothing of it."""
    if is_remote(url):
        return
    for stat in walk(url):
        if is_draft(stat.path):
            remove(join(url, stat.path))


def is_draft(path: str) -> bool:
    """Whether this is the name of a file that a ``publish`` on disk has not finished."""
    name = path.rsplit("/", 1)[-1]
    return name.startswith(".") and name.endswith(".tmp")


def unwritable(url: str, error: OSError) -> SemblanceError:
    """What to tell a user whose output cannot be written."""
    reason = error.strerror or error
    return SemblanceError(f"{url} cannot be written ({reason}); free space or choose another output, then run again.")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
