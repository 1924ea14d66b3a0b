"""The only user of webdataset: reads a shard from front to back and checks its samples against the manifest."""

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
_REMEDY: Final = "run `shards verify --deep` on the build, then the same `ingest build` again to rebuild the shard"

Members = dict[str, bytes]  # "jpg" (or "png", "webp"), "json" and optionally "mask.png" of one sample


class _Tail:
    """A file that remembers the last bytes read: without them, a tar cut between two members looks complete."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if data:
            self.last = data[-_END:] if len(data) >= _END else (self.last + data)[-_END:]
        return data

    def ended(self) -> bool:
        """Read to the end, and return whether it is the end of a complete tar."""
        while self.read(1 << 20):
            pass
        return len(self.last) == _END and not any(self.last)


def read(shard: Shard) -> Iterator[tuple[str, Members]]:
    """(sample id, members) of each sample of a shard, in the tar's order.

    Raises SemblanceError, naming the shard, if it is missing, damaged or cut short, or if a sample has no picture or
    no JSON. After the last sample it also raises if the samples differ from the manifest's, so read to the end.
    """
    samples = checksum = 0
    for name, members in _members(shard):
        pictures = sum(kind in members for kind in PICTURES)
        if pictures != 1 or "json" not in members:
            raise SemblanceError(
                f"The sample {name} in {shard.url} has {pictures} pictures and {int('json' in members)} JSON files "
                f"instead of one each; {_REMEDY}."
            )
        samples += 1
        checksum += zlib.crc32(name.encode())
        yield name, members
    if samples != shard.samples:
        raise SemblanceError(
            f"The shard {shard.url} holds {samples} samples, but its manifest lists {shard.samples}; {_REMEDY}."
        )
    if checksum != shard.checksum:
        raise SemblanceError(
            f"The shard {shard.url} holds {samples} samples, but not the ones its manifest lists; {_REMEDY}."
        )


def stored(members: Members) -> bytes:
    """The picture of a sample as the file that is stored."""
    return next(members[kind] for kind in PICTURES if kind in members)


def picture(name: str, members: Members, shard: Shard) -> Image:
    """The decoded (H, W, 3) RGB picture of a sample. Raises SemblanceError with its id if it cannot be decoded."""
    try:
        return codec.decode(stored(members))
    except SemblanceError as error:
        raise SemblanceError(f"The picture of {name} in {shard.url} cannot be decoded: {error}; {_REMEDY}.") from error


def landmarks(members: Members, shard: Shard, side: int) -> NDArray[np.float32] | None:
    """The five landmarks (10 numbers: x, y) in the pixels of a crop of ``side`` px, from the sample's JSON.

    None if they are unknown or the crop is not an upright square of its frame.
    """
    row = json.loads(members["json"])
    if not shard.upright or not row.get("landmarks") or not row.get("crop_side"):
        return None
    corner = np.array([row["crop_x0"], row["crop_y0"]] * 5, np.float32)
    return np.asarray((np.array(row["landmarks"], np.float32) - corner) * (side / row["crop_side"]), np.float32)


def _members(shard: Shard) -> Iterator[tuple[str, Members]]:
    from webdataset import tariterators  # loads torch

    try:
        with storage.reading(shard.url) as file:
            tail = _Tail(file)
            source: list[dict[str, Any]] = [{"url": shard.url, "stream": tail}]
            for sample in tariterators.group_by_keys(tariterators.tar_file_expander(source)):
                yield sample["__key__"], sample
            if not tail.ended():
                raise SemblanceError(f"The shard {shard.url} is cut short (no end-of-archive mark); {_REMEDY}.")
    except FileNotFoundError as error:
        raise SemblanceError(f"The shard {shard.url} is missing; {_REMEDY}.") from error
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        reason = str(error.args[0] if error.args else error).splitlines()[0]
        raise SemblanceError(f"The shard {shard.url} cannot be read ({reason}); {_REMEDY}.") from error
