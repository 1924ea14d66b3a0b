"""Workarounds for defects of MTCNN, and tracks that never join two people."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from semblance.ingest.demo.people import Person, make_person, render
from semblance.ingest.detector.door import DetectConfig, Detector, weights
from semblance.ingest.steps.tracks import TrackConfig, Tracker
from semblance.manifests.records import Face, Frame, Image

SIZE = (640, 360)


def scene(cast: list[tuple[Person, float]]) -> Image:
    """A frame with people at these x positions, the last one in front."""
    people = [(person, (x, 185.0), 0.98) for person, x in cast]
    return render(people, make_person(3).background, 0.0, 0.0, SIZE)


def tracks(detector: Detector, images: list[Image], step: float = 0.1) -> list[list[Face]]:
    frames = (Frame(index=i, time_s=i * step, image=image) for i, image in enumerate(images))
    found = ((frame, [face for face in detector.find(frame.image) if face.confidence > 0.95]) for frame in frames)
    return [faces for _, faces in Tracker(TrackConfig()).link(found)]


def owners(found: list[list[Face]], truth: list[dict[str, float]]) -> dict[int, set[str]]:
    """Track -> the people at its positions: the nearest one, if nobody else is close."""
    seen: defaultdict[int, set[str]] = defaultdict(set)
    for faces, places in zip(found, truth, strict=True):
        for face in faces:
            x = (face.box[0] + face.box[2]) / 2
            near = sorted((abs(place - x), name) for name, place in places.items())
            if len(near) == 1 or near[1][0] > 80:
                seen[face.track].add(near[0][1])
    return seen


def test_a_small_frame_has_no_face(detector: Detector) -> None:
    assert detector.find(np.zeros((79, 500, 3), np.uint8)) == []
    assert detector.find(np.zeros((80, 80, 3), np.uint8)) == []


def test_results_are_sorted_and_repeatable(detector: Detector) -> None:
    image = scene([(make_person(114), 160), (make_person(118), 470)])
    found = detector.find(image)
    assert len([face for face in found if face.confidence > 0.95]) == 2
    assert found == sorted(found, key=lambda face: (-face.confidence, face.box))
    detector.find(scene([(make_person(0), 320)]))
    assert detector.find(image) == found


def test_weights_are_hashed_without_torch() -> None:
    assert set(weights()) == {"pnet", "rnet", "onet"}
    assert all(len(value) == 64 for value in weights().values())


def test_one_person_is_one_track(detector: Detector) -> None:
    found = tracks(detector, [scene([(make_person(0), 250 + 6 * i)]) for i in range(10)])
    assert {face.track for faces in found for face in faces} == {0}


def test_people_who_cross_share_no_track(detector: Detector) -> None:
    first, second = make_person(114), make_person(118)
    truth = [{"a": 140 + 18.0 * i, "b": 500 - 18.0 * i} for i in range(21)]
    images = [scene([(first, places["a"]), (second, places["b"])]) for places in truth]
    seen = owners(tracks(detector, images), truth)
    assert len(seen) >= 3  # the person behind loses the track at the crossing
    assert all(len(names) == 1 for names in seen.values())


def test_a_face_that_is_missed_for_a_moment_keeps_its_track(detector: Detector) -> None:
    present, empty = scene([(make_person(0), 320)]), scene([])
    found = tracks(detector, [present, present, empty, present, present])
    assert [[face.track for face in faces] for faces in found] == [[0], [0], [], [0], [0]]


def test_a_person_who_stays_away_gets_a_new_track(detector: Detector) -> None:
    present, empty = scene([(make_person(0), 320)]), scene([])
    found = tracks(detector, [present, *[empty] * (TrackConfig().missed + 1), present])
    assert [face.track for faces in found for face in faces] == [0, 1]


def test_somebody_else_at_the_place_of_a_missed_face_gets_a_new_track(detector: Detector) -> None:
    one, empty, other = scene([(make_person(0), 320)]), scene([]), scene([(make_person(33), 320)])
    found = tracks(detector, [one, empty, other])
    assert [face.track for faces in found for face in faces] == [0, 1]


def test_a_hard_cut_begins_new_tracks(detector: Detector) -> None:
    """Another person at the same position, with another background and with the same one."""
    before = render([(make_person(0), (320.0, 185.0), 0.98)], make_person(0).background, 0, 0, SIZE)
    after = render([(make_person(33), (320.0, 185.0), 0.98)], make_person(33).background, 0, 0, SIZE)
    swapped = render([(make_person(33), (320.0, 185.0), 0.98)], make_person(0).background, 0, 0, SIZE)
    for cut in (after, swapped):
        found = tracks(detector, [before, before, cut, cut])
        assert [[face.track for face in faces] for faces in found] == [[0], [0], [1], [1]]


def test_a_long_gap_begins_new_tracks(detector: Detector) -> None:
    image = scene([(make_person(0), 320)])
    found = tracks(detector, [image, image], step=60.0)
    assert [[face.track for face in faces] for faces in found] == [[0], [1]]


def test_the_default_smallest_face_is_80_px() -> None:
    assert DetectConfig().min_face == 80


def test_somebody_else_in_the_same_chair_after_a_long_time_gets_a_new_track(detector: Detector) -> None:
    """All frames between were looked at, and none was a cut."""
    images = [scene([(make_person(number), 320)]) for number in (0, 0, 55, 55)]
    frames = (Frame(index=i, time_s=60.0 * i, image=image, cut=False) for i, image in enumerate(images))
    found = ((frame, [face for face in detector.find(frame.image) if face.confidence > 0.95]) for frame in frames)
    linked = [[face.track for face in faces] for _, faces in Tracker(TrackConfig()).link(found)]
    assert linked == [[0], [0], [1], [1]]
