"""webdataset's one door: a shard's samples from front to back, counted against its manifest at the end."""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Image
from semblance.quality import codec
from semblance.training.data.shards import Shard

PICTURES: Final = ("jpg", "png", "webp")
_END: Final = 1024  # a tar ends in two blocks of zeros
_REMEDY: Final = "run `shards verify --deep` on the build, then the same `ingest build` again: it makes the shard anew"

Members = dict[str, bytes]  # "jpg" (or "png", "webp"), "json" and perhaps "mask.png" of one sample


class _Tail:
    """A file that remembers the last bytes that were read, as a tar cut between two members reads as complete."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if data:
            self.last = data[-_END:] if len(data) >= _END else (self.last + data)[-_END:]
        return data

    def ended(self) -> bool:
        """Read on to the end, and tell whether it is that of a whole tar."""
        while self.read(1 << 20):
            pass
        return len(self.last) == _END and not any(self.last)


def read(shard: Shard) -> Iterator[tuple[str, Members]]:
    """(sample id, members) of each sample of a shard, in the tar's order.

    Raises SemblanceError, naming the shard, where it is missing, damaged or cut, or where, at its end, its samples
    turn out not to be those of the manifest: one missing, one too many, another one, or one without its picture or
    note. The check comes with the last sample, so read to the end.
    """
    samples = checksum = 0
    for name, members in _members(shard):
        pictures = sum(kind in members for kind in PICTURES)
        if pictures != 1 or "json" not in members:
            raise SemblanceError(
                f"The sample {name} in {shard.url} has {pictures} pictures and {int('json' in members)} notes where "
                f"it must have one each; {_REMEDY}."
            )
        samples += 1
        checksum += zlib.crc32(name.encode())
        yield name, members
    if samples != shard.samples:
        raise SemblanceError(
            f"The shard {shard.url} holds {samples} samples, its manifest lists {shard.samples}; {_REMEDY}."
        )
    if checksum != shard.checksum:
        raise SemblanceError(
            f"The shard {shard.url} holds {samples} samples, but not those that its manifest lists; {_REMEDY}."
        )


def picture(name: str, members: Members, shard: Shard) -> Image:
    """The decoded (H, W, 3) RGB picture of a sample; raises SemblanceError with its id."""
    try:
        return codec.decode(next(members[kind] for kind in PICTURES if kind in members))
    except SemblanceError as error:
        raise SemblanceError(f"The picture of {name} in {shard.url} cannot be decoded: {error}; {_REMEDY}.") from error


def landmarks(members: Members, shard: Shard, side: int) -> NDArray[np.float32] | None:
    """The five landmarks (10 numbers: x, y) in the pixels of a crop of ``side`` px, from the sample's note.

    None where they are unknown or the crop is no upright square of its frame.
    """
    note = json.loads(members["json"])
    if not shard.upright or not note.get("landmarks") or not note.get("crop_side"):
        return None
    corner = np.array([note["crop_x0"], note["crop_y0"]] * 5, np.float32)
    return np.asarray((np.array(note["landmarks"], np.float32) - corner) * (side / note["crop_side"]), np.float32)


def _members(shard: Shard) -> Iterator[tuple[str, Members]]:
    from webdataset import tariterators  # loads torch

    try:
        with storage.reading(shard.url) as file:
            tail = _Tail(file)
            source: list[dict[str, Any]] = [{"url": shard.url, "stream": tail}]
            for sample in tariterators.group_by_keys(tariterators.tar_file_expander(source)):
                yield sample["__key__"], sample
            if not tail.ended():
                raise SemblanceError(f"The shard {shard.url} is cut short (no end mark); {_REMEDY}.")
    except FileNotFoundError as error:
        raise SemblanceError(f"The shard {shard.url} is missing; {_REMEDY}.") from error
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        reason = str(error.args[0] if error.args else error).splitlines()[0]
        raise SemblanceError(f"The shard {shard.url} cannot be read ({reason}); {_REMEDY}.") from error
