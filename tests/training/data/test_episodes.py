"""Episodes: families stay on one side, sides are balanced, and nothing but ids and the generator decides."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests.errors import SemblanceError
from semblance.training.data import episodes
from semblance.training.data.episodes import Source

METHODS = ("Deepfakes", "FaceSwap", None)
unit = st.tuples(st.sampled_from(["ffpp", "dfdc"]), st.integers(0, 5), st.sampled_from([*METHODS, "real"]))


def of(drawn: list[tuple[str, int, str | None]]) -> tuple[list[Source], list[bool]]:
    sources = [Source(dataset=name, family=f"f{family}", method=method) for name, family, method in drawn]
    return sources, [method != "real" for _, _, method in drawn]


@given(st.lists(unit, max_size=60), st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**32))
def test_no_family_is_on_both_sides(
    drawn: list[tuple[str, int, str | None]], shots: int, queries: int, most: int, seed: int
) -> None:
    units, fakes = of(drawn)

    def draw() -> list[episodes.Episode]:
        rng = np.random.default_rng(seed)
        return episodes.draw(units, fakes, shots=shots, queries=queries, most=most, rng=rng)

    found = draw()
    assert len(found) <= most
    assert len({(one.dataset, one.method) for one in found}) == len(found)
    sides: dict[bool, set[tuple[str, str]]] = {False: set(), True: set()}
    for one in found:
        for query, places, limit in ((False, one.support, shots), (True, one.query, queries)):
            half = len(places) // 2
            assert 1 <= half <= limit
            assert len(set(places.tolist())) == len(places) == 2 * half
            assert not any(fakes[place] for place in places[:half])
            assert all(fakes[place] for place in places[half:])
            assert all(units[place].dataset == one.dataset for place in places)
            assert all(units[place].method == one.method for place in places[half:])
            sides[query] |= {(units[place].dataset, units[place].family) for place in places}
    assert not sides[False] & sides[True]  # of all tasks together
    for one, again in zip(found, draw(), strict=True):
        assert one.support.tolist() == again.support.tolist()
        assert one.query.tolist() == again.query.tolist()


def balanced(families: int, reals: int) -> tuple[list[Source], list[bool]]:
    """Every family has ``reals`` reals, and one fake of each of two methods."""
    rows: list[tuple[str, int, str | None]] = [
        ("ffpp", family, method) for family in range(families) for method in ("real",) * reals + METHODS[:2]
    ]
    return of(rows)


def test_two_families_are_enough_and_sides_are_even() -> None:
    for families, least in ((2, 1), (6, 3)):
        units, fakes = balanced(families, 2)
        for seed in range(20):
            found = episodes.draw(units, fakes, shots=9, queries=9, most=4, rng=np.random.default_rng(seed))
            assert len(found) == 2
            assert all(one.shots == least == len(one.query) // 2 for one in found)
            reals = Counter(place for one in found for place in one.support[:least].tolist())
            assert set(reals.values()) == {1}  # tasks share no real while there are enough


def test_one_family_is_no_task() -> None:
    units, fakes = balanced(1, 2)
    assert not episodes.draw(units, fakes, shots=1, queries=1, most=4, rng=np.random.default_rng(0))


def test_tasks_are_chosen_evenly() -> None:
    units, fakes = balanced(4, 2)
    names = Counter(
        episodes.draw(units, fakes, shots=1, queries=1, most=1, rng=np.random.default_rng(seed))[0].method
        for seed in range(400)
    )
    assert all(140 < count < 260 for count in names.values())
    assert len(names) == 2


def test_sources_of_videos_and_their_tasks() -> None:
    rows = {
        "video_id": ["a", "a", "b", "c"],
        "dataset": ["ffpp"] * 4,
        "family_id": ["f", "f", "f", None],
        "method": ["pristine", "pristine", "FaceSwap", "FaceSwap"],
    }
    known = episodes.sources(pl.DataFrame(rows))
    assert known["b"] == Source(dataset="ffpp", family="f", method="FaceSwap")
    assert known["c"].family == "c"
    assert episodes.tasks(known, {"a": False, "b": True, "c": True}) == {("ffpp", "FaceSwap"): (1, 2)}
    with pytest.raises(SemblanceError, match="The video id a has several"):
        episodes.sources(pl.DataFrame(rows | {"family_id": ["f", "g", "f", None]}))
