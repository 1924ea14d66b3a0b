"""Keys, names and paths of everything in a build folder, and the receipt of a finished shard."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from semblance.manifests import storage
from semblance.manifests.config import readable_json

PARTS: Final = ("samples", "rejects", "videos")


def shard_key(dataset: str, split: str, number: int) -> str:
    """The name that a shard's files share.

    >>> shard_key("dfdc", "train", 3)
    'dfdc-train-000003'
    """
    return f"{dataset}-{split}-{number:06d}"


def tar_path(key: str, split: str) -> str:
    """The path of a shard in the build folder: the value of column ``shard``.

    >>> tar_path("dfdc-train-000003", "train")
    'shards/train/dfdc-train-000003.tar'
    """
    return f"shards/{split}/{key}.tar"


def key_of(shard: str) -> str:
    """The key in a shard's path."""
    return shard.rsplit("/", 1)[-1].removesuffix(".tar")


def split_of(shard: str) -> str:
    """The split in a shard's path."""
    return shard.split("/")[1]


def manifest_path(table: str, key: str) -> str:
    return f"manifests/{table}/{key}.parquet"


def rejects_path(key: str) -> str:
    """The tar of rejected faces' small pictures."""
    return f"rejects/{key}.tar"


def receipt_path(key: str) -> str:
    return f"receipts/{key}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A committed file: path in the build folder, bytes and SHA-256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The committed files of a finished shard. ``shard`` is None if the shard has no samples.

    ``times`` has everything that differs between two equal builds, since the videos part contains times.
    """

    key: str
    fingerprint: str
    shard: str | None
    sha256: str | None
    bytes: int
    samples: int
    rejects: int
    videos: int
    files: tuple[Stored, ...]  # the samples and rejects parts, and the rejects tar if there is one
    statuses: dict[str, int]
    times: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return readable_json(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Receipt:
        """A receipt; raises ValueError for anything that is not a complete one."""
        try:
            value = json.loads(text)
            value["files"] = tuple(Stored(**entry) for entry in value["files"])
            receipt = cls(**value)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a receipt: {error}") from error
        if not (isinstance(receipt.samples, int) and isinstance(receipt.key, str)):
            raise ValueError("not a receipt: wrong types")
        return receipt

    def stored(self) -> tuple[Stored, ...]:
        """Every committed file except the receipt itself."""
        videos = Stored(
            path=manifest_path("videos", self.key),
            bytes=self.times.get("videos_bytes", -1),
            sha256=self.times.get("videos_sha256", ""),
        )
        tar = () if self.shard is None else (Stored(path=self.shard, bytes=self.bytes, sha256=self.sha256 or ""),)
        return (*tar, *self.files, videos)


def read_receipt(out: str, key: str) -> Receipt | None:
    """The receipt of the shard ``key`` in the build folder ``out``; None if it is missing.

    Raises ValueError if it is incomplete.
    """
    try:
        data = storage.read_bytes(storage.join(out, receipt_path(key)))
    except FileNotFoundError:
        return None
    return Receipt.from_json(data.decode())
