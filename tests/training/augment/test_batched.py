"""Operations on batches against the operations on single pictures, albumentations, torchvision and scipy.

Differences are in grey levels. Where OpenCV computes with whole numbers, it differs from exact arithmetic by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import albumentations as A  # noqa: N812
import cv2
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
import torchvision.transforms.functional as tv
from albumentations.augmentations.pixel import functional as pixel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semblance.training.augment import batched, draws, operations
from tests.training.augment.test_augment import picture

SIDE, COUNT = 56, 6
PICTURES = [picture(SIDE, seed) for seed in range(COUNT)]
WHOLE = torch.tensor([[0.0, 0.0, SIDE, SIDE]] * COUNT).T
ZERO = torch.zeros(COUNT)


def stacked(pictures: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().contiguous()


def apart(batch_BCHW: Tensor, pictures: list[np.ndarray]) -> np.ndarray:
    """Differences in grey levels; the batch must hold whole ones."""
    assert torch.equal(batch_BCHW, batch_BCHW.round())
    assert (batch_BCHW.min() >= 0, batch_BCHW.max() <= 255) == (True, True)
    return np.abs(batch_BCHW.numpy() - np.stack(pictures).astype(float).transpose(0, 3, 1, 2))


def drawn(low: float, high: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, COUNT).astype(np.float32)


def windows() -> np.ndarray:
    rng = np.random.default_rng(4)
    return np.array([(*rng.integers(0, 8, 2), *rng.integers(40, 48, 2)) for _ in range(COUNT)])


IMAGES = stacked(PICTURES)


def test_flip_and_nothing_are_exact() -> None:
    assert torch.equal(batched.warp(IMAGES, ZERO, ZERO, WHOLE), IMAGES)
    assert torch.equal(batched.warp(IMAGES, ZERO + 1, ZERO, WHOLE), IMAGES.flip(3))
    some = torch.tensor([0.0, 1, 0, 1, 1, 0])
    expected = torch.where(some.view(-1, 1, 1, 1) == 1, IMAGES.flip(3), IMAGES)
    assert torch.equal(batched.warp(IMAGES, some, ZERO, WHOLE), expected)


@pytest.mark.parametrize("degrees", [15.0, 100.0])
def test_rotation_is_that_of_albumentations(degrees: float) -> None:
    """Also in the corners, where the border is reflected."""
    angles = drawn(-degrees, degrees)
    theirs = [
        A.Rotate(limit=(float(a), float(a)), border_mode=cv2.BORDER_REFLECT_101, p=1.0)(image=image)["image"]
        for image, a in zip(PICTURES, angles, strict=True)
    ]
    difference = apart(batched.warp(IMAGES, ZERO, torch.from_numpy(np.radians(angles)), WHOLE), theirs)
    assert difference.max() <= 1
    assert difference.mean() < 0.02


def test_window_is_that_of_opencv() -> None:
    theirs = [
        cv2.resize(image[top : top + height, left : left + width], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        for image, (top, left, height, width) in zip(PICTURES, windows(), strict=True)
    ]
    difference = apart(batched.warp(IMAGES, ZERO, ZERO, torch.from_numpy(windows().T).float()), theirs)
    assert difference.max() <= 1
    assert difference.mean() < 0.2


def test_mirror_rotation_and_window_together_interpolate_once() -> None:
    """The composition of the three maps, against scipy's interpolation in double precision."""
    angles, flips = np.radians(drawn(-15, 15)), np.array([0, 1, 0, 1, 1, 0])
    half, expected = (SIDE - 1) / 2, []
    for image, angle, flip, (top, left, height, width) in zip(PICTURES, angles, flips, windows(), strict=True):
        y = np.clip((np.arange(SIDE) + 0.5) * height / SIDE - 0.5, 0, height - 1) + top - half
        x = np.clip((np.arange(SIDE) + 0.5) * width / SIDE - 0.5, 0, width - 1) + left - half
        down = math.sin(angle) * x[None, :] + math.cos(angle) * y[:, None] + half
        right = math.cos(angle) * x[None, :] - math.sin(angle) * y[:, None] + half
        source = image[:, ::-1] if flip else image
        one = [
            scipy.ndimage.map_coordinates(source[..., c].astype(float), (down, right), order=1, mode="mirror")
            for c in range(3)
        ]
        expected.append(np.rint(np.stack(one, -1)))
    window = torch.from_numpy(windows().T).float()
    answer = batched.warp(IMAGES, torch.from_numpy(flips).float(), torch.from_numpy(angles).float(), window)
    difference = apart(answer, expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


FACTORS: dict[str, tuple[int, Callable[[np.ndarray, float], np.ndarray], float]] = {
    # albumentations cuts the fraction of a brightness or contrast off, where torchvision and we round
    "brightness": (0, pixel.adjust_brightness_torchvision, 0.6),
    "contrast": (1, pixel.adjust_contrast_torchvision, 0.6),
    "saturation": (2, pixel.adjust_saturation_torchvision, 0.15),
}


@pytest.mark.parametrize("name", FACTORS)
def test_a_factor_is_that_of_albumentations(name: str) -> None:
    place, theirs, mean = FACTORS[name]
    factors = drawn(0.6, 1.6)
    factor_3B = torch.ones(3, COUNT)
    factor_3B[place] = torch.from_numpy(factors)
    order = torch.arange(4)[:, None].expand(4, COUNT)
    expected = [theirs(image, float(factor)) for image, factor in zip(PICTURES, factors, strict=True)]
    difference = apart(batched.jitter(IMAGES, factor_3B, ZERO, order), expected)
    assert difference.max() <= 1
    assert difference.mean() < mean


def test_hue_is_that_of_torchvision_and_near_albumentations() -> None:
    """albumentations rounds hues to 2 degrees and saturations to 1/255 of the value."""
    turns = drawn(-0.5, 0.5)
    answer = batched.hue(IMAGES, torch.from_numpy(turns))
    exact = torch.stack([tv.adjust_hue(image / 255, float(t)) for image, t in zip(IMAGES, turns, strict=True)])
    assert (answer - exact * 255).abs().max() <= 0.51
    theirs = [pixel.adjust_hue_torchvision(image, float(t)) for image, t in zip(PICTURES, turns, strict=True)]
    assert apart(answer, theirs).mean() < 1.5
    assert torch.equal(batched.hue(IMAGES, ZERO), IMAGES)
    greys = IMAGES[:, :1].expand(-1, 3, -1, -1)
    assert torch.equal(batched.hue(greys, torch.from_numpy(turns)), greys)


@pytest.mark.parametrize("order", draws.ORDERS[::5])
def test_the_four_are_applied_in_their_order(order: tuple[int, ...]) -> None:
    """Against torchvision on each picture, rounded after each step."""
    factors = np.stack([drawn(0.5, 1.7, seed) for seed in range(3)])
    turns = drawn(-0.3, 0.3)
    apply = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
    expected = []
    for i in range(COUNT):
        image = IMAGES[i]
        for kind in order:
            image = (apply[kind](image / 255, float([*factors[:, i], turns[i]][kind])) * 255).round()
        expected.append(image.permute(1, 2, 0).numpy())
    order_4B = torch.tensor(order)[:, None].expand(4, COUNT)
    answer = batched.jitter(IMAGES, torch.from_numpy(factors), torch.from_numpy(turns), order_4B)
    difference = apart(answer, expected)
    assert np.quantile(difference, 0.999) <= 1
    assert difference.max() <= 12  # a level more or less of a nearly grey pixel is another hue
    assert difference.mean() < 0.05


def test_orders_differ_within_a_batch() -> None:
    orders = torch.tensor(draws.ORDERS[:: 24 // COUNT]).T
    factor_3B, turns = torch.from_numpy(np.stack([drawn(0.5, 1.7, s) for s in range(3)])), torch.full((COUNT,), 0.2)
    together = batched.jitter(IMAGES, factor_3B, turns, orders)
    for i in range(COUNT):
        alone = batched.jitter(IMAGES[i : i + 1], factor_3B[:, i : i + 1], turns[:1], orders[:, i : i + 1])
        assert torch.equal(alone[0], together[i])


@given(start=st.sampled_from([0.0, 0.05, 0.25, 0.5]), strength=st.floats(0, 1), seed=st.integers(0, 50))
@settings(max_examples=20)
def test_spectral_noise_is_that_of_one_picture(start: float, strength: float, seed: int) -> None:
    normal = np.random.default_rng(seed).standard_normal((COUNT, SIDE, SIDE)).astype(np.float32)
    expected = [
        operations.spectral_noise(image, strength, start, one) for image, one in zip(PICTURES, normal, strict=True)
    ]
    difference = apart(batched.spectral_noise(IMAGES, strength, start, torch.from_numpy(normal)), expected)
    assert difference.max() <= 1  # halves
    assert (difference > 0).mean() < 1e-3


def test_normal_numbers_are_normal_and_independent() -> None:
    numbers = batched.normal(torch.arange(40), 61, 47)
    assert numbers.shape == (40, 61, 47)
    assert scipy.stats.kstest(numbers.flatten().numpy().astype(float), "norm").pvalue > 1e-3
    flat = numbers.flatten(1).double().numpy()
    between = np.corrcoef(flat) - np.eye(40)  # neighbouring seeds
    assert np.abs(between).max() < 5 / math.sqrt(flat.shape[1])
    for lag in (1, 2, 47, flat.shape[1] // 2, flat.shape[1] // 2 + 1):
        assert abs(np.corrcoef(flat[:, lag:].ravel(), flat[:, :-lag].ravel())[0, 1]) < 5 / math.sqrt(flat.size / 2)
    pixel_variances = numbers.double().var(0).numpy() * 39
    assert scipy.stats.kstest(pixel_variances.ravel(), "chi2", (39,)).pvalue > 1e-3
    assert torch.equal(batched.normal(torch.tensor([7]), 61, 47)[0], numbers[7])


@given(cells=st.integers(1, 6), ratio=st.floats(0.2, 0.8), seed=st.integers(0, 30))
@settings(max_examples=30)
def test_gridmask_is_that_of_one_picture(cells: int, ratio: float, seed: int) -> None:
    shift = np.random.default_rng(seed).random((2, COUNT)).astype(np.float32)
    expected = [
        operations.gridmask(image, cells, ratio, (float(shift[0, i]), float(shift[1, i])))
        for i, image in enumerate(PICTURES)
    ]
    assert apart(batched.gridmask(IMAGES, cells, ratio, torch.from_numpy(shift)), expected).max() == 0


def test_operations_leave_their_pictures_alone() -> None:
    before, order = IMAGES.clone(), torch.arange(4)[:, None].expand(4, COUNT)
    calls: list[Any] = [
        batched.warp(IMAGES, ZERO, ZERO + 0.1, WHOLE),
        batched.jitter(IMAGES, torch.full((3, COUNT), 1.2), ZERO + 0.1, order),
        batched.spectral_noise(IMAGES, 0.3, 0.0, torch.ones(COUNT, SIDE, SIDE)),
        batched.gridmask(IMAGES, 3, 0.5, torch.zeros(2, COUNT)),
    ]
    assert torch.equal(IMAGES, before)
    assert not any(torch.equal(one, before) for one in calls)
