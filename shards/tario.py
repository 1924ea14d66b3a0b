"""Tar's one door: plain USTAR with nothing of the machine or the moment in it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Final

from manifests.records import SemblanceError

BLOCK: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file in a tar: its name, the offset of its first data byte, and its data."""

    name: str
    offset: int
    data: bytes


def write(file: IO[bytes], members: Iterable[tuple[str, bytes]]) -> dict[str, int]:
    """Write a USTAR archive and return each member's data offset: the same members give the same bytes."""
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
    """The members of ``data``, a piece of an archive that begins with a header at offset ``at`` and ends between two.

    Raises SemblanceError where it is damaged.
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
    """The regular files of an archive, in order; anything else in it is passed over.

    Raises SemblanceError where the archive is damaged or does not end as a tar must: one that is cut
    between two members reads as complete to most readers.
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
