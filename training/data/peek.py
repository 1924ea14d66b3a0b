"""One pass over a split as a trainer sees it: every picture is decoded and counted against the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Image
from semblance.training.data import query, reader
from semblance.training.data.query import QueryConfig, Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSummary:
    """What one pass over a split found; ``listed`` is the number of rows in its manifest."""

    shards: int
    listed: int
    samples: int
    real: int
    fake: int
    unknown: int
    sizes: tuple[str, ...]


def peek(out: str, split: str) -> SplitSummary:
    """Read every shard of a split.

    Raises UsageError for an unknown split, SemblanceError if it is empty or if tar and manifest do not agree.
    """
    selection = query.select([out], split, QueryConfig(verdicts="all"), unlabelled=True)
    labels: Counter[object] = Counter()
    sizes: set[str] = set()
    remaining = dict(selection.pictures.select("sample_id", "target").iter_rows())
    for name, image in images(selection):
        if name in remaining:  # a picture that is not listed fails the count at the shard's end
            labels[remaining.pop(name)] += 1
        sizes.add(f"{image.shape[1]}x{image.shape[0]}")
    if remaining:
        raise SemblanceError(
            f"The {split} shards of {out} hold {labels.total()} pictures, but the manifest lists {len(remaining)} "
            "more; run `shards verify --deep`."
        )
    return SplitSummary(
        shards=len(selection.shards),
        listed=selection.counts.listed,
        samples=labels.total(),
        real=labels[0.0],
        fake=labels[1.0],
        unknown=labels[None],
        sizes=tuple(sorted(sizes)),
    )


def images(selection: Selection) -> Iterator[tuple[str, Image]]:
    """(sample id, (H, W, 3) RGB picture) of everything in the selection's shards, in their order.

    Raises SemblanceError for a damaged shard and, with its id, for a picture that cannot be decoded.
    """
    for shard in selection.shards:
        for name, members in reader.read(shard):
            yield name, reader.picture(name, members, shard)
