"""Real, hard footage with hand-checked faces, persons and cuts: what today's labels and joins are worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import footage
from tests.benchmarks.footage import Score


@pytest.fixture(scope="module")
def scores(shared: Path) -> dict[str, Score]:
    if not (shared / "clips" / "table.csv").is_file():
        pytest.skip("the sample collections have no clips/ with hand-checked faces")
    return footage.scores(shared / "clips")


def test_no_track_and_no_person_holds_two_people(scores: dict[str, Score]) -> None:
    mixed = {clip: one for clip, one in scores.items() if one.mixed_tracks or one.mixed_persons}
    assert mixed == {}


def test_a_person_in_a_shot_is_hardly_ever_more_than_one_track(scores: dict[str, Score]) -> None:
    total = sum(scores.values(), start=Score())
    assert total.appearances >= 40
    assert total.tracks <= 1.3 * total.appearances


def test_a_person_is_hardly_ever_counted_twice(scores: dict[str, Score]) -> None:
    total = sum(scores.values(), start=Score())
    assert total.persons >= 28
    assert total.named <= 1.15 * total.persons
    assert sum(max(one.named - one.persons, 0) for one in scores.values()) <= 0.15 * total.persons


def test_a_face_in_motion_with_cuts_keeps_its_track(scores: dict[str, Score]) -> None:
    """Three shots of one singer, with motion blur: 20 tracks before the frames between were looked at."""
    assert scores["pillarbox_cuts.mp4"].tracks == 3


def test_hands_are_no_person(scores: dict[str, Score]) -> None:
    assert (scores["kitchen_portrait.mp4"].named, scores["kitchen_portrait.mp4"].false) == (1, 0)


def test_forged_people_are_labelled_and_untouched_ones_never(scores: dict[str, Score]) -> None:
    total = sum(scores.values(), start=Score())
    assert total.altered >= 100
    assert total.labelled >= 0.99 * total.altered
    assert total.untouched >= 60
    assert total.wronged == 0
