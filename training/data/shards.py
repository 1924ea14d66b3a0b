"""The shards behind a query: what their manifests say about them, and whether they are there."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from semblance.manifests import build_files, scan, storage
from semblance.manifests.errors import SemblanceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A tar to read, with what its manifest says about it, so that its content can be checked."""

    out: str  # the build folder
    path: str  # inside it
    samples: int
    checksum: int  # the sum of the CRC-32 of its sample ids: independent of their order
    least: int  # bytes up to the end of the last picture
    upright: bool = True  # crops are squares of the frame, not aligned to landmarks

    @property
    def url(self) -> str:
        return storage.join(self.out, self.path)


def locate(outs: Sequence[str], pictures: pl.DataFrame) -> tuple[tuple[Shard, ...], pl.DataFrame]:
    """The shards that hold the pictures, and the pictures with the index of their shard instead of its path.

    Column ``source`` of the pictures is an index of ``outs``.
    """
    shards: list[Shard] = []
    for source, out in enumerate(outs):
        paths = pictures.filter(pl.col("source") == source)["shard"].unique().sort()
        upright = build_files.finished(out).get("recipe", {}).get("crop", {}).get("kind", "box") == "box"
        members = (
            scan(out)
            .filter(pl.col("shard").is_in(paths.to_list()))
            .group_by("shard")
            .agg("sample_id", (pl.col("tar_offset") + pl.col("tar_bytes")).max().alias("least"))
            .sort("shard")
            .collect()
        )
        shards += [
            Shard(out=out, path=path, samples=len(names), checksum=checksum(names), least=least, upright=upright)
            for path, names, least in members.iter_rows()
        ]
    index = pl.DataFrame(
        {
            "source": [outs.index(shard.out) for shard in shards],
            "path": [shard.path for shard in shards],
            "number": range(len(shards)),
        },
        schema={"source": pl.Int32, "path": pl.String, "number": pl.Int32},
    )
    indexed = pictures.join(index, left_on=["source", "shard"], right_on=["source", "path"], maintain_order="left")
    return tuple(shards), indexed.with_columns(shard="number").drop("number")


def checksum(names: Sequence[str]) -> int:
    """The sum of the CRC-32 of the names: equal for equal sets, in any order."""
    return sum(zlib.crc32(name.encode()) for name in names)


def check(shards: Sequence[Shard]) -> None:
    """Check that every shard exists and is long enough, before any is read.

    Raises SemblanceError for the first that is missing or shorter than its manifest requires.
    """
    for out in dict.fromkeys(shard.out for shard in shards):
        sizes = {f"shards/{stat.path}": stat.bytes for stat in storage.walk(storage.join(out, "shards"))}
        for shard in shards:
            if shard.out != out:
                continue
            if shard.path not in sizes:
                raise SemblanceError(
                    f"The shard {shard.url} is missing ({shard.samples} pictures); run the same `ingest build` again "
                    "to rebuild it."
                )
            if sizes[shard.path] < shard.least:
                raise SemblanceError(
                    f"The shard {shard.url} is cut short ({sizes[shard.path]} bytes, its manifest needs at least "
                    f"{shard.least}); run the same `ingest build` again to rebuild it."
                )
