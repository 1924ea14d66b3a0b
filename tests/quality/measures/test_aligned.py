"""The hash of an aligned face follows the face: wherever it stands in the frame, whatever its size, mirrored or not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.ingest.demo import people
from semblance.ingest.steps import crops
from semblance.manifests.records import Face, Frame, Grey, Landmarks
from semblance.quality import measures as meters
from semblance.quality.measures.aligned import SIDE, aligned, aligned_phash, cut, mirrored
from semblance.quality.template import similarity

FACE = (150.0, 120.0, 210.0, 122.0, 181.0, 155.0, 156.0, 188.0, 203.0, 190.0)
seeds, shifts = st.integers(0, 2**32), st.integers(-28, 28)  # px: the template stays inside the frame


def noise(seed: int, height: int = 300, width: int = 360) -> Grey:
    """Smooth noise (H, W): there is no flat place in it."""
    coarse = np.random.default_rng(seed).integers(0, 255, (height // 12, width // 12)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def moved(landmarks: Landmarks, x: float, y: float, scale: float = 1.0) -> Landmarks:
    points = np.array(landmarks).reshape(5, 2) * scale + (x, y)
    return tuple(points.reshape(-1).tolist())


def bits(a: int | None, b: int | None) -> int:
    assert a is not None
    assert b is not None
    return meters.hamming(a, b)


@given(seed=seeds, turn=st.floats(-30, 30))
def test_the_hash_of_the_mirror_image_is_the_mirrored_hash(seed: int, turn: float) -> None:
    """By hand: the picture is flipped, and what was a left eye is a right one."""
    picture, landmarks = noise(seed), moved(FACE, turn / 3, -turn / 4)
    flipped = np.ascontiguousarray(picture[:, ::-1])
    right_to_left = [value for place in (1, 0, 2, 4, 3) for value in landmarks[2 * place : 2 * place + 2]]
    by_hand = tuple(picture.shape[1] - value if axis % 2 == 0 else value for axis, value in enumerate(right_to_left))
    assert aligned_phash(*mirrored(picture, landmarks)) == aligned_phash(flipped, by_hand)
    assert aligned_phash(*mirrored(flipped, by_hand)) == aligned_phash(picture, landmarks)


@given(seed=seeds, x=shifts, y=shifts)
def test_the_hash_moves_with_the_face(seed: int, x: int, y: int) -> None:
    picture = noise(seed)
    shifted = np.roll(picture, (y, x), axis=(0, 1))  # what leaves the frame comes in again, far from the face
    assert bits(aligned_phash(picture, FACE), aligned_phash(shifted, moved(FACE, x, y))) <= 2


@given(seed=seeds, scale=st.sampled_from([0.5, 0.75, 1.5, 2.0]))
def test_the_hash_does_not_depend_on_the_size_of_the_frame(seed: int, scale: float) -> None:
    picture = noise(seed)
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    sized = np.asarray(
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), np.uint8
    )
    assert bits(aligned_phash(picture, FACE), aligned_phash(sized, moved(FACE, 0, 0, scale))) <= 4


@given(seed=seeds)
def test_half_of_the_bits_are_set_and_the_highest_says_nothing(seed: int) -> None:
    value = aligned_phash(noise(seed), FACE)
    assert value is not None
    assert value.bit_count() == 31
    assert value < 1 << 63


def test_the_landmarks_lie_on_the_template() -> None:
    """A bright dot at each landmark is found where the template has it, within a pixel and a half."""
    picture = np.zeros((400, 400), np.uint8)
    points = np.array(FACE).reshape(5, 2)
    wanted = np.array([(0.3427, 0.4607), (0.6573, 0.4607), (0.5, 0.6405), (0.3698, 0.8239), (0.6302, 0.8239)]) * SIDE
    matrix = similarity(wanted, points)
    for x, y in wanted @ matrix[:, :2].T + matrix[:, 2]:
        cv2.circle(picture, (round(x), round(y)), 3, 255, -1)
    face = aligned(picture, tuple((wanted @ matrix[:, :2].T + matrix[:, 2]).reshape(-1).tolist()))
    assert face is not None
    rows, columns = np.nonzero(face > 128)
    for x, y in wanted:
        assert np.hypot(columns + 0.5 - x, rows + 0.5 - y).min() < 1.5


def test_what_has_no_face_has_no_hash() -> None:
    assert aligned_phash(noise(0), (5.0,) * 10) is None
    assert meters.measure_picture(np.zeros((64, 64, 3), np.uint8)).aligned_phash is None


@pytest.mark.parametrize("kind", ["box", "aligned"])
def test_the_recipe_of_the_crop_does_not_change_it(kind: str) -> None:
    """So that builds of two recipes can be compared."""
    person = people.make_person(3)
    image = people.render([(person, (240.0, 185.0), 1.15)], person.background, 0.3, 0.0, (480, 360))
    face = Face(box=(190.0, 115.0, 290.0, 255.0), landmarks=moved(FACE, 60, 30), confidence=1.0)
    frame = Frame(index=0, time_s=0.0, image=image)
    hashes = set()
    for config in (crops.CropConfig(), crops.CropConfig(kind=kind, size=96, margin=1.1)):  # type: ignore[arg-type]
        found = meters.measure(crops.cut(frame, face, config), meters.measure_frame(image, []), image)
        hashes.add((found.aligned_phash, found.aligned_phash_mirrored))
    assert len(hashes) == 1
    flipped = np.ascontiguousarray(image[:, ::-1])
    there = cut(flipped, mirrored(image[..., 0], face.landmarks)[1])
    assert there is not None
    assert (aligned_phash(*mirrored(*there)), aligned_phash(*there)) in hashes


@given(seed=seeds, x=shifts, y=shifts, scale=st.sampled_from([1.0, 2.5, 5.0]))
def test_the_part_that_is_cut_is_all_that_counts(seed: int, x: int, y: int, scale: float) -> None:
    picture = noise(seed, 240, 300)
    size = round(300 * scale), round(240 * scale)
    frame = cv2.cvtColor(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB)
    landmarks = moved(FACE, x - 20, y - 20)
    part = cut(np.asarray(frame, np.uint8), moved(landmarks, 0, 0, scale))
    assert part is not None
    assert bits(aligned_phash(*part), aligned_phash(picture, landmarks)) <= 4
    assert cut(np.asarray(frame, np.uint8), moved(landmarks, 3000, 0)) is None
