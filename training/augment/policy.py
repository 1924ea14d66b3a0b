"""An AutoAugment-style policy for forgeries: pairs of operations that preserve traces of the forgery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import numpy as np

from semblance.manifests.records import Image
from semblance.quality import codec
from semblance.quality.resize import shrink
from semblance.training.augment import operations

Rng = np.random.Generator
Points = operations.Floats  # (5, 2): left eye, right eye, nose, left and right mouth corner, px
Operation = Callable[[Image, float, Points | None, Rng], Image]  # magnitude in [0, 1]
Name = Literal[
    "jpeg", "webp", "resize", "blur", "sharpen", "noise", "gamma", "tint", "saturation", "posterise", "occlude"
]

# Pairs of (operation, probability, magnitude); one pair is drawn per picture, as in AutoAugment (Cubuk et al. 2019).
# AutoAugment's were searched on ImageNet and shear, invert and solarise. Ours were not searched: they combine what
# happens to forgeries in distribution with occluded face parts (as in Seferbekov's DFDC solution). Geometric operations
# are excluded, since seams and textures do not survive them.
POLICY: Final[tuple[tuple[tuple[Name, float, float], tuple[Name, float, float]], ...]] = (
    (("resize", 0.8, 0.5), ("jpeg", 0.8, 0.4)),
    (("jpeg", 0.8, 0.7), ("jpeg", 0.6, 0.3)),
    (("webp", 0.8, 0.5), ("resize", 0.4, 0.3)),
    (("blur", 0.7, 0.4), ("sharpen", 0.7, 0.6)),
    (("sharpen", 0.8, 0.5), ("webp", 0.6, 0.6)),
    (("noise", 0.8, 0.4), ("jpeg", 0.7, 0.5)),
    (("noise", 0.6, 0.7), ("blur", 0.6, 0.5)),
    (("gamma", 0.8, 0.6), ("tint", 0.6, 0.5)),
    (("saturation", 0.8, 0.7), ("gamma", 0.5, 0.4)),
    (("tint", 0.7, 0.6), ("webp", 0.6, 0.4)),
    (("posterise", 0.5, 0.5), ("noise", 0.6, 0.3)),
    (("occlude", 0.8, 0.5), ("jpeg", 0.5, 0.4)),
    (("occlude", 0.6, 0.8), ("gamma", 0.6, 0.5)),
    (("resize", 0.6, 0.8), ("sharpen", 0.6, 0.8)),
)


def apply(image_HWC: Image, landmarks: Points | None, rng: Rng) -> Image:
    """The picture after one pair of operations, each applied with its probability."""
    for name, probability, magnitude in POLICY[rng.integers(len(POLICY))]:
        if rng.random() < probability:
            image_HWC = OPERATIONS[name](image_HWC, magnitude, landmarks, rng)
    return image_HWC


def _jpeg(image: Image, magnitude: float, _: Points | None, __: Rng) -> Image:
    return codec.degrade(image, round(95 - 60 * magnitude))


def _webp(image: Image, magnitude: float, _: Points | None, __: Rng) -> Image:
    return codec.degrade(image, round(95 - 70 * magnitude), "webp")


def _resize(image: Image, magnitude: float, _: Points | None, rng: Rng) -> Image:
    kinds: tuple[Literal["area", "linear", "nearest"], ...] = ("area", "linear", "nearest")
    return shrink(image, 1 - 0.7 * magnitude, kinds[rng.integers(len(kinds))])


def _blur(image: Image, magnitude: float, _: Points | None, __: Rng) -> Image:
    return operations.blur(image, 0.3 + 1.7 * magnitude)


def _sharpen(image: Image, magnitude: float, _: Points | None, __: Rng) -> Image:
    return operations.sharpen(image, 1.5 * magnitude)


def _noise(image: Image, magnitude: float, _: Points | None, rng: Rng) -> Image:
    return operations.noise(image, 12 * magnitude, rng.standard_normal(image.shape, np.float32))


def _gamma(image: Image, magnitude: float, _: Points | None, rng: Rng) -> Image:
    return operations.gamma(image, float(2.0 ** (_sign(rng) * magnitude)))


def _tint(image: Image, magnitude: float, _: Points | None, rng: Rng) -> Image:
    return operations.tint(image, rng.uniform(-1, 1, 3).astype(np.float32) * 30 * magnitude)


def _saturation(image: Image, magnitude: float, _: Points | None, rng: Rng) -> Image:
    return operations.fade(image, 1 + _sign(rng) * 0.8 * magnitude)


def _posterise(image: Image, magnitude: float, _: Points | None, __: Rng) -> Image:
    return operations.posterise(image, round(7 - 3 * magnitude))


def _occlude(image: Image, magnitude: float, landmarks: Points | None, rng: Rng) -> Image:
    """Occlude eyes, nose or mouth; without landmarks a rectangle of that size anywhere."""
    height, width = image.shape[:2]
    level = int(rng.integers(256))
    if landmarks is None:
        x, y = rng.uniform((0, 0), (width, height))
        return operations.occlude(image, (x, y), (0.2 * magnitude * width, 0.12 * magnitude * height), level)
    eyes, nose, mouth = landmarks[:2], landmarks[2:3], landmarks[3:]
    part = (eyes, nose, mouth)[rng.integers(3)]
    unit = float(np.linalg.norm(eyes[1] - eyes[0])) * magnitude
    spread = float(np.abs(part[0] - part[-1]).max()) / 2
    x, y = part.mean(0)
    return operations.occlude(image, (float(x), float(y)), (spread + 0.4 * unit, 0.4 * unit), level)


def _sign(rng: Rng) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


OPERATIONS: Final[dict[Name, Operation]] = {
    "jpeg": _jpeg,
    "webp": _webp,
    "resize": _resize,
    "blur": _blur,
    "sharpen": _sharpen,
    "noise": _noise,
    "gamma": _gamma,
    "tint": _tint,
    "saturation": _saturation,
    "posterise": _posterise,
    "occlude": _occlude,
}
