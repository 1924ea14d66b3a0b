"""The ids of a build's videos as 64-bit hashes: what a run keeps of them, and what it is later compared with.

An id is hashed with its kind and its dataset, within which it is unique. Frames are known by their content: the hash of
``frame_index`` and ``frame_phash`` is the same in any build of the same file, whatever its ids, crops or folders.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from semblance.manifests import overlap, scan
from semblance.manifests.config import canonical_json
from semblance.manifests.ids import digest
from semblance.manifests.overlap import ESTIMATED
from semblance.quality import builds
from semblance.quality.builds import Audited

FRAME: Final = "frame"
NAMED: Final = ("video", "family", "person", "recording")
KINDS: Final = (*NAMED, ESTIMATED)
HELD: Final = {"kind": pl.String, "id": pl.String, "video_id": pl.String, "hash": pl.UInt64}


def read(out: str) -> Audited:
    """The plan of a build with its protocol; raises SemblanceError if ``out`` is not a build."""
    return builds.read([out], plan=True)[0]


def held(build: Audited, videos: Collection[str]) -> pl.DataFrame:
    """One row per id that these ``videos`` of a build have, and video: kind, id, video_id, hash.

    ``KINDS``, and the frames of their kept crops (kind ``frame``, whose id is the video's).
    """
    inside = pl.col("video_id").is_in(pl.Series(list(videos), dtype=pl.String).implode())
    return pl.concat([named(build, build.plan.filter(inside)), _frames(build.name, inside)])


def named(build: Audited, rows: pl.DataFrame) -> pl.DataFrame:
    """``held`` without frames, of some ``rows`` of the build's plan: labelled videos that are not missing."""
    there = overlap.assigned(rows.with_columns(side=pl.lit("train")), "side")
    found = overlap.holders(there.with_columns(video=pl.col("video_id")), KINDS)
    scope = pl.when(pl.col("kind") == ESTIMATED).then(pl.lit(_estimate(build))).otherwise("dataset")
    scoped = found.select("kind", "id", "video_id", scope=scope)
    distinct = scoped.select("kind", "scope", "id").unique()
    hashes = distinct.with_columns(hash=hashed(distinct))
    return scoped.join(hashes, on=["kind", "scope", "id"]).select(list(HELD))


def hashed(rows: pl.DataFrame) -> pl.Series:
    """The first 8 bytes of the SHA-256 of every row's texts (``manifests.ids.digest``)."""
    return pl.Series([int(digest(*row)[:16], 16) for row in rows.iter_rows()], dtype=pl.UInt64)


def of_frames(rows: pl.DataFrame) -> pl.Series:
    """The hash of each frame by its ``frame_index`` and ``frame_phash``."""
    index, phash = (rows[name].cast(pl.UInt64).to_numpy() for name in ("frame_index", "frame_phash"))
    return pl.Series(_mixed(_mixed(index) ^ phash), dtype=pl.UInt64)


def _frames(out: str, inside: pl.Expr) -> pl.DataFrame:
    kept = scan(out, flags=False).filter(inside & pl.col("frame_phash").is_not_null())
    rows = kept.select("video_id", "frame_index", "frame_phash").unique().collect()
    return rows.select(kind=pl.lit(FRAME), id="video_id", video_id="video_id", hash=of_frames(rows)).cast(HELD)  # type: ignore[arg-type]


def _estimate(build: Audited) -> str:
    """The run of `quality persons` within which the name of an estimated person means one person."""
    if build.persons is not None:
        return digest(canonical_json(dict(build.persons.about)))
    return str(build.description.get("fingerprint", build.name))


def _mixed(value_N: NDArray[Any]) -> NDArray[Any]:
    """The 64-bit finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): every bit depends on every bit."""
    value_N = value_N + np.uint64(0x9E3779B97F4A7C15)
    value_N = (value_N ^ (value_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value_N = (value_N ^ (value_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(value_N ^ (value_N >> np.uint64(31)))
