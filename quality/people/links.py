"""Which faces are known to be one person, and which are known to be two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from semblance.manifests.overlap import of_recordings

Ints = NDArray[np.int64]
_KEYS: Final = ("dataset", "video_id")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Links:
    """What the data says of N faces.

    ``point_N``: faces with one number are one person, by a known id or one recording; numbers follow the first face.
    ``known_P``: the points' known ids, or None. ``apart_K2``: pairs of points that are two people, since one video
    shows both. Points with two known ids are two people as well.
    """

    point_N: Ints
    known_P: tuple[str | None, ...]
    apart_K2: Ints


def videos(plans: list[pl.DataFrame]) -> pl.DataFrame:
    """One row for each planned video: build, dataset, video_id, label, ..., known and donor_known.

    ``known`` and ``donor_known`` are ids of people: null in a dataset whose ids are recordings.
    """
    parts = []
    for place, plan in enumerate(plans):
        people = not of_recordings(plan)
        ids = {"known": "target_id", "donor_known": "donor_id"}
        parts.append(
            plan.select(
                pl.lit(place, pl.Int32).alias("build"),
                *("dataset", "video_id", "label", "compression", "family_id", "recording_id", "donor_recording_id"),
                *("split", "donor_id"),
                *(pl.col(column if people else "split").alias(name) for name, column in ids.items()),
            ).with_columns(pl.when(pl.lit(people)).then(pl.col(name)).alias(name) for name in ids)
        )
    return pl.concat(parts)


def links(faces: pl.DataFrame, planned: pl.DataFrame, *, withhold: bool = False) -> Links:
    """The links of the rows of ``Faces``; with ``withhold`` as if no known id were given.

    A known id names one person of a video: the one with the most crops. One recording in several videos, or one video
    in several builds, shows one person if each shows one.
    """
    rows = faces.join(
        planned.select("build", *_KEYS, "recording_id", "known"),
        on=["build", *_KEYS],
        how="left",
        maintain_order="left",
    ).with_row_index("face")
    known = [None] * faces.height if withhold else known_of(faces, planned)
    rows = rows.with_columns(known_face=pl.Series(known, dtype=pl.String))
    alone = rows.filter(pl.len().over("build", *_KEYS) == 1)
    points = _Union(faces.height)
    for _, same in rows.drop_nulls("known_face").group_by("dataset", "known_face", maintain_order=True):
        points.join(same["face"].to_list())
    names = {face: name for face, name in enumerate(known) if name is not None}
    for keys in (["dataset", "video_id"], ["dataset", "recording_id"]):
        for _, same in alone.drop_nulls(keys[1]).group_by(keys, maintain_order=True):
            members = same["face"].to_list()
            held = {names[points.first(face)] for face in members if points.first(face) in names}
            if len(held) <= 1:  # a recording with two ids is a contradiction of the dataset: ids win
                points.join(members)
                names |= {points.first(members[0]): name for name in held}
    point_N, count = points.numbers()
    ids: list[str | None] = [None] * count
    for face, name in enumerate(known):
        if name is not None:
            ids[point_N[face]] = name
    return Links(point_N=point_N, known_P=tuple(ids), apart_K2=_apart(rows, point_N))


def known_of(faces: pl.DataFrame, planned: pl.DataFrame) -> list[str | None]:
    """The known id of each face; None for the other people of a video, whom no id names."""
    rows = faces.with_row_index("face").join(
        planned.select("build", *_KEYS, "known"), on=["build", *_KEYS], how="left", maintain_order="left"
    )
    main = (
        rows.drop_nulls("known")
        .sort("crops", "person", descending=[True, False])
        .group_by("build", *_KEYS, maintain_order=True)
        .first()
    )
    found: list[str | None] = [None] * faces.height
    for face, name in main.select("face", "known").iter_rows():
        found[face] = name
    return found


def _apart(rows: pl.DataFrame, point_N: Ints) -> Ints:
    """Pairs of points in one video, each once."""
    numbered = rows.select("build", *_KEYS, point=pl.Series(point_N)).unique()
    pairs = numbered.join(numbered, on=["build", *_KEYS], suffix="_other").filter(
        pl.col("point") < pl.col("point_other")
    )
    return pairs.select("point", "point_other").unique().sort("point", "point_other").to_numpy().astype(np.int64)


class _Union:
    """Disjoint sets of the numbers below ``count``; the smallest member leads."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def first(self, one: int) -> int:
        while self._parent[one] != one:
            self._parent[one] = self._parent[self._parent[one]]
            one = self._parent[one]
        return one

    def join(self, members: list[int]) -> None:
        lead = min(self.first(one) for one in members)
        for one in members:
            self._parent[self.first(one)] = lead

    def numbers(self) -> tuple[Ints, int]:
        """The set of each number, counted from 0 in order of their leaders; and how many there are."""
        leaders = [self.first(one) for one in range(len(self._parent))]
        order = {lead: place for place, lead in enumerate(sorted(set(leaders)))}
        return np.array([order[lead] for lead in leaders], np.int64), len(order)
