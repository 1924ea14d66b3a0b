"""Augmentation: repeatable by key, within its ranges, with its probabilities, and steps independent of each other."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.quality import codec
from semblance.quality.resize import shrink
from semblance.training import augment
from semblance.training.augment import blend, operations, policy
from semblance.training.augment.config import AugmentConfig, PolicyConfig
from semblance.training.data.worker import Transform

OFF: dict[str, Any] = {
    "p": 1.0,
    "size": 48,
    "flip": 0.0,
    "rotation": {"p": 0.0},
    "crop": {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)},
    "jitter": {"p": 0.0},
    "gridmask": {"p": 0.0},
    "jpeg": {"p": 0.0},
    "frequency": {"p": 0.0},
    "compression": {"p": 0.0},
}
LANDMARKS = np.array([[17, 20], [31, 20], [24, 27], [19, 34], [29, 34]], np.float32)


def picture(side: int = 48, seed: int = 0) -> np.ndarray:
    """Smooth patches with some texture, different at every position."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.uniform(30, 225, (5, 5, 3)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(coarse + rng.normal(0, 4, coarse.shape), 0, 255).astype(np.uint8)


def build(**values: Any) -> Transform:
    return augment.build(AugmentConfig.model_validate(OFF | values))


def within(count: int, of: int, p: float) -> bool:
    """Whether the count is within four standard deviations of its expectation."""
    return abs(count - of * p) <= 4 * math.sqrt(of * p * (1 - p)) + 1e-9


def changed(transform: Transform, keys: int = 300) -> np.ndarray:
    image = picture()
    return np.array([not np.array_equal(transform(image, LANDMARKS, str(key)), image) for key in range(keys)])


def test_equal_keys_give_equal_pictures_in_any_order_and_process() -> None:
    config = AugmentConfig(size=48, policy=PolicyConfig(p=0.5))
    one, two = augment.build(config), pickle.loads(pickle.dumps(augment.build(config)))
    keys = [f"0-{epoch}-0-{sample}" for epoch in range(2) for sample in ("a", "b", "c", "d", "e")]
    first = {key: one(picture(), LANDMARKS, key) for key in keys}
    second = {key: two(picture(), LANDMARKS.reshape(-1), key) for key in reversed(keys)}
    assert all(np.array_equal(first[key], second[key]) for key in keys)
    assert len({image.tobytes() for image in first.values()}) > 6


@given(side=st.integers(20, 90), width=st.integers(20, 90), key=st.text(max_size=8))
@settings(max_examples=40)
def test_results_have_the_size_and_the_source_is_unchanged(side: int, width: int, key: str) -> None:
    image = picture(90)[:side, :width]
    before = image.copy()
    answer = augment.build(AugmentConfig(size=32, p=0.9, policy=PolicyConfig(p=0.5)))(image, None, key)
    assert (answer.shape, answer.dtype) == ((32, 32, 3), np.uint8)
    assert answer.flags.c_contiguous
    assert np.array_equal(image, before)


def test_without_augmentation_only_the_size_changes() -> None:
    assert np.array_equal(augment.build(AugmentConfig(p=0, size=48))(picture(), None, "k"), picture())
    small = augment.build(AugmentConfig(p=0, size=24))(picture(), None, "k")
    assert np.array_equal(small, cv2.resize(picture(), (24, 24), interpolation=cv2.INTER_AREA))
    assert not changed(build()).any()  # every step off


STEPS: dict[str, Callable[[float], dict[str, Any]]] = {
    "flip": lambda p: {"flip": p},
    "rotation": lambda p: {"rotation": {"p": p}},
    "jitter": lambda p: {"jitter": {"p": p}},
    "gridmask": lambda p: {"gridmask": {"p": p}},
    "jpeg": lambda p: {"jpeg": {"p": p}},
    "frequency": lambda p: {"frequency": {"p": p}},
    "compression": lambda p: {"compression": {"p": p}},
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_has_its_probability_times_the_overall_one(step: str) -> None:
    assert changed(build(**STEPS[step](1.0)), 20).mean() > 0.9
    hits = changed(build(p=0.7, **STEPS[step](0.4)))
    assert within(int(hits.sum()), len(hits), 0.7 * 0.4)


def test_steps_are_drawn_independently() -> None:
    """Compose itself seeds every step alike, so that equally likely steps would be applied together."""
    image = picture()
    transform = build(p=0.7, flip=0.5, gridmask={"p": 0.5})
    answers = [transform(image, None, str(key)) for key in range(400)]
    masked = np.array([(answer == 0).all(2).mean() > 0.1 for answer in answers])
    left = image[:, ::-1].astype(float)
    flipped = np.array(
        [np.abs(a - left)[a.any(2)].mean() < np.abs(a - image.astype(float))[a.any(2)].mean() for a in answers]
    )
    for count, p in ((masked.sum(), 0.35), (flipped.sum(), 0.35), ((masked & flipped).sum(), 0.175)):
        assert within(int(count), 400, p)


def test_flip_mirrors() -> None:
    assert np.array_equal(build(flip=1.0)(picture(), None, "k"), picture()[:, ::-1])


def test_rotation_stays_within_its_degrees() -> None:
    """A bright ray from the centre shows the angle."""
    image = np.zeros((96, 96, 3), np.uint8)
    cv2.line(image, (48, 48), (90, 48), (255, 255, 255), 1)
    angles = []
    for key in range(60):
        y, x = np.nonzero(build(size=96, rotation={"p": 1.0, "degrees": 15})(image, None, str(key))[..., 0] > 100)
        far = np.hypot(x - 48, y - 48) > 20
        angles.append(math.degrees(math.atan2(float((y[far] - 48).mean()), float((x[far] - 48).mean()))))
    assert max(map(abs, angles)) < 16
    assert min(angles) < -8
    assert max(angles) > 8


def test_crop_takes_its_share_of_the_area() -> None:
    """The slope of a ramp after the crop shows its share."""
    ramp = np.repeat(np.linspace(20, 230, 96)[None, :, None], 96, 0).repeat(3, 2)
    image = np.round(ramp).astype(np.uint8)
    transform = build(size=96, crop={"scale": (0.8, 1.0), "ratio": (1.0, 1.0)})
    sides = [np.polyfit(np.arange(96), transform(image, None, str(key))[48, :, 0], 1)[0] for key in range(60)]
    areas = (np.array(sides) / (210 / 95)) ** 2
    assert areas.min() > 0.78
    assert areas.max() < 1.03
    assert areas.max() - areas.min() > 0.1


@given(cells=st.integers(1, 6), ratio=st.floats(0.2, 0.8), shift=st.tuples(st.floats(0, 1), st.floats(0, 1)))
@settings(max_examples=40)
def test_gridmask_blanks_its_share_and_nothing_else(cells: int, ratio: float, shift: tuple[float, float]) -> None:
    image = np.full((120, 120, 3), 9, np.uint8)
    masked = operations.gridmask(image, cells, ratio, shift)
    assert set(np.unique(masked)) <= {0, 9}
    assert (masked == 0).mean() == pytest.approx(ratio**2, abs=3 * cells / 120)
    rows = (masked == 0).all((1, 2)) if ratio == 1 else (masked == 0).any((1, 2))
    assert rows.mean() == pytest.approx(ratio, abs=1.5 * cells / 120)


@given(start=st.sampled_from([0.0, 0.25, 0.5]), seed=st.integers(0, 5))
def test_spectral_noise_keeps_the_mean_and_what_lies_below_its_start(start: float, seed: int) -> None:
    image = (picture(40, seed) // 3 + 85).astype(np.uint8)  # far from black and white, which would cut
    normal = np.random.default_rng(seed).standard_normal((40, 40)).astype(np.float32)
    noisy = operations.spectral_noise(image, 0.3, start, normal)
    before, after = (scipy.fft.dctn(one.astype(float), axes=(0, 1), norm="ortho") for one in (image, noisy))
    height = np.add.outer(np.arange(40), np.arange(40)) / 80
    assert abs(after[0, 0] - before[0, 0]).max() / 40 < 0.2  # rounding to grey levels
    if start:
        assert np.abs(after - before)[height < start].max() < 2  # rounding
    assert not np.array_equal(noisy, image)
    assert np.array_equal(operations.spectral_noise(image, 0.0, start, normal), image)


def test_jpeg_has_the_qualities_of_its_range() -> None:
    """Every result is the picture at one of the qualities, and the range is used."""
    image = picture()
    known = {codec.degrade(image, quality).tobytes(): quality for quality in range(1, 101)}
    transform = build(jpeg={"p": 1.0, "quality": (70, 95)})
    found = {known[transform(image, None, str(key)).tobytes()] for key in range(150)}
    assert min(found) >= 70
    assert max(found) <= 95
    assert len(found) > 20


@given(first=st.integers(30, 95), second=st.integers(30, 95), down=st.integers(0, 7), right=st.integers(0, 7))
@settings(max_examples=20)
def test_compression_leaves_a_picture_of_the_same_scene(first: int, second: int, down: int, right: int) -> None:
    image = picture()
    for answer in (operations.encode_twice(image, first, second, (down, right)), shrink(image, 0.5, "area")):
        assert answer.shape == image.shape
        assert np.corrcoef(answer.ravel(), image.ravel())[0, 1] > 0.9  # no shift of the scene
        assert not np.array_equal(answer, image)


@given(seed=st.integers(0, 20), factor=st.floats(0, 2), levels=st.tuples(*[st.floats(-60, 60)] * 3))
@settings(max_examples=30)
def test_tones_are_their_formulas(seed: int, factor: float, levels: tuple[float, ...]) -> None:
    """Tables of OpenCV to the bit; its weighted sums but for halves."""
    image, level_C = picture(40, seed), np.array(levels, np.float32)
    real = image.astype(np.float32)
    table = operations.rounded((np.arange(256) / np.float32(255)).astype(np.float32) ** factor * 255)
    assert np.abs(operations.gamma(image, factor).astype(int) - table[image]).max() <= 1
    assert np.array_equal(operations.tint(image, level_C), operations.rounded(real + level_C))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    for answer, expected in (
        (operations.fade(image, factor), grey + factor * (real - grey)),
        (operations.sharpen(image, factor), real + factor * (real - cv2.GaussianBlur(real, (0, 0), 1.0))),
    ):
        assert np.abs(answer - np.clip(expected, 0, 255)).max() <= 0.51


def test_webp_is_a_lossy_picture_of_its_quality() -> None:
    image = picture(96)
    errors = [np.square(codec.degrade(image, quality, "webp") - image.astype(float)).mean() for quality in (30, 60, 90)]
    assert errors == sorted(errors, reverse=True)
    assert 0 < errors[-1] < errors[0] < 60
    slow = cv2.imencode(".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 60])[1]
    default = np.square(codec.decode(slow.tobytes()) - image.astype(float)).mean()
    assert errors[1] == pytest.approx(default, rel=0.25)  # libwebp's default method is no better


@pytest.mark.parametrize("name", policy.OPERATIONS)
@pytest.mark.parametrize("landmarks", [LANDMARKS, None])
def test_the_policys_operations(name: policy.Name, landmarks: np.ndarray | None) -> None:
    image, before = picture(), picture()
    answer = policy.OPERATIONS[name](image, 0.8, landmarks, np.random.default_rng(3))
    assert (answer.shape, answer.dtype) == (image.shape, np.uint8)
    assert np.array_equal(image, before)
    assert not np.array_equal(answer, image)
    assert np.corrcoef(answer.ravel(), image.ravel())[0, 1] > 0.5  # the scene stays where it is


def test_the_policy_uses_all_operations() -> None:
    assert {name for pair in policy.POLICY for name, _, _ in pair} == set(policy.OPERATIONS)
    hits = changed(build(policy=PolicyConfig(p=0.5)), 200)
    assert 0.5 * 0.5 < hits.mean() < 0.5 * 1.1


@given(angle=st.floats(-180, 180), scale=st.floats(0.5, 2), mirrored=st.booleans(), seed=st.integers(0, 20))
@settings(max_examples=40)
def test_the_hull_contains_the_landmarks_of_any_face(angle: float, scale: float, mirrored: bool, seed: int) -> None:
    turn = math.radians(angle)
    points = (LANDMARKS - LANDMARKS.mean(0)) * scale * ([-1, 1] if mirrored else [1, 1])
    points = points @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]) + 60
    mask = blend.hull((120, 120, 3), points.astype(np.float32), np.random.default_rng(seed))
    assert set(np.unique(mask)) == {0.0, 1.0}
    assert all(mask[round(y), round(x)] == 1 for x, y in points)
    assert 0.02 * scale**2 < mask.mean() < 0.4


def test_self_blending_changes_the_face_with_its_probability() -> None:
    image, points = picture(112), LANDMARKS * (112 / 48)
    forge = augment.forge(AugmentConfig.model_validate({"self_blend": {"p": 0.3}}))
    answers = [forge(image, points, str(key)) for key in range(200)]
    fakes = [answer for answer in answers if answer is not None]
    assert within(len(fakes), 200, 0.3)
    assert all((fake.shape, fake.dtype) == (image.shape, np.uint8) for fake in fakes)
    assert all((fake != image).any() for fake in fakes)
    again = augment.forge(AugmentConfig.model_validate({"self_blend": {"p": 0.3}}))
    for key in range(20, 0, -1):
        once_more, before = again(image, points, str(key)), answers[key]
        assert (once_more is None) == (before is None)
        assert once_more is None or before is None or np.array_equal(once_more, before)
    assert forge(image, None, "0") is None
    assert augment.forge(AugmentConfig())(image, points, "0") is None


@given(angle=st.floats(-3, 3), scale=st.floats(0.5, 2), shift=st.tuples(st.floats(-9, 9), st.floats(-9, 9)))
def test_the_mask_at_half_the_size_is_moved_as_the_picture(
    angle: float, scale: float, shift: tuple[float, float]
) -> None:
    to_23 = np.array(
        [
            [scale * math.cos(angle), -scale * math.sin(angle), shift[0]],
            [scale * math.sin(angle), scale * math.cos(angle), shift[1]],
        ],
        np.float32,
    )
    half_23 = blend._halved(to_23)
    for point in ((0, 0), (10, 3), (97, 41)):
        moved = (to_23 @ (*point, 1) - 0.5) / 2
        assert half_23 @ (*((np.array(point) - 0.5) / 2), 1) == pytest.approx(moved, abs=1e-3)


@pytest.mark.parametrize("shape", [(96, 96), (97, 95)])
def test_a_blend_keeps_one_copy_outside_at_any_side(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The mask, at half the size, covers an odd side too."""
    monkeypatch.setattr(blend, "_recoloured", lambda image, _: 255 - image)
    monkeypatch.setattr(blend, "_shift", lambda *_: np.array([[1, 0, 0], [0, 1, 0]], np.float32))
    image = picture(97)[: shape[0], : shape[1]]
    fakes = [blend.blend(image, LANDMARKS * 2, np.random.default_rng(seed)) for seed in range(8)]
    assert all(fake.shape == image.shape for fake in fakes)
    inside = [fake[44:60, 40:56] for fake in fakes]  # and not its corners, or the reverse
    outside = [fake[-3:, -3:] for fake in fakes]
    for one, other in zip(inside, outside, strict=True):
        kept = np.array_equal(other, image[-3:, -3:])
        assert kept or np.array_equal(other, 255 - image[-3:, -3:])
        assert (one == (image if kept else 255 - image)[44:60, 40:56]).mean() < 0.1


def test_a_blend_of_equal_copies_is_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a change and a shift, the blend returns the picture."""
    monkeypatch.setattr(blend, "_recoloured", lambda image, _: image)
    monkeypatch.setattr(blend, "_shift", lambda *_: np.array([[1, 0, 0], [0, 1, 0]], np.float32))
    image = picture(96)
    assert np.array_equal(blend.blend(image, LANDMARKS * 2, np.random.default_rng(0)), image)


def test_a_blend_has_a_seam_and_not_a_new_picture() -> None:
    """Outside the hull a fake equals one of the two copies, inside it is a mixture of them."""
    image, points = picture(96), LANDMARKS * 2
    untouched = 0
    for seed in range(20):
        fake = blend.blend(image, points, np.random.default_rng(seed))
        corners = (fake[:6, :6] == image[:6, :6]).all()
        centre = (fake[44:60, 40:56] == image[44:60, 40:56]).all()
        assert not (corners and centre)
        untouched += corners
    assert 3 <= untouched <= 17  # which copy is outside is drawn with probability 0.5
