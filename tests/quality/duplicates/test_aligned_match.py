"""What was done to a picture is read back from two crops of it, whatever the recipe cut."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from semblance.ingest.demo import people
from semblance.ingest.steps import crops
from semblance.ingest.steps.crops import CropConfig
from semblance.manifests.records import Face, Frame, Image
from semblance.quality.duplicates.aligned_match import alike, face_of, features, transformation
from semblance.quality.duplicates.recordings import ALIKE, FEATURES

SIZE = 640, 480
LANDMARKS = np.array([[285.0, 225.0], [350.0, 227.0], [318.0, 262.0], [290.0, 297.0], [343.0, 299.0]])


def _frame(number: int) -> Image:
    """A synthetic person, with the grain that pictures have and drawings have not."""
    person = people.make_person(number)
    image = people.render([(person, (320.0, 245.0), 1.5)], person.background, 0.3, 0.0, SIZE)
    coarse = np.random.default_rng(number).normal(0, 22, (SIZE[1] // 4, SIZE[0] // 4, 1)).astype(np.float32)
    grain = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def _seen(image: Image, landmarks: np.ndarray[Any, Any], config: CropConfig) -> tuple[Image, dict[str, Any]]:
    """The crop of the face and its row, as a build has them."""
    centre, half = landmarks.mean(axis=0), 1.35 * float(np.ptp(landmarks[:, 0]))
    box = (*(centre - np.array((half, 1.2 * half))).tolist(), *(centre + np.array((half, 1.2 * half))).tolist())
    face = Face(box=box, landmarks=tuple(landmarks.reshape(-1).tolist()), confidence=1.0)
    crop = crops.cut(Frame(index=0, time_s=0.0, image=image), face, config)
    return crop.image, {
        "landmarks": list(face.landmarks),
        "crop_x0": crop.geometry.x0,
        "crop_y0": crop.geometry.y0,
        "crop_side": crop.geometry.side,
        "crop_kind": config.kind,
        "crop_margin": config.margin,
        "width": image.shape[1],
        "height": image.shape[0],
    }


@pytest.mark.parametrize("kind", ["box", "aligned"])
@pytest.mark.parametrize(
    ("mirror", "window", "scale", "pad", "said"),
    [
        (False, (0, 0, 640, 480), 1.0, 0, ""),
        (True, (0, 0, 640, 480), 1.0, 0, "mirrored"),
        (False, (64, 48, 576, 432), 1.0, 0, "cropped to 80% of the width and 80% of the height"),
        (True, (0, 0, 640, 480), 0.75, 0, "mirrored, scaled 0.75"),
        (False, (0, 0, 640, 480), 1.0, 160, "framed, filling 67% of the width"),
    ],
)
def test_what_was_done_is_said(
    kind: str, mirror: bool, window: tuple[int, int, int, int], scale: float, pad: int, said: str
) -> None:
    image = _frame(3)
    x0, y0, x1, y1 = window
    copy = image[y0:y1, x0:x1]
    points = LANDMARKS - (x0, y0)
    copy = np.asarray(cv2.resize(copy, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    points = points * scale
    copy = np.pad(copy, ((0, 0), (pad, pad), (0, 0)))
    points = points + np.array((pad, 0))
    if mirror:
        copy = np.ascontiguousarray(copy[:, ::-1])
        points = np.stack([copy.shape[1] - points[:, 0], points[:, 1]], axis=1)[[1, 0, 2, 4, 3]]
    config = CropConfig.model_validate({"kind": kind})
    (first, one), (second, other) = _seen(image, LANDMARKS, config), _seen(copy, points, CropConfig(size=192))
    a, b = face_of(first, one), face_of(second, other, mirror=mirror)
    assert a is not None
    assert b is not None
    assert alike(a, b) > 0.9
    count, between = features(first, second, mirror=mirror)
    assert count > FEATURES
    assert between is not None
    how = transformation(one, other, (first.shape[1], second.shape[1]), between, mirror=mirror)
    assert str(how) == said
    back, reverse = features(second, first, mirror=mirror)
    assert back > FEATURES
    assert reverse is not None
    undone = transformation(other, one, (second.shape[1], first.shape[1]), reverse, mirror=mirror)
    assert how is not None
    assert undone is not None
    assert how.scale * undone.scale == pytest.approx(1, abs=0.02)
    assert (how.mirrored, how.shown) == (undone.mirrored, pytest.approx(undone.filled, abs=0.02))


def test_other_people_are_not_alike() -> None:
    seen = [_seen(_frame(number), LANDMARKS, CropConfig()) for number in (3, 11, 15, 20)]
    faces = [face_of(*one) for one in seen]
    for place, first in enumerate(faces):
        for other in range(place):
            second = faces[other]
            assert first is not None
            assert second is not None
            assert alike(first, second) < ALIKE
            assert features(seen[place][0], seen[other][0], mirror=False)[0] <= FEATURES


def test_faces_of_unknown_place_are_not_compared() -> None:
    image, row = _seen(_frame(3), LANDMARKS, CropConfig())
    unknown = row | {"landmarks": None}
    assert face_of(image, unknown) is None
    _, between = features(image, image, mirror=False)
    assert between is not None
    assert transformation(unknown, row, (224, 224), between, mirror=False) is None
    assert features(np.zeros_like(image), image, mirror=False) == (0, None)
    nowhere = transformation(row, row | {"width": None}, (224, 224), between, mirror=False)
    assert nowhere is not None
    assert nowhere.shown is None
