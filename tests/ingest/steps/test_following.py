"""A face is followed through the frames between the sampled ones, or said to be lost."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from semblance.ingest.steps.boxes import overlap
from semblance.ingest.steps.following import follow
from semblance.manifests.records import Box, Grey

SIZE = (640, 360)


def texture(seed: int, side: int = 90) -> Grey:
    noise = np.random.default_rng(seed).integers(0, 256, (side // 6, side // 6), np.uint8)
    return np.asarray(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


def pictures(places: list[tuple[int, int]], side: int = 90) -> list[Grey]:
    """A patch that moves over a still background."""
    noise = np.random.default_rng(5).integers(0, 256, SIZE[::-1], np.uint8)
    background = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8)
    patch = texture(1, side)
    found = []
    for x, y in places:
        picture = np.array(background)
        picture[y : y + side, x : x + side] = patch
        found.append(picture)
    return found


def box(x: float, y: float, side: float = 90) -> Box:
    return x, y, x + side, y + side


@pytest.mark.parametrize("step", [0, 3, 8, 14])
def test_a_moving_face_is_followed(step: int) -> None:
    places = [(100 + step * i, 100 + step // 2 * i) for i in range(10)]
    end = follow(box(*places[0]), pictures(places), 1.0)
    assert end is not None
    assert overlap(end, box(*places[-1])) > 0.8


def test_boxes_are_in_pixels_of_the_frame() -> None:
    places = [(100 + 6 * i, 100) for i in range(6)]
    end = follow(box(300, 300, 270), pictures(places), 1 / 3)
    assert end is not None
    assert overlap(end, box(390, 300, 270)) > 0.8


def test_a_face_that_is_covered_is_lost() -> None:
    found = pictures([(100, 100)] * 4)
    for picture in found[2:]:
        picture[80:220, 80:220] = texture(9, 140)
    assert follow(box(100, 100), found, 1.0) is None


def test_a_face_too_small_to_follow_is_lost() -> None:
    assert follow(box(100, 100, 6), pictures([(100, 100)] * 2), 1.0) is None


def test_a_face_outside_the_picture_is_lost() -> None:
    assert follow(box(-300, -300), pictures([(100, 100)] * 2), 1.0) is None
