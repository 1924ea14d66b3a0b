"""The shards behind a query: what their manifests say of them, and whether they are there."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from semblance.manifests import scan, schema, storage
from semblance.manifests.errors import SemblanceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A tar that is read: what its manifest says of it, so that its end can be checked."""

    out: str  # the build
    path: str  # below it
    samples: int
    checksum: int  # the sum of the CRC-32 of its sample ids: blind to their order
    least: int  # bytes up to the end of the last picture
    upright: bool = True  # crops are squares of the frame, not aligned to landmarks

    @property
    def url(self) -> str:
        return storage.join(self.out, self.path)


def describe(out: str) -> dict[str, Any]:
    """A build's dataset.json: its name, fingerprint, recipe, versions and counts.

    Raises SemblanceError where the build is not finished or no build, or its schema is of another major version.
    """
    where = storage.join(out, "dataset.json")
    try:
        value: dict[str, Any] = json.loads(storage.read_bytes(where))
    except FileNotFoundError as error:
        raise SemblanceError(
            f"{out} holds no finished build (no dataset.json); run `ingest build` to its end."
        ) from error
    except ValueError as error:
        raise SemblanceError(f"{where} is damaged; run the same `ingest build` again.") from error
    if (version := value.get("versions", {}).get("schema")) is not None:
        schema.check_major(out, version)
    return value


def find(outs: Sequence[str], pictures: pl.DataFrame) -> tuple[tuple[Shard, ...], pl.DataFrame]:
    """The shards that hold the pictures of the builds (column ``source`` numbers these), and the pictures with the
    index of theirs in place of its path.
    """
    shards: list[Shard] = []
    for source, out in enumerate(outs):
        used = pictures.filter(pl.col("source") == source)["shard"].unique().sort()
        upright = describe(out).get("recipe", {}).get("crop", {}).get("kind", "box") == "box"
        members = (
            scan(out)
            .filter(pl.col("shard").is_in(used.to_list()))
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
    placed = pictures.join(index, left_on=["source", "shard"], right_on=["source", "path"], maintain_order="left")
    return tuple(shards), placed.with_columns(shard="number").drop("number")


def checksum(names: Sequence[str]) -> int:
    """The sum of the CRC-32 of the names: equal for equal sets, in any order."""
    return sum(zlib.crc32(name.encode()) for name in names)


def check(shards: Sequence[Shard]) -> None:
    """Look for every shard by name and size, before any is read.

    Raises SemblanceError for the first that is missing or shorter than its manifest says.
    """
    for out in dict.fromkeys(shard.out for shard in shards):
        found = {f"shards/{stat.path}": stat.bytes for stat in storage.walk(storage.join(out, "shards"))}
        for shard in shards:
            if shard.out != out:
                continue
            if shard.path not in found:
                raise SemblanceError(
                    f"The shard {shard.url} is missing, and {shard.samples} pictures with it; run the same "
                    "`ingest build` again, it makes the shard anew."
                )
            if found[shard.path] < shard.least:
                raise SemblanceError(
                    f"The shard {shard.url} is cut short ({found[shard.path]} bytes, its manifest needs at least "
                    f"{shard.least}); run the same `ingest build` again, it makes the shard anew."
                )
