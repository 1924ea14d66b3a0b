"""The same picture, cut, sized and encoded anew, is told from another picture of the like."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from semblance.ingest.demo import people
from semblance.manifests.records import Image
from semblance.quality import codec
from semblance.quality.duplicates.pixel_match import ALIKE, agreeing, likeness


def _scene(number: int, moment: float = 0.3) -> Image:
    """A frame of the synthetic demo: (360, 480, 3)."""
    person = people.make_person(number)
    return people.render([(person, (240.0, 185.0), 1.15)], person.background, moment, 0.0, (480, 360))


def _crop(frame: Image, x: int, y: int, side: int) -> tuple[Image, tuple[float, float, float, float]]:
    height, width = frame.shape[:2]
    place = (x / width, y / height, (x + side) / width, (y + side) / height)
    return cv2.resize(frame[y : y + side, x : x + side], (224, 224), interpolation=cv2.INTER_CUBIC), place  # type: ignore[return-value]


def _encoded(image: Image, quality: int) -> Image:
    return codec.decode(codec.encode(image, codec.EncodingConfig(quality=quality)))


@pytest.mark.parametrize(("x", "y", "side", "quality", "scale"), [
    (150, 90, 190, 95, 1.0), (156, 86, 190, 40, 1.0), (144, 95, 180, 70, 0.5), (150, 90, 205, 60, 1.5),
])  # fmt: skip
def test_a_copy_is_like_its_original(x: int, y: int, side: int, quality: int, scale: float) -> None:
    """Whatever the crop and the size: the face is found a few pixels beside, the clip was sized."""
    frame = _scene(3)
    image, place = _crop(frame, 150, 90, 190)
    sized = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    other, other_place = _crop(_encoded(sized, quality), *(round(value * scale) for value in (x, y, side)))  # type: ignore[arg-type]
    assert likeness(image, other, place, other_place) > ALIKE
    assert likeness(image, other, place, other_place) == pytest.approx(
        likeness(other, image, other_place, place), abs=0.02
    )


def test_other_people_and_other_moments_are_not() -> None:
    image, place = _crop(_scene(3), 150, 90, 190)
    for number in (11, 15, 20, 35):
        other, _ = _crop(_scene(number), 150, 90, 190)
        assert likeness(image, other, place, place) < 0.8
    turned, _ = _crop(_scene(3, 0.75), 150, 90, 190)
    assert likeness(image, turned, place, place) < ALIKE
    assert likeness(image, np.ascontiguousarray(image[:, ::-1])) < 0.8
    assert likeness(image, np.full_like(image, 128), place, place) == 0


def test_crops_of_unknown_place_are_compared_whole() -> None:
    image, place = _crop(_scene(3), 150, 90, 190)
    assert likeness(image, _encoded(image, 30)) > ALIKE
    far = (0.9, 0.9, 1.0, 1.0)  # nothing in common
    assert likeness(image, _encoded(image, 30), place, far) > ALIKE


def test_matches_count_only_where_pixels_agree() -> None:
    """Frames beside the match are tried; where enough can no longer agree the rest is not looked at."""
    pictures = {name: _crop(_scene(number), 150, 90, 190)[0] for name, number in (("a", 3), ("b", 11))}
    where = {"crop_x0": 150, "crop_y0": 90, "crop_side": 190, "width": 480, "height": 360}
    frames = [[{"sample_id": name} | where] for name in "abab"]
    asked: list[str] = []

    def picture(row: object) -> Image | None:
        asked.append(row["sample_id"])  # type: ignore[index]
        return pictures.get(asked[-1])

    assert len(agreeing(frames, frames, [(i, i) for i in range(4)], picture, 4)) == 4
    assert len(agreeing(frames, frames, [(0, 1), (1, 0)], picture, 2)) == 2  # the neighbour is the same
    asked.clear()
    strangers = [[{"sample_id": "missing"} | where]] * 9
    assert agreeing(strangers, frames, [(i, 0) for i in range(9)], picture, 8) == []
    assert len(asked) == 4  # two misses of two neighbours, then eight can no more be reached
