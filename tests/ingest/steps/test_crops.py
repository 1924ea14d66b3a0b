"""Crops: geometry laws, and five-point alignment against scikit-image."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from semblance.ingest.steps import crops
from semblance.ingest.steps.crops import CropConfig
from semblance.manifests.records import Face, Frame, Image
from semblance.quality.template import TEMPLATE, similarity, template

RNG = np.random.default_rng(0)
IMAGE: Image = RNG.integers(0, 255, (300, 400, 3)).astype(np.uint8)
FRAME = Frame(index=0, time_s=0.0, image=IMAGE)
MARKS = (160.0, 110.0, 230.0, 112.0, 196.0, 150.0, 170.0, 190.0, 225.0, 192.0)


def face(*box: float) -> Face:
    return Face(box=(box[0], box[1], box[2], box[3]), landmarks=MARKS, confidence=1.0)


@given(x=st.floats(-50, 380), y=st.floats(-50, 280), w=st.floats(1, 500), h=st.floats(1, 500), margin=st.floats(1, 2))
def test_the_square_is_inside_where_it_fits(x: float, y: float, w: float, h: float, margin: float) -> None:
    square = crops.square((x, y, x + w, y + h), margin, 400, 300)
    assert square.side == max(round(margin * max(w, h)), 1)
    for start, length, centre in ((square.x0, 400, x + w / 2), (square.y0, 300, y + h / 2)):
        free = abs(start + square.side / 2 - centre) <= 1
        if square.side <= length:
            assert 0 <= start <= length - square.side
            assert free or start in (0, length - square.side)
        else:
            assert free


def test_without_resampling_pixels_are_copied() -> None:
    crop = crops.cut(FRAME, face(120, 80, 220, 180), CropConfig(size=130))
    assert (crop.geometry.x0, crop.geometry.y0, crop.geometry.side) == (105, 65, 130)
    assert np.array_equal(crop.image, IMAGE[65:195, 105:235])
    assert crop.box_in_probe == (15, 15, 115, 115)


def test_edge_pixels_are_repeated_outside_the_frame() -> None:
    crop = crops.cut(FRAME, face(0, 0, 400, 290), CropConfig(size=520, margin=1.3))
    assert crop.geometry.side == 520
    assert (crop.geometry.x0, crop.geometry.y0) == (-60, -115)
    assert np.array_equal(crop.image[0, 60:460], IMAGE[0])
    assert np.array_equal(crop.image[200, :60], np.repeat(IMAGE[85, :1], 60, axis=0))


def test_alignment_is_least_squares() -> None:
    """The transform equals scikit-image's estimate; the template at its reference size is unchanged."""
    target = template(256, 1.3)
    source = np.array(MARKS).reshape(5, 2)
    ours = similarity(source, target)
    theirs = SimilarityTransform.from_estimate(source, target).params[:2]
    assert np.allclose(ours, theirs)
    assert np.allclose(template(112, 1.0), TEMPLATE)


@settings(deadline=None, max_examples=30)
@given(angle=st.floats(-60, 60), scale=st.floats(0.5, 3), shift=st.floats(-20, 20))
def test_aligned_landmarks_land_on_the_template(angle: float, scale: float, shift: float) -> None:
    turned = SimilarityTransform(scale=scale, rotation=np.radians(angle), translation=(180 + shift, 140))
    marks = turned(TEMPLATE - 56)
    turned_face = Face(box=(100, 60, 260, 240), landmarks=tuple(marks.reshape(-1)), confidence=1.0)
    crop = crops.cut(FRAME, turned_face, CropConfig(kind="aligned", size=256))
    scale_to_image = 256 / crop.probe.shape[0]
    landmarks = np.array(crop.landmarks_in_probe).reshape(5, 2) * scale_to_image
    assert np.allclose(landmarks, template(256, 1.3), atol=1e-6)
    assert crop.image.shape == (256, 256, 3)


def test_alignment_shows_the_face_upright() -> None:
    """In a frame whose pixels encode their position, the crop's pixels must match the transform."""
    rows, columns = np.mgrid[0:300, 0:400]
    ramp = np.stack([columns / 400 * 255, rows / 300 * 255, np.zeros_like(rows)], axis=2).astype(np.uint8)
    crop = crops.cut(Frame(index=0, time_s=0.0, image=ramp), face(140, 80, 250, 210), CropConfig(kind="aligned"))
    scale = 224 / crop.probe.shape[0]
    x, y = np.array(crop.landmarks_in_probe[:2]) * scale
    value = crop.image[round(y), round(x)].astype(float)
    assert abs(value[0] / 255 * 400 - MARKS[0]) < 4
    assert abs(value[1] / 255 * 300 - MARKS[1]) < 4
