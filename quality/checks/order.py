"""Order: does the place of a video's pictures in their tar, or of its file's name, tell the label?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from semblance.manifests import scan
from semblance.manifests.records import Finding
from semblance.manifests.text import seeded_order
from semblance.quality.checks import separability
from semblance.quality.checks.separability import Separability
from semblance.quality.checks.shortcuts import ALARM

SHARDS: Final = 100  # looked at, chosen by hash
TAR: Final = "tar_order"
NAME: Final = "name_order"
_REMEDY: Final = (
    "A reader that does not shuffle sees one label after the other: `shards repack OUT --split PROTOCOL --to OUT2` "
    "mixes the pictures again."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What each order tells. ``tar``: the middle place of a video's pictures in their tar, 0 to 1, which the seed
    mixes: it should tell nothing. ``name``: the place of the file's name, without folders, among all names of the set.
    """

    tar: Separability
    name: Separability

    def findings(self) -> Iterator[Finding]:
        """A warning about tars; a note about names, which no model sees."""
        if _tells(self.tar):
            what = f"the order of pictures in the tars tells fakes from reals ({_figure(self.tar)})"
            yield Finding(level="warning", law="shortcuts", what=what, remedy=_REMEDY)
        if _tells(self.name):
            what = f"the order of file names tells fakes from reals ({_figure(self.name)})"
            why = "no model sees it, but whoever takes files in order of their names takes mostly one label"
            yield Finding(level="note", law="shortcuts", what=f"{what}: {why}")

    def lines(self) -> Iterator[str]:
        """The findings as text."""
        for one in self.findings():
            yield f"{one.level}: {one.what}.{f' {one.remedy}' if one.remedy else ''}"

    def to_json(self) -> dict[str, Any]:
        """Both figures as JSON, without the scores of single videos."""
        return {
            kind: {key: value for key, value in asdict(found).items() if key not in ("ids", "scores")}
            for kind, found in (("tar", self.tar), ("name", self.name))
        }


def measure(out: str, seed: int = 0) -> Order:
    """Both orders of the build ``out``; raises SemblanceError if ``out`` is not a build."""
    labelled = scan(out, "videos").filter(pl.col("label").is_not_null())
    videos = labelled.select("video_id", "label", "family_id", "path").collect().sort("video_id")
    shards = scan(out, flags=False).select("shard").unique().collect().sort(seeded_order(seed, "shard"))
    some = shards["shard"].head(SHARDS).implode()
    stored = scan(out, flags=False).filter(pl.col("shard").is_in(some)).select("video_id", "shard", "tar_offset")
    places = tar_order(stored.collect(engine="streaming"))
    return Order(
        tar=separability.measure(videos.join(places, on="video_id"), [TAR], seed),
        name=separability.measure(name_order(videos), [NAME], seed),
    )


def tar_order(stored: pl.DataFrame) -> pl.DataFrame:
    """video_id and the median place, 0 to 1, of its pictures among those of their shard, by ``tar_offset``."""
    place = (pl.col("tar_offset").rank("average") - 0.5) / pl.len()
    return stored.with_columns(place.over("shard").alias(TAR)).group_by("video_id").agg(pl.col(TAR).median())


def name_order(videos: pl.DataFrame) -> pl.DataFrame:
    """``videos`` with the place, 0 to 1, of the last part of ``path`` among all of them; equal names share theirs.

    Folders are left out: many collections name the label there, and nobody reads it from a picture.
    """
    name = pl.col("path").str.split("/").list.last()
    return videos.with_columns(((name.rank("average") - 0.5) / pl.len()).alias(NAME))


def _tells(found: Separability) -> bool:
    return found.low is not None and found.low > ALARM


def _figure(found: Separability) -> str:
    return f"AUC {found.auc:.2f}, 95 % {found.low:.2f}-{found.high:.2f}"
