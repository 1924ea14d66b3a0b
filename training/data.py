"""From committed shards to pictures and labels, through webdataset."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from manifests import scan, storage
from manifests.records import SPLITS, Image, SemblanceError, UsageError
from quality import codec

PICTURES = ("jpg", "png", "webp")


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


def images(out: str, split: str) -> Iterator[tuple[Image, dict[str, object]]]:
    """(H, W, 3) RGB pictures of a split with their notes, in the shards' order.

    Raises SemblanceError, with the sample's id, for a picture that cannot be decoded.
    """
    import webdataset as wds  # loads torch

    for shard in shards(out, split):
        with storage.local_copy(storage.join(out, shard)) as path:
            for sample in wds.WebDataset(path, shardshuffle=False, empty_check=False):
                picture = next(sample[name] for name in PICTURES if name in sample)
                try:
                    yield codec.decode(picture), json.loads(sample["json"])
                except SemblanceError as error:
                    raise SemblanceError(f"Sample {sample['__key__']} in {shard}: {error}.") from error


def shards(out: str, split: str) -> list[str]:
    """The split's tars, sorted."""
    rows = scan(out).filter(pl.col("split") == split).select("shard").unique().collect()
    return sorted(rows["shard"])


def peek(out: str, split: str) -> Seen:
    """Read a whole split.

    Raises UsageError for an unknown split, SemblanceError where tar and manifest do not agree in number.
    """
    if split not in SPLITS:
        raise UsageError(f"There is no split {split!r}; choose one of {', '.join(SPLITS)}.")
    labels: Counter[object] = Counter()
    sizes: set[str] = set()
    for image, note in images(out, split):
        labels[note["face_label"]] += 1
        sizes.add(f"{image.shape[1]}x{image.shape[0]}")
    listed = scan(out).filter(pl.col("split") == split).select(pl.len()).collect().item()
    if listed != labels.total():
        raise SemblanceError(
            f"The {split} shards of {out} hold {labels.total()} pictures, the manifest lists {listed}; "
            "run `shards verify --deep`."
        )
    return Seen(
        shards=len(shards(out, split)),
        listed=listed,
        samples=labels.total(),
        real=labels[0],
        fake=labels[1],
        unknown=labels[None],
        sizes=tuple(sorted(sizes)),
    )
