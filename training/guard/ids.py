"""The ids of a build's videos as 64-bit hashes: what a run keeps of them, and what it is later compared with.

An id is hashed with its kind and its dataset, within which it is unique. A video is also known by its content, in any
build and under any id: its frames by ``frame_index`` and ``frame_phash``, and a file of H.264 by its size, its count of
frames, and the mean and spread of the quantiser in its first key frame.
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
FILE: Final = "file"
CONTENT: Final = (FRAME, FILE)
NAMED: Final = ("video", "family", "person", "recording")
KINDS: Final = (*NAMED, ESTIMATED)
FILE_COLUMNS: Final = ("bytes", "frames_total", "qp_mean", "qp_spread")
HELD: Final = {"kind": pl.String, "id": pl.String, "video_id": pl.String, "hash": pl.UInt64}


def read(out: str) -> Audited:
    """The plan of a build with its protocol; raises SemblanceError if ``out`` is not a build."""
    return builds.read([out], plan=True)[0]


def held(build: Audited, videos: Collection[str]) -> pl.DataFrame:
    """One row per id that these ``videos`` of a build have, and video: kind, id, video_id, hash.

    ``KINDS``, and ``CONTENT``, whose id is the video's: the frames of its kept crops, and its file.
    """
    inside = pl.col("video_id").is_in(pl.Series(list(videos), dtype=pl.String).implode())
    return pl.concat([named(build, build.plan.filter(inside)), *_content(build.name, inside)])


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


def of_files(rows: pl.DataFrame) -> pl.Series:
    """The hash of each file by the columns ``FILE_COLUMNS`` of its row in ``videos``."""
    return hashed(rows.select(pl.lit(FILE), *FILE_COLUMNS).cast({"qp_mean": pl.Float32, "qp_spread": pl.Float32}))


def _content(out: str, inside: pl.Expr) -> tuple[pl.DataFrame, pl.DataFrame]:
    kept = scan(out, flags=False).filter(inside & pl.col("frame_phash").is_not_null())
    frames = kept.select("video_id", "frame_index", "frame_phash").unique().collect()
    files = scan(out, "videos").filter(inside).select("video_id", *FILE_COLUMNS).drop_nulls().collect()
    return content(FRAME, frames["video_id"], of_frames(frames)), content(FILE, files["video_id"], of_files(files))


def content(kind: str, videos: pl.Series, hashes: pl.Series) -> pl.DataFrame:
    """``held`` of contents: by ``hashes``, which are those of ``videos``."""
    rows = pl.DataFrame({"video_id": videos, "hash": hashes}).with_columns(kind=pl.lit(kind), id="video_id")
    return rows.select(list(HELD)).cast(HELD)  # type: ignore[arg-type]


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
