"""Persons: tracks of one person are joined over cuts and absences, and two people never are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.ingest.steps.persons import persons
from semblance.ingest.steps.tracks import Sighting, TrackConfig
from semblance.manifests.records import Face

CONFIG = TrackConfig()
FACES = 6  # people of these tests, whose descriptors are far apart


def look(person: int, turned: float = 0.0) -> np.ndarray:
    """A person's descriptor; turned by an angle, it is as like the straight one as its cosine."""
    vector = np.zeros(576, np.float32)
    vector[person], vector[100 + person] = np.cos(turned), np.sin(turned)
    return vector


def sighting(
    track: int,
    place: int,
    person: int,
    *,
    x: float = 0.0,
    shot: int = 0,
    turned: float = 0.0,
    confidence: float = 0.999,
) -> Sighting:
    face = Face(box=(x, 0, x + 100, 120), landmarks=(0.0,) * 10, confidence=confidence, track=track)
    appearance = look(person, turned)
    return Sighting(place=place, shot=shot, face=face, appearance=appearance, tint=(140.0, 140.0))


def test_one_person_before_and_after_a_cut_is_one() -> None:
    found = persons([sighting(0, 0, 1), sighting(1, 1, 1, x=900, shot=1)], CONFIG)
    assert found == {0: 0, 1: 0}


def test_two_people_in_shot_and_reverse_shot_stay_two() -> None:
    rows = [sighting(track, track, track % 2, shot=track) for track in range(6)]
    assert persons(rows, CONFIG) == {0: 0, 1: 1, 2: 0, 3: 1, 4: 0, 5: 1}


def test_a_turned_head_joins_only_where_it_was_lost() -> None:
    turned = np.arccos((CONFIG.nearby + CONFIG.again) / 2)
    near = [sighting(0, 0, 1), sighting(1, 2, 1, x=20, turned=turned)]
    far = [sighting(0, 0, 1), sighting(1, 2, 1, x=900, turned=turned)]
    late = [sighting(0, 0, 1), sighting(1, 90, 1, x=20, turned=turned)]
    cut = [sighting(0, 0, 1), sighting(1, 2, 1, x=20, turned=turned, shot=1)]
    assert len(set(persons(near, CONFIG).values())) == 1
    assert all(len(set(persons(rows, CONFIG).values())) == 2 for rows in (far, late, cut))


def test_people_of_one_frame_are_never_joined_however_alike() -> None:
    twins = [sighting(0, 0, 1), sighting(1, 0, 1, x=500), sighting(2, 1, 1, x=900, shot=1)]
    found = persons(twins, CONFIG)
    assert found[0] != found[1]


def test_two_boxes_of_one_face_are_one_person() -> None:
    assert persons([sighting(0, 0, 1), sighting(1, 0, 1, x=10)], CONFIG) == {0: 0, 1: 0}


@pytest.mark.parametrize("confidence", [0.96, 0.974])
def test_what_the_detector_is_never_sure_of_is_no_person(confidence: float) -> None:
    """Clasped hands reach 0.974 (../shared/clips, kitchen_portrait)."""
    rows = [sighting(0, place, 1) for place in range(4)]
    hands = [sighting(1, place, 2, x=500, confidence=confidence) for place in (1, 3)]
    assert persons([*rows, *hands], CONFIG) == {0: 0, 1: None}


@st.composite
def scenes(draw: st.DrawFn) -> list[Sighting]:
    """Tracks of some people, each in some shot; nobody is twice in a frame."""
    rows = []
    for track in range(draw(st.integers(1, 8))):
        person, shot = draw(st.integers(0, FACES - 1)), draw(st.integers(0, 3))
        turned = draw(st.floats(0, 1.3))
        begin = draw(st.integers(0, 6))
        x = 300.0 * person
        rows += [
            sighting(track, 10 * shot + place, person, x=x, shot=shot, turned=turned)
            for place in range(begin, begin + draw(st.integers(1, 4)))
        ]
    return rows


def owner(row: Sighting) -> int:
    assert row.appearance is not None
    return int(np.argmax(np.maximum(row.appearance[:FACES], row.appearance[100 : 100 + FACES])))


@given(scenes())
def test_no_person_holds_two_people(rows: list[Sighting]) -> None:
    found = persons(rows, CONFIG)
    for first, second in itertools.combinations(rows, 2):
        if found[first.face.track] == found[second.face.track]:
            assert owner(first) == owner(second)
    assert set(found) == {row.face.track for row in rows}
    numbers = sorted({number for number in found.values() if number is not None})
    assert numbers == list(range(len(numbers)))


def first_tracks(found: dict[int, int | None]) -> Sequence[int]:
    return [min(track for track, person in found.items() if person == number) for number in set(found.values())]


@given(scenes())
def test_persons_are_numbered_by_their_first_track(rows: list[Sighting]) -> None:
    first = first_tracks(persons(rows, CONFIG))
    assert list(first) == sorted(first)
