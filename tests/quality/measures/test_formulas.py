"""Every measure against an independent computation."""

from __future__ import annotations

from dataclasses import asdict

import imagehash
import numpy as np
import pytest
import scipy.ndimage
import skimage.color
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pil

from semblance.ingest.demo import people
from semblance.ingest.steps import crops
from semblance.manifests.records import Box, Face, Frame, Geometry, Image, Measures
from semblance.quality import codec, gates
from semblance.quality import measures as meters

LANDMARKS = (40.0, 50.0, 80.0, 50.0, 60.0, 70.0, 45.0, 90.0, 75.0, 90.0)


def picture(seed: int, height: int = 120, width: int = 130) -> Image:
    coarse = np.random.default_rng(seed).uniform(0, 255, (height // 10, width // 10, 3))
    return np.clip(scipy.ndimage.zoom(coarse, (10, 10, 1), order=1), 0, 255).astype(np.uint8)


def face(box: Box, confidence: float = 0.99) -> Face:
    return Face(box=box, landmarks=LANDMARKS, confidence=confidence)


@pytest.mark.parametrize("seed", range(5))
def test_blur_brightness_contrast(seed: int) -> None:
    image = picture(seed)
    grey = meters.grey(image)
    weighted = image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey - weighted).max() <= 1
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    laplacian = scipy.ndimage.convolve(grey.astype(float), kernel, mode="mirror")  # reflect-101
    assert meters.blur(grey) == pytest.approx(laplacian.var())
    assert meters.blur_face(grey, (10.0, 20.0, 70.0, 90.0)) == pytest.approx(laplacian[20:90, 10:70].var())
    assert meters.blur_face(grey, (500.0, 500.0, 600.0, 600.0)) is None
    assert meters.brightness(grey) == pytest.approx(grey.astype(float).mean() / 255)
    assert meters.contrast(grey) == pytest.approx(grey.astype(float).std() / 255)


@pytest.mark.parametrize("seed", range(12))
def test_phash_is_imagehash(seed: int) -> None:
    """On the same 32 x 32 grey picture all bits are equal; the resize alone may turn a few."""
    image = people.make_person(seed).head[20:300, 20:300].astype(np.uint8)
    theirs = int(str(imagehash.phash(Pil.fromarray(image))), 16)
    assert meters.hamming(meters.phash(image), theirs) <= 6
    small = np.repeat(meters.grey(np.ascontiguousarray(image[:32, :32]))[..., None], 3, axis=2)
    assert meters.phash(small) == int(str(imagehash.phash(Pil.fromarray(small[..., 0]))), 16)


def test_face_ratio_of_whole_and_cut_faces() -> None:
    assert meters.face_ratio((100, 100, 176, 200), 640, 480) == pytest.approx((0.76**0.5) / 1.3)
    assert meters.face_ratio((-20, 100, 80, 200), 640, 480) == pytest.approx(0.8**0.5 / 1.3)
    assert meters.face_ratio((700, 100, 800, 200), 640, 480) == 0


@given(x=st.floats(-150, 700), y=st.floats(-150, 500), w=st.floats(20, 300), h=st.floats(20, 300))
def test_face_ratio_by_counting(x: float, y: float, w: float, h: float) -> None:
    xs, ys = np.linspace(x, x + w, 201), np.linspace(y, y + h, 201)
    inside = ((xs >= 0) & (xs < 640)).mean() * ((ys >= 0) & (ys < 480)).mean()
    expected = np.sqrt(inside * w * h) / (1.3 * max(w, h))
    assert meters.face_ratio((x, y, x + w, y + h), 640, 480) == pytest.approx(expected, abs=0.06)


def test_ita_is_scikit_images_lab() -> None:
    colour = np.full((120, 120, 3), (200, 160, 130), np.uint8)
    lab = skimage.color.rgb2lab(colour[:1, :1])[0, 0]
    expected = np.degrees(np.arctan((lab[0] - 50) / lab[2]))
    assert meters.ita(colour, LANDMARKS) == pytest.approx(expected, abs=0.5)


def test_ita_is_null_when_unsure() -> None:
    fine = np.full((120, 120, 3), (200, 160, 130), np.uint8)
    two_lights = fine.copy()
    two_lights[:, 60:] = (90, 50, 20)
    for image in (np.zeros_like(fine), np.full_like(fine, 255), fine[..., ::-1].copy(), two_lights, fine[:40]):
        assert meters.ita(image, LANDMARKS) is None
    assert meters.ita(fine, tuple(value / 10 for value in LANDMARKS)) is None


def test_change_by_plain_numpy() -> None:
    ours, theirs = picture(1, 220, 220), picture(2, 220, 220)
    difference = np.abs(ours.astype(float) - theirs).mean(axis=2)
    box = (50.0, 60.0, 170.0, 180.0)
    found = meters.absolute_difference(ours, theirs)
    assert meters.change(found, box) == pytest.approx(difference[60:180, 50:170].mean(), rel=1e-5)
    inside = [difference[y : y + 12, x : x + 12].mean() for y in range(60, 180, 12) for x in range(50, 170, 12)]
    whole = [difference[y : y + 16, x : x + 16].mean() for y in range(0, 208, 16) for x in range(0, 208, 16)]
    expected = np.percentile(inside, 95) / max(np.median(whole), 0.5)
    assert meters.change_peak(found, box) == pytest.approx(expected, rel=1e-5)
    clear = [
        difference[y : y + 16, x : x + 16].mean()
        for y in range(0, 208, 16)
        for x in range(0, 208, 16)
        if x + 16 <= 50 or x >= 170 or y + 16 <= 60 or y >= 180
    ]
    assert meters.outside(found, box) == pytest.approx(np.median(clear), rel=1e-5)


def test_noise_is_no_change_and_a_patch_is() -> None:
    rng = np.random.default_rng(0)
    base = picture(3, 220, 220)
    noisy = np.clip(base + rng.normal(0, 3, base.shape), 0, 255).astype(np.uint8)
    box = (50.0, 60.0, 170.0, 180.0)
    assert (meters.change_peak(meters.absolute_difference(base, noisy), box) or 0) < 2
    patched = noisy.copy()
    patched[100:140, 80:140] = 255 - patched[100:140, 80:140]
    assert (meters.change_peak(meters.absolute_difference(base, patched), box) or 0) > 3
    assert meters.change(meters.absolute_difference(base, base), box) == 0


def test_the_frame_is_measured_away_from_its_faces() -> None:
    """What lies inside a face's crop changes nothing; one formula with the crops' own measures."""
    frame = picture(3, 800, 800)
    crop = Geometry(x0=210, y0=190, side=330)
    alone = meters.measure_frame(frame, [crop])
    changed = frame.copy()
    changed[190:520, 210:540] = 255 - changed[190:520, 210:540] // 3
    other = meters.measure_frame(changed, [crop])
    names = [name for name in asdict(alone) if name.endswith("_outside")]
    assert len(names) == 5
    assert all(getattr(alone, name) == getattr(other, name) is not None for name in names)
    tiles = [meters.grey(frame[y : y + 96, x : x + 96]) for y in range(52, 800, 200) for x in range(52, 800, 200)]
    everywhere = meters.measure_frame(frame, [])
    assert everywhere.blur_outside == pytest.approx(np.mean([meters.blur(tile) for tile in tiles]))
    assert everywhere.brightness_outside == pytest.approx(np.mean(tiles) / 255)
    assert everywhere.contrast_outside == pytest.approx(np.std(tiles) / 255)
    assert alone.blur_outside != everywhere.blur_outside
    kernel = np.array([[-1, 2, -2], [2, -6, 8], [-2, 8, -12]])  # a quarter of KV, which is symmetric
    kernel = np.pad(kernel, ((0, 2), (0, 2)), mode="reflect") / 12
    rest = np.stack([scipy.ndimage.convolve(tile.astype(float), kernel)[2:-2, 2:-2] for tile in tiles])
    assert everywhere.residual_outside == pytest.approx(np.abs(rest).mean(), rel=1e-6)
    expected = (rest**4).mean() / (rest**2).mean() ** 2
    assert everywhere.residual_kurtosis_outside == pytest.approx(expected, rel=1e-6)


def test_the_residual_knows_noise_from_its_compression() -> None:
    """Gaussian noise has kurtosis 3 and a residual in proportion to it; what JPEG leaves of it has heavier tails."""
    chance = np.random.default_rng(7)
    grey = np.clip(chance.normal(128, 6, (400, 400)), 0, 255).round().astype(np.uint8)
    frame = np.repeat(grey[..., None], 3, axis=2)
    fresh = meters.measure_frame(frame, [])
    gain = np.sqrt(
        (np.array([1, 4, 4, 4, 1, 4, 36, 64, 36, 4, 4, 64, 144, 64, 4, 4, 36, 64, 36, 4, 1, 4, 4, 4, 1])).sum()
    )
    assert fresh.residual_outside == pytest.approx(6 * gain / 12 * np.sqrt(2 / np.pi), rel=0.02)
    assert fresh.residual_kurtosis_outside == pytest.approx(3, abs=0.1)
    worn = meters.measure_frame(codec.degrade(frame, 40), [])
    assert (worn.residual_outside or 0) < (fresh.residual_outside or 0) / 2
    assert (worn.residual_kurtosis_outside or 0) > 3.3
    flat = meters.measure_frame(np.full((400, 400, 3), 90, np.uint8), [])
    assert flat.residual_outside == 0
    assert flat.residual_kurtosis_outside is None


def test_a_frame_full_of_a_face_has_no_outside() -> None:
    measures = meters.measure_frame(picture(3, 400, 400), [Geometry(x0=20, y0=20, side=370)])
    assert measures.blur_outside is measures.residual_outside is measures.residual_kurtosis_outside is None
    assert measures.frame_phash is not None
    assert meters.measure_frame(picture(3, 20, 20)[:3, :3], []).brightness_outside is None


def test_measures_are_blind_to_the_recipes_size() -> None:
    """Measured at min(native side, 224) px, never on invented pixels."""
    frame = Frame(index=0, time_s=0.0, image=picture(5, 400, 600))
    found = []
    for size in (112, 224, 380):
        crop = crops.cut(frame, face((200, 100, 300, 220)), crops.CropConfig(size=size))
        assert crop.image.shape == (size, size, 3)
        found.append(meters.measure(crop, Measures(), frame.image))
    assert found[0] == found[1] == found[2]


@given(
    x=st.floats(-60, 560),
    y=st.floats(-60, 360),
    w=st.floats(20, 200),
    h=st.floats(20, 200),
    kind=st.sampled_from(["box", "aligned"]),
)
def test_nothing_crashes_at_the_edges(x: float, y: float, w: float, h: float, kind: str) -> None:
    marks = (x + 0.3 * w, y + 0.4 * h, x + 0.7 * w, y + 0.4 * h, x + 0.5 * w, y + 0.6 * h, x + 0.35 * w, y + 0.8 * h)
    landmarks = (*marks, x + 0.65 * w, y + 0.8 * h)
    one = Face(box=(x, y, x + w, y + h), landmarks=landmarks, confidence=0.99)
    config = crops.CropConfig.model_validate({"kind": kind})
    frame = Frame(index=0, time_s=0.0, image=picture(7, 400, 600))
    crop = crops.cut(frame, one, config)
    assert crop.image.shape == (224, 224, 3)
    measures = meters.measure(crop, Measures(), frame.image)
    assert measures.brightness is not None
    assert 0 <= measures.brightness <= 1
    gates.judge(one, measures, gates.GatesConfig())


@pytest.mark.parametrize("form", ["jpg", "png", "webp"])
def test_pictures_come_back(form: str) -> None:
    image = picture(9, 224, 224)
    config = codec.EncodingConfig.model_validate({"format": form})
    data = codec.encode(image, config)
    assert data == codec.encode(image, config)
    back = codec.decode(data)
    worst = np.abs(back.astype(int) - image).max()
    assert worst <= 12 if form == "jpg" else worst == 0
    if form == "jpg":
        with Pil.open(__import__("io").BytesIO(data)) as opened:
            assert opened.layer == [(1, 1, 1, 0), (2, 1, 1, 1), (3, 1, 1, 1)]  # type: ignore[attr-defined]  # 4:4:4


def test_bytes_that_are_no_picture_are_refused() -> None:
    for data in (b"", b"nothing"):
        with pytest.raises(Exception, match="picture"):
            codec.decode(data)
