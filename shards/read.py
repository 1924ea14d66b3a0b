"""Read shards: streams of samples, and single pictures by range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from semblance.manifests import storage
from semblance.shards import tar

PICTURES: Final = ("jpg", "png", "webp")
MASK: Final = "mask.png"


def stream(url: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The samples of one tar in its order: (sample_id, {"jpg": ..., "json": ..., "mask.png": ...}).

    Raises SemblanceError if the tar is damaged or truncated.
    """
    current: str | None = None
    parts: dict[str, bytes] = {}
    with storage.reading(url) as file:
        for member in tar.read(file):
            name, _, suffix = member.name.partition(".")
            if name != current and current is not None:
                yield current, parts
                parts = {}
            current = name
            parts[suffix] = member.data
    if current is not None:
        yield current, parts


def fetch(out: str, row: Mapping[str, Any]) -> bytes:
    """The picture of one samples or rejects row with a range read."""
    return storage.read_range(storage.join(out, row["shard"]), row["tar_offset"], row["tar_bytes"])
