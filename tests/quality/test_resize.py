"""Resizing: one rule for the filter, held against OpenCV's own and against its laws."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests.records import Image
from semblance.quality.resize import Filter, resize, shrink, to_square

SIDES = st.integers(1, 40)


def picture(height: int, width: int) -> Image:
    return np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(height=SIDES, width=SIDES, side=SIDES)
def test_area_down_cubic_up_and_no_change_between(height: int, width: int, side: int) -> None:
    image = picture(height, width)
    made = to_square(image, side)
    assert (made.shape, made.dtype) == ((side, side, 3), np.uint8)
    assert made.flags.c_contiguous
    if (height, width) == (side, side):
        assert np.array_equal(made, image)
    else:
        kind = cv2.INTER_AREA if side < min(height, width) else cv2.INTER_CUBIC
        assert np.array_equal(made, cv2.resize(image, (side, side), interpolation=kind))


@given(side=SIDES, times=st.integers(2, 6))
def test_area_averaging_keeps_the_mean(side: int, times: int) -> None:
    image = picture(side * times, side * times)
    blocks = image.reshape(side, times, side, times, 3).mean(axis=(1, 3))
    assert np.abs(to_square(image, side) - blocks).max() <= 0.5 + 1e-6


def test_a_part_of_a_picture_is_resized_as_its_copy() -> None:
    """A view into a frame gives the same pixels as the crop that was stored."""
    part = picture(64, 48)[5:37, 9:41]
    for side in (17, 32, 50):
        assert np.array_equal(to_square(part, side), to_square(part.copy(), side))


@pytest.mark.parametrize("kind", ["area", "cubic", "linear", "nearest"])
def test_every_filter_leaves_an_even_picture_even(kind: Filter) -> None:
    even = np.full((20, 30, 3), 77, np.uint8)
    assert np.array_equal(resize(even, 13, 44, kind), np.full((44, 13, 3), 77, np.uint8))
    assert np.array_equal(shrink(even, 0.01, kind), even)
    assert np.array_equal(shrink(even, 0.3, kind, "cubic"), even)


def test_what_was_shrunk_has_its_size_and_less_detail() -> None:
    image = picture(40, 30)
    made = shrink(image, 0.25, "area")
    assert made.shape == image.shape
    assert made.std() < image.std() / 2
