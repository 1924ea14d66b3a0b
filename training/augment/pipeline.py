"""The augmentation of one picture: the configured steps in order, seeded by the picture's key."""

from __future__ import annotations

import os
import random
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise the import looks for a newer release online

import albumentations as A  # noqa: N812
import cv2
import numpy as np

from semblance.manifests.ids import digest
from semblance.manifests.records import Image
from semblance.quality import codec
from semblance.quality.resize import shrink, to_square
from semblance.training.augment import operations, policy
from semblance.training.augment.config import AugmentConfig, CompressionConfig
from semblance.training.augment.draws import Draws


class Augment:
    """Changes a picture by a key; equal keys give equal changes, on any worker and in any order.

    ``image``: (H, W, 3) uint8 RGB. ``landmarks``: five points in px, as 10 numbers or (5, 2), or None. ``key``: seed,
    epoch and sample. Returns (size, size, 3) uint8. No step invalidates the label.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self.config = config
        self._steps = A.Compose(_steps(config), p=config.p)

    def __call__(self, image: Image, landmarks: operations.Floats | None, key: str) -> Image:
        # One stream of random numbers for all steps. Compose itself gives every step the same seed: equally likely
        # steps would then be applied together or not at all.
        seed = int(digest("augment", key)[:16], 16)
        self._steps.set_random_state(np.random.default_rng(seed), random.Random(seed))
        points = None if landmarks is None else np.asarray(landmarks, np.float32).reshape(5, 2)
        changed: Image = self._steps(image=image, landmarks=points)["image"]
        return to_square(changed, self.config.size)


class Encode:
    """``Augment`` where a device does the other steps: policy and encoders, on the pictures whose row augments them.

    Arguments and result are those of ``Augment``.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self.config = config
        self._draws = Draws(config)
        self._probabilities = config.policy.p, config.compression.p, config.jpeg.p

    def __call__(self, image: Image, landmarks: operations.Floats | None, key: str) -> Image:
        config = self.config
        if self._draws.applied(key):
            rng = np.random.default_rng(int(digest("augment", key)[:16], 16))
            with_policy, with_compression, with_jpeg = rng.random(3) < self._probabilities
            if with_policy:
                points = None if landmarks is None else np.asarray(landmarks, np.float32).reshape(5, 2)
                image = policy.apply(image, points, rng)
            if with_compression:
                image = _compressed(image, config.compression, rng)
            if with_jpeg:
                image = codec.degrade(image, int(rng.integers(*config.jpeg.quality, endpoint=True)))
        return to_square(image, config.size)


def build(config: AugmentConfig) -> Augment | Encode:
    """The augmentation of single pictures; ``forge`` and ``mix`` change labels and are separate."""
    return Augment(config) if config.on == "workers" else Encode(config)


def _steps(config: AugmentConfig) -> list[A.BasicTransform]:
    """The steps in order, from changes that occur in the wild to those that only a trainer makes.

    The policy comes first, while the landmarks are still valid. GridMask comes last, so no encoder blurs its edges.
    """
    jitter = config.jitter
    return [
        _Policy(p=config.policy.p),
        A.HorizontalFlip(p=config.flip),
        A.Rotate(limit=config.rotation.degrees, border_mode=cv2.BORDER_REFLECT_101, p=config.rotation.p),
        A.RandomResizedCrop(
            size=(config.size, config.size),
            scale=config.crop.scale,
            ratio=config.crop.ratio,
            area_for_downscale="image",
            p=1.0,
        ),
        A.ColorJitter(
            brightness=_around_one(jitter.brightness),
            contrast=_around_one(jitter.contrast),
            saturation=_around_one(jitter.saturation),
            hue=(-jitter.hue, jitter.hue),
            p=jitter.p,
        ),
        _Frequency(config, p=config.frequency.p),
        _Compression(config, p=config.compression.p),
        _Jpeg(config, p=config.jpeg.p),
        _GridMask(config, p=config.gridmask.p),
    ]


def _around_one(value: float) -> tuple[float, float]:
    return 1 - value, 1 + value


class _Step(A.ImageOnlyTransform):  # type: ignore[misc]  # albumentations publishes no types
    """A step that draws from the shared stream and applies one of the operations."""

    def __init__(self, config: AugmentConfig | None = None, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.config = config or AugmentConfig()

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return {"landmarks": data.get("landmarks")}

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        return ("config",)


class _Policy(_Step):
    def apply(self, img: Image, landmarks: operations.Floats | None, **_: Any) -> Image:
        return policy.apply(img, landmarks, self.random_generator)


class _Frequency(_Step):
    def apply(self, img: Image, **_: Any) -> Image:
        normal_HW = self.random_generator.standard_normal(img.shape[:2], np.float32)
        return operations.spectral_noise(img, self.config.frequency.strength, self.config.frequency.start, normal_HW)


class _Compression(_Step):
    def apply(self, img: Image, **_: Any) -> Image:
        return _compressed(img, self.config.compression, self.random_generator)


class _Jpeg(_Step):
    def apply(self, img: Image, **_: Any) -> Image:
        return codec.degrade(img, int(self.random_generator.integers(*self.config.jpeg.quality, endpoint=True)))


class _GridMask(_Step):
    def apply(self, img: Image, **_: Any) -> Image:
        down, right = self.random_generator.random(2).tolist()
        return operations.gridmask(img, self.config.gridmask.cells, self.config.gridmask.ratio, (down, right))


def _compressed(image: Image, config: CompressionConfig, rng: np.random.Generator) -> Image:
    """One of three, drawn: JPEG twice, WebP, or smaller and enlarged again."""
    match rng.integers(3):
        case 0:
            first, second = rng.integers(*config.quality, size=2, endpoint=True).tolist()
            down, right = rng.integers(1, 8, size=2).tolist()
            return operations.encode_twice(image, first, second, (down, right))
        case 1:
            return codec.degrade(image, int(rng.integers(*config.quality, endpoint=True)), "webp")
        case _:
            return shrink(image, float(rng.uniform(*config.scale)), "area" if rng.random() < 0.5 else "linear")
