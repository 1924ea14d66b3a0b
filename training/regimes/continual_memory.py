"""The memory of continual learning: rows of manifests that say which pictures of earlier tasks are seen again.

No picture is kept: a row names its build by fingerprint and folder, and the shards of that build hold the picture.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from semblance.manifests import build_files
from semblance.manifests.errors import SemblanceError
from semblance.manifests.ids import digest
from semblance.training.data import query
from semblance.training.data.query import QueryConfig, Selection

SCHEMA: Final = pl.Schema(
    {
        "build": pl.String,  # fingerprint
        "out": pl.String,  # where it was
        "split_column": pl.String,
        "sample_id": pl.String,
        "video_id": pl.String,
        "dataset": pl.String,
        "target": pl.Int8,
        "method": pl.String,
    }
)
_STRATA: Final = ("dataset", "target", "method")


def rows(selection: Selection, datasets: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """A row for each picture of a train selection. ``datasets``: the records of its builds, as in datasets.json."""
    known = {str(one["out"]): one for one in datasets if one["role"] == "train"}
    builds = pl.DataFrame(
        {
            "source": range(len(selection.outs)),
            "build": [str(known[out]["fingerprint"]) for out in selection.outs],
            "out": list(selection.outs),
            "split_column": [str(known[out]["split_column"]) for out in selection.outs],
        },
        schema_overrides={"source": pl.Int32},
    )
    pictures = selection.pictures.unique(["source", "sample_id"], keep="first", maintain_order=True)
    return pictures.join(builds, on="source", maintain_order="left").select(SCHEMA.names()).cast(SCHEMA)


def kept(found: pl.DataFrame, size: int) -> pl.DataFrame:
    """At most ``size`` of the rows, in equal parts by dataset, in each by label, and in each of these by method.

    What a part lacks goes to the others. Inside a part every video gives one frame before any gives two, in the order
    of hashes of ids. So the result is the same on any machine, and for rows in any order.
    """
    unique = found.unique(["build", "sample_id"], keep="first", maintain_order=True)
    hashes = pl.Series([digest("memory", name) for name in unique["sample_id"]], dtype=pl.String)
    hashed = unique.with_columns(hash=hashes).sort("hash", "build")
    turn = pl.int_range(pl.len()).over("build", "video_id")
    ordered = hashed.with_columns(turn=turn).sort("turn", "hash", "build", *_STRATA)
    return pl.concat([found.clear(), *_parts(ordered, size, _STRATA)]).sort("build", "sample_id")


def _parts(ordered: pl.DataFrame, size: int, by: Sequence[str]) -> Iterator[pl.DataFrame]:
    if not by:
        yield ordered.head(size).select(SCHEMA.names())
        return
    parts = ordered.sort(by[0], nulls_last=True, maintain_order=True).partition_by(by[0], maintain_order=True)
    for part, share in zip(parts, shares([one.height for one in parts], size), strict=True):
        yield from _parts(part, share, by[1:])


def shares(available: Sequence[int], total: int) -> list[int]:
    """``total`` in parts that are as equal as what is available allows; they add up to it, or to all there is."""
    found, left = [0] * len(available), min(total, sum(available))
    ascending = sorted(range(len(available)), key=lambda place: (available[place], place))
    for number, place in enumerate(ascending):
        found[place] = min(available[place], left // (len(available) - number))
        left -= found[place]
    return found


def selection(found: pl.DataFrame, places: Collection[str], where: str) -> Selection:
    """The pictures of the rows, from their builds: where they were, or among ``places``, known by fingerprint.

    ``where``: what needs them, for errors. Raises SemblanceError if a build or one of the pictures is not there.
    """
    selections = []
    for (build, out, column), part in found.group_by("build", "out", "split_column", maintain_order=True):
        found_at = place(str(build), (str(out), *places))
        if found_at is None:
            raise missing(str(out), str(build), where)
        wanted = pl.col("sample_id").is_in(part["sample_id"].implode())
        again = query.select(
            [found_at], "train", QueryConfig(split_column=str(column), verdicts="all"), condition=wanted
        )
        if again.pictures.height < part.height:
            raise SemblanceError(
                f"{where} needs {part.height} pictures of the build {found_at}, and train of it under column {column} "
                f"has {again.pictures.height} of them; restore its manifests."
            )
        selections.append(again)
    return query.together(selections)


def place(build: str, places: Collection[str]) -> str | None:
    """Where the build with this fingerprint is, the first of ``places``; None if it is at none."""
    for out in places:
        try:
            if build_files.finished(out)["fingerprint"] == build:
                return out.rstrip("/")
        except SemblanceError:
            continue
    return None


def missing(out: str, build: str, where: str) -> SemblanceError:
    """What to say of a build that is at no known place."""
    return SemblanceError(
        f"{where} needs pictures of the build {out} (fingerprint {build[:12]}), which is not there any more; put it "
        'back, or name its new place with --set regime.builds=["FOLDER"].'
    )


def to_state(found: pl.DataFrame) -> dict[str, list[Any]]:
    """Rows as lists of strings and numbers, for a checkpoint."""
    return found.to_dict(as_series=False)


def of_state(state: Mapping[str, list[Any]] | None) -> pl.DataFrame:
    """The rows in a checkpoint; none for None."""
    return pl.DataFrame(dict(state) if state is not None else None, schema=SCHEMA)
