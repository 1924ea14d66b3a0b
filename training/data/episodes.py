"""Episodes: the tasks of a batch, each with support and query pictures of families that are not on the other side.

A task is the fakes of one method of a dataset, beside reals of the same dataset. U: units of a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from semblance.manifests.errors import SemblanceError

Place = NDArray[np.int64]
REAL: Final = "real"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the pictures of a video come from. ``method``: of the fake; None if it has no published name."""

    dataset: str
    family: str
    method: str | None

    def part(self, fake: bool) -> tuple[str, str]:
        """What counts as one kind of picture: the reals of a dataset, or the fakes of one of its methods."""
        return self.dataset, f"fake {self.method or ''}" if fake else REAL


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Episode:
    """One task: places of units in the batch, reals first, as many fakes as reals on each side."""

    dataset: str
    method: str | None
    support: Place
    query: Place

    @property
    def shots(self) -> int:
        """Units of each class in the support."""
        return len(self.support) // 2


def sources(pictures: pl.DataFrame) -> dict[str, Source]:
    """The source of every video of a selection's pictures, by its id.

    Raises SemblanceError for an id that stands for videos of different families, whose sides could not be told.
    """
    rows = pictures.select("video_id", "dataset", "family_id", "method").unique().sort("video_id", "dataset")
    twice = rows.filter(pl.col("video_id").is_duplicated())
    if twice.height:
        raise SemblanceError(
            f"The video id {twice['video_id'][0]} has several datasets, families or methods in the builds "
            "trained on, so episodes cannot keep families apart; train on builds whose ids differ."
        )
    return {
        video: Source(dataset=dataset, family=family or video, method=method)
        for video, dataset, family, method in rows.iter_rows()
    }


def tasks(known: Mapping[str, Source], fakes: Mapping[str, bool]) -> dict[tuple[str, str | None], tuple[int, int]]:
    """Every task of these videos, with its numbers of families: those with a real and those with a fake.

    ``fakes``: whether a video has fake pictures.
    """
    reals: dict[str, set[str]] = {}
    found: dict[tuple[str, str | None], set[str]] = {}
    for video, fake in fakes.items():
        one = known[video]
        (found.setdefault((one.dataset, one.method), set()) if fake else reals.setdefault(one.dataset, set())).add(
            one.family
        )
    return {task: (len(reals.get(task[0], ())), len(families)) for task, families in found.items()}


def draw(
    unit_U: Sequence[Source], fake_U: Sequence[bool], *, shots: int, queries: int, most: int, rng: np.random.Generator
) -> list[Episode]:
    """Up to ``most`` tasks of a batch, in random order: those with reals and fakes on both sides.

    Families are dealt to the two sides of the whole batch, so that none is on both, and the pictures of every part are
    shared as evenly as a family at a time allows. A task takes ``shots`` units of each class for support and
    ``queries`` for query, or as many as both classes have there. Tasks of a dataset take different reals while there
    are enough. The result depends on the arguments and ``rng`` alone.
    """
    part_U = [one.part(fake) for one, fake in zip(unit_U, fake_U, strict=True)]
    of_query = _dealt([(one.dataset, one.family) for one in unit_U], part_U, rng)
    by_part: dict[tuple[tuple[str, str], bool], list[int]] = {}
    for place in rng.permutation(len(unit_U)).tolist():
        by_part.setdefault((part_U[place], of_query[place]), []).append(place)
    names = {part: one for one, part in zip(unit_U, part_U, strict=True) if part[1] != REAL}
    taken: Counter[tuple[str, bool]] = Counter()
    found: list[Episode] = []
    for number in rng.permutation(len(names)).tolist():
        part, one = sorted(names.items(), key=lambda item: item[0])[number]
        sides = []
        for query, wanted in ((False, shots), (True, queries)):
            reals, fakes = by_part.get(((one.dataset, REAL), query), []), by_part.get((part, query), [])
            count = min(wanted, len(reals), len(fakes))
            first = taken[one.dataset, query]
            own = [reals[(first + place) % len(reals)] for place in range(count)]
            sides.append(np.asarray([*own, *fakes[:count]], np.int64))
        if len(found) < most and all(map(len, sides)):
            for query, side in zip((False, True), sides, strict=True):
                taken[one.dataset, query] += len(side) // 2
            found.append(Episode(dataset=one.dataset, method=one.method, support=sides[0], query=sides[1]))
    return found


def _dealt(
    family_U: Sequence[tuple[str, str]], part_U: Sequence[tuple[str, str]], rng: np.random.Generator
) -> list[bool]:
    """Whether each unit is of the query side: its family goes where its parts are fewer so far, or by chance."""
    held: dict[tuple[str, str], Counter[tuple[str, str]]] = {}
    for family, part in zip(family_U, part_U, strict=True):
        held.setdefault(family, Counter())[part] += 1
    families = sorted(held)
    more: Counter[tuple[str, str]] = Counter()  # by how much support has more of each part
    side = {}
    for number in rng.permutation(len(families)).tolist():
        counts = held[families[number]]
        excess = sum(more[part] * count for part, count in counts.items())
        query = bool(rng.integers(2)) if excess == 0 else excess > 0
        side[families[number]] = query
        for part, count in counts.items():
            more[part] += -count if query else count
    return [side[family] for family in family_U]
