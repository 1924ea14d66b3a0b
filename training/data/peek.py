"""One look at a split, as a trainer sees it: every picture decoded and counted against the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Image
from semblance.training.data import query, reader
from semblance.training.data.query import QueryConfig, Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one pass over a split gave, beside what its manifest lists."""

    shards: int
    listed: int
    samples: int
    real: int
    fake: int
    unknown: int
    sizes: tuple[str, ...]


def peek(out: str, split: str) -> Seen:
    """Read a whole split.

    Raises UsageError for an unknown split, SemblanceError where it is empty, or where tar and manifest do not agree.
    """
    chosen = query.select([out], split, QueryConfig(verdicts="all"), unlabelled=True)
    labels: Counter[object] = Counter()
    sizes: set[str] = set()
    known = dict(chosen.pictures.select("sample_id", "target").iter_rows())
    for name, image in images(chosen):
        if name in known:  # where it is not, the count at the shard's end says so
            labels[known.pop(name)] += 1
        sizes.add(f"{image.shape[1]}x{image.shape[0]}")
    if known:
        raise SemblanceError(
            f"The {split} shards of {out} hold {labels.total()} pictures, the manifest lists {len(known)} more; "
            "run `shards verify --deep`."
        )
    return Seen(
        shards=len(chosen.shards),
        listed=chosen.counts.listed,
        samples=labels.total(),
        real=labels[0.0],
        fake=labels[1.0],
        unknown=labels[None],
        sizes=tuple(sorted(sizes)),
    )


def images(chosen: Selection) -> Iterator[tuple[str, Image]]:
    """(sample id, (H, W, 3) RGB picture) of all that lies in the chosen shards, in their order.

    Raises SemblanceError for a damaged shard, or, with its id, for a picture that cannot be decoded.
    """
    for shard in chosen.shards:
        for name, members in reader.read(shard):
            yield name, reader.picture(name, members, shard)
