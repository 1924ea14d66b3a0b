"""Tar files: our own, reproducible plain USTAR, and foreign ones, which are read sequentially and not trusted."""

from __future__ import annotations

import bz2
import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Final

from pydantic import Field

from semblance.manifests.config import Config
from semblance.manifests.errors import ArchiveError, SemblanceError

BLOCK: Final = 512
_HEADER: Final = 1 << 20  # most bytes of a header extension (long names, pax records); valid ones are far smaller
_NAME: Final = 1_000  # most characters of a member's name
_CHUNK: Final = 1 << 16
_FREE: Final = 64 << 20  # unpacked bytes that any archive may have, even a small one


class ArchiveConfig(Config):
    """Limits for a foreign archive. A member larger than ``member_bytes`` is skipped. Reading stops after ``members``
    members, or when the archive unpacks to more than ``expansion`` times its own size (and 64 MiB). Pictures hardly
    compress: valid archives of them have a ratio near 1.
    """

    members: int = Field(default=500_000, ge=1)
    member_bytes: int = Field(default=16 << 20, ge=1)
    expansion: int = Field(default=20, ge=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file in a tar: its name, the offset of its first data byte, and its data."""

    name: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Foreign:
    """A member of a foreign archive: its path without ``./``, whether it is a folder, its size in bytes, and why
    it must not be used (None if it may). ``read`` returns the data, once, before the next member is requested.
    """

    name: str
    folder: bool
    size: int
    refused: str | None
    read: Callable[[], bytes]


def write(file: IO[bytes], members: Iterable[tuple[str, bytes]]) -> dict[str, int]:
    """Write a USTAR archive and return each member's data offset; equal members give equal bytes."""
    offsets = {}
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)  # mtime, uid and gid are 0, names of user and group empty
            info.size = len(data)
            info.mode = 0o644
            offsets[name] = file.tell() + BLOCK  # a USTAR header without extensions is one block
            tar.addfile(info, io.BytesIO(data))
    return offsets


def piece(data: bytes, at: int) -> Iterator[Member]:
    """The members of ``data``, a complete number of members that begins at offset ``at`` of an archive.

    Raises SemblanceError if it is damaged.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for info in tar:
                content = data[info.offset_data : info.offset_data + info.size]
                if not info.isreg() or len(content) != info.size:
                    raise SemblanceError("the tar is damaged")
                yield Member(name=info.name, offset=at + info.offset_data, data=content)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise SemblanceError(f"the tar is damaged ({error})") from error


def read(file: IO[bytes]) -> Iterator[Member]:
    """The regular files of an archive, in order; other members are skipped.

    Raises SemblanceError if the archive is damaged or has no end mark. Most readers accept an archive that is truncated
    between two members.
    """
    end = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for info in tar:
                end = info.offset_data + -(-info.size // BLOCK) * BLOCK
                if info.isreg() and (data := tar.extractfile(info)) is not None:
                    yield Member(name=info.name, offset=info.offset_data, data=data.read())
        file.seek(end)
        ending = file.read()
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise SemblanceError(f"the tar is damaged ({error})") from error
    if len(ending) < 2 * BLOCK or any(ending):
        raise SemblanceError("the tar is cut short (no end mark)")


def read_foreign(file: IO[bytes], packed: int, config: ArchiveConfig) -> Iterator[Foreign]:
    """The members of a foreign archive of ``packed`` bytes, plain or packed with gzip or bzip2, in order.

    Nothing is unpacked to disk, and at most one member is in memory. Raises ArchiveError, after all readable members,
    if the archive is not a tar, damaged, truncated, or over the limits of ``config``; OSError if the file itself cannot
    be read.
    """
    stream = _Stream(file, packed, config.expansion)
    count = 0
    try:
        with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:  # type: ignore[call-overload]
            while (info := tar.next()) is not None:
                tar.members.clear()  # else it would collect all members
                count += 1
                if count > config.members:
                    raise ArchiveError(f"it has more than {config.members} members")
                yield _foreign(info, stream, config)
    except (tarfile.TarError, ValueError, LookupError, RecursionError, OverflowError) as error:
        raise ArchiveError(_damage(error) if count else "it is not a tar archive") from error
    if len(stream.last) < BLOCK:
        raise ArchiveError("it is cut short (no end mark)")
    if any(stream.last):
        raise ArchiveError("it is damaged (missing header)")


def _foreign(info: tarfile.TarInfo, stream: _Stream, config: ArchiveConfig) -> Foreign:
    offset, size = info.offset_data, info.size

    def data() -> bytes:
        stream.seek(offset)
        content = stream.read(size, most=config.member_bytes)
        if len(content) < size:
            raise ArchiveError("it is cut short")
        return content

    name = "/".join(part for part in info.name.split("/") if part not in ("", "."))
    refused = _refusal(info, config)
    return Foreign(name=name, folder=info.isdir(), size=size, refused=refused, read=data)


def _refusal(info: tarfile.TarInfo, config: ArchiveConfig) -> str | None:
    """Why a member must not be used."""
    name = info.name
    if len(name) > _NAME:
        return f"its name has more than {_NAME} characters"
    if name.startswith(("/", "\\")) or name[1:3] in (":/", ":\\"):
        return "its name is absolute"
    if ".." in name.replace("\\", "/").split("/"):
        return "its name contains .."
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "its name is not UTF-8"
    if info.issym() or info.islnk():
        return "it is a link"
    if info.issparse():
        return "it is a sparse file"
    if not (info.isreg() or info.isdir()):
        return "it is a device or another special file"
    if info.isreg() and info.size > config.member_bytes:
        return f"it is larger than {config.member_bytes} bytes"
    return None


def _damage(error: Exception) -> str:
    if isinstance(error, EOFError) or "unexpected end" in str(error):
        return "it is cut short"
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return f"it is damaged ({text})"


class _Stream:
    """A file, decompressed if necessary, that can only be read forwards and within limits.

    ``last`` is the result of the last ``read``: for a complete archive, the block of zeros at its end.
    """

    mode = "rb"

    def __init__(self, file: IO[bytes], packed: int, expansion: int) -> None:
        start = file.read(3)
        file.seek(0)
        self._plain = False
        self._file: IO[bytes] | gzip.GzipFile | bz2.BZ2File
        if start.startswith(b"\x1f\x8b"):
            self._file = gzip.GzipFile(fileobj=file)
        elif start.startswith(b"BZh"):
            self._file = bz2.BZ2File(file)
        else:
            self._file, self._plain = file, True
        self._most = max(packed * expansion, _FREE)
        self._expansion = expansion
        self._position = 0
        self.last = b""

    def tell(self) -> int:
        return self._position

    def read(self, size: int, most: int = _HEADER) -> bytes:
        """``size`` bytes, fewer at the end; raises ArchiveError if ``size`` exceeds ``most``."""
        if not 0 <= size <= most:
            raise ArchiveError("a header requests too many bytes")
        parts = []
        while size > 0 and (part := self._next(size)):
            parts.append(part)
            size -= len(part)
        self.last = b"".join(parts)
        return self.last

    def seek(self, position: int) -> int:
        """Move forwards to ``position`` or the end of the data, whichever comes first."""
        if position < self._position:
            raise ArchiveError("a header points backwards")
        if self._plain:
            self._file.seek(position)
            self._position = position
        while self._position < position and self._next(min(position - self._position, _CHUNK)):
            pass
        return self._position

    def _next(self, most: int) -> bytes:
        """Up to ``most`` bytes; none at the end."""
        try:
            part = self._file.read(most)
        except (EOFError, zlib.error) as error:
            raise ArchiveError(_damage(error)) from error
        except OSError as error:
            if error.errno is not None:  # the disk or the network, not the archive
                raise
            raise ArchiveError(_damage(error)) from error
        self._position += len(part)
        if not self._plain and self._position > self._most:
            raise ArchiveError(f"it unpacks to more than {self._expansion} times its size (and {_FREE >> 20} MiB)")
        return part
