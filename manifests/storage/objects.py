"""Read and write complete files on local disks and object stores; the only module that uses fsspec."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import fsspec

from semblance.manifests.errors import StorageError
from semblance.manifests.storage import ranges
from semblance.manifests.storage.retry import patiently, reason

T = TypeVar("T")
REMEDY: Final = "choose another output, then run again"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


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


def _do(url: str, action: Callable[[Any, str], T]) -> T:
    """Call ``action`` with the file system and its path, with retries; a path below a file does not exist."""
    fs, path = _fs(url)
    try:
        return patiently(url, lambda: action(fs, path))
    except NotADirectoryError as error:
        raise FileNotFoundError(*error.args) from error


def exists(url: str) -> bool:
    """Whether there is a file or folder at ``url``."""
    try:
        return bool(_do(url, lambda fs, path: fs.exists(path)))
    except FileNotFoundError:  # a parent is a file
        return False


def size(url: str) -> int:
    """Bytes of the file; raises FileNotFoundError."""
    return int(_do(url, lambda fs, path: fs.size(path)))


def read_bytes(url: str) -> bytes:
    """The content of the file; raises FileNotFoundError."""
    data: bytes = _do(url, lambda fs, path: fs.cat_file(path))
    return data


def read_range(url: str, start: int, length: int) -> bytes:
    """``length`` bytes from offset ``start``; raises FileNotFoundError."""
    data: bytes = _do(url, lambda fs, path: fs.cat_file(path, start=start, end=start + length))
    return data


@contextmanager
def reading(url: str) -> Iterator[IO[bytes]]:
    """Open for reading, closed at the end of the block; raises FileNotFoundError."""
    if is_remote(url):
        with ranges.opened(lambda start, length: read_range(url, start, length), size(url)) as stream:
            yield stream
        return
    with _do(url, lambda fs, path: fs.open(path, "rb")) as file:
        yield file


@contextmanager
def spool() -> Iterator[Path]:
    """A temporary folder on this machine; raises StorageError if it fills up."""
    try:
        with tempfile.TemporaryDirectory(prefix="semblance-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        place = error.filename or tempfile.gettempdir()
        raise StorageError(
            f"{place} cannot hold a temporary file ({reason(error)}); free space, or set TMPDIR to another folder, "
            "then run again."
        ) from error


@contextmanager
def local_copy(url: str) -> Iterator[str]:
    """A local path with the file's content: the file itself on disk, a temporary copy of an object."""
    if not is_remote(url):
        yield url.removeprefix("file://")
        return
    with spool() as folder:
        target = str(folder / f"copy{Path(url).suffix[:16]}")  # decoders may use the suffix
        _do(url, lambda fs, path: _fetch(fs, path, target))
        yield target


def _fetch(fs: Any, path: str, target: str) -> None:
    """One object, or all below a folder."""
    with suppress(FileNotFoundError, IsADirectoryError):
        fs.get_file(path, target)
    if not os.path.isfile(target):
        fs.get(f"{path}/", f"{target}/", recursive=True)


def list_names(url: str) -> list[str]:
    """Sorted names directly inside a folder; empty if it does not exist."""
    fs, path = _fs(url)
    fs.invalidate_cache()
    try:
        entries = _do(url, lambda fs, path: fs.ls(path, detail=False))
    except FileNotFoundError:
        return []
    return sorted(str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries if str(entry).rstrip("/") != path)


def walk(url: str) -> list[Stat]:
    """Every file below ``url``, sorted by path; links to files are followed, links to folders are not."""
    if is_remote(url):
        fs, top = _fs(url)
        fs.invalidate_cache()
        files = _do(url, lambda fs, path: fs.find(path, detail=True))
        stats = [
            Stat(path=name[len(top) :].lstrip("/"), bytes=int(info["size"]), version=str(version or ""))
            for name, info in files.items()
            for version in [info.get("ETag") or info.get("etag") or info.get("mtime")]
        ]
        return sorted(stats, key=lambda stat: stat.path)
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
    """Copy the closed local file to ``url`` atomically: copy, fsync and rename, or one upload.

    Raises StorageError if ``url`` cannot be written.
    """
    try:
        if is_remote(url):
            _do(url, lambda fs, path: _upload(fs, local, path))
        else:
            patiently(url, lambda: _replace(local, Path(url.removeprefix("file://"))))
    except OSError as error:
        raise unwritable(url, error) from error


def _upload(fs: Any, local: str, path: str) -> None:
    fs.put_file(local, path)
    fs.invalidate_cache()
    if (size := int(fs.size(path))) != os.path.getsize(local):  # the server accepted an incomplete upload
        fs.rm_file(path)
        raise ConnectionError(f"only {size} bytes arrived")


def _replace(local: str, target: Path) -> None:
    with _draft(target) as out, open(local, "rb") as source:
        while block := source.read(1 << 20):
            out.write(block)


@contextmanager
def writing(url: str, remedy: str = REMEDY) -> Iterator[IO[bytes]]:
    """A file to write that replaces ``url`` atomically when the block ends; an exception leaves ``url`` unchanged.

    Raises StorageError, with ``remedy`` as advice, if ``url`` cannot be written.
    """
    try:
        if is_remote(url):
            with spool() as folder:
                local = folder / "part"
                with local.open("wb") as out:
                    yield out
                publish(str(local), url)
        else:
            with _draft(Path(url.removeprefix("file://"))) as out:
                yield out
    except OSError as error:
        raise unwritable(url, error, remedy) from error


@contextmanager
def _draft(target: Path) -> Iterator[IO[bytes]]:
    """A temporary file next to ``target``, renamed to it at the end of the block, deleted after an exception."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")  # is_draft
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o644)
        appear(Path(temporary), target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def appear(draft: Path, target: Path) -> None:
    """Rename a written file or folder to its final name, durably even after a power failure."""
    os.replace(draft, target)
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(url: str, data: bytes) -> None:
    """Publish ``data`` atomically under ``url``."""
    with spool() as folder:
        local = folder / "part"
        local.write_bytes(data)
        publish(str(local), url)


def create(url: str, data: bytes) -> bool:
    """Write a file unless it exists; whether this call wrote it.

    Raises StorageError if ``url`` cannot be written.
    """

    def act(fs: Any, path: str) -> None:
        if is_remote(url):
            fs.pipe_file(path, data, mode="create")
            fs.invalidate_cache()
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            file.write(data)

    try:
        _do(url, act)
    except FileExistsError:
        return False
    except OSError as error:
        raise unwritable(url, error) from error
    return True


def remove(url: str) -> None:
    """Delete a file if it exists."""
    with suppress(FileNotFoundError):
        _do(url, lambda fs, path: fs.rm_file(path))


def sweep(url: str) -> None:
    """Delete incomplete files below ``url`` that a killed ``publish`` left; object stores never show them."""
    if is_remote(url):
        return
    for stat in walk(url):
        if is_draft(stat.path):
            remove(join(url, stat.path))


def is_draft(path: str) -> bool:
    """Whether this is the name of an unfinished file of ``publish`` on disk."""
    name = path.rsplit("/", 1)[-1]
    return name.startswith(".") and name.endswith(".tmp")


def unwritable(url: str, error: OSError, remedy: str = REMEDY) -> StorageError:
    """The error for an output that cannot be written."""
    full = "free space or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return StorageError(f"{url} cannot be written ({reason(error)}); {full}{remedy}.")
