"""The random numbers of the steps that a device does in batches, drawn in the workers: a short row for each picture.

K: columns of a row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semblance.manifests.ids import digest
from semblance.training.augment.config import AugmentConfig

COLUMNS: Final = (
    "applied",  # 1 if the picture is augmented at all, else the whole row is 0; so are the columns of a step left out
    "flip",  # 1 if mirrored
    "angle",  # of the rotation, in radians
    *("top", "left", "height", "width"),  # the window, in whole px
    "jitter",  # 1 if colours change
    *("brightness", "contrast", "saturation"),  # factors
    "hue",  # in turns
    "order",  # of the four, an index of ORDERS
    "frequency",  # 1 if there is noise on the spectrum
    "seed",  # of that noise, a whole number below 2**24, which float32 holds exactly
    "gridmask",  # 1 if masked
    *("down", "right"),  # offset of the grid, in cells
)
ORDERS: Final = tuple(itertools.permutations(range(4)))  # of brightness, contrast, saturation and hue
SEEDS: Final = 2**24
_TRIES: Final = 10  # of a window, as in torchvision and albumentations; then the whole picture


class Draws:
    """Draws the row of a picture by its key; equal keys give equal rows, on any worker, rank and device."""

    def __init__(self, config: AugmentConfig) -> None:
        self.config = config

    def __call__(self, key: str) -> NDArray[np.float32]:
        """The row (K,) in the order of ``COLUMNS``."""
        if not self.applied(key):
            return np.zeros(len(COLUMNS), np.float32)
        return np.array(list(self._row(_uniform(key))), np.float32)

    def applied(self, key: str) -> bool:
        """Whether the picture is augmented at all: the first column of its row."""
        return int(digest("augmented", key)[:13], 16) / 16**13 < self.config.p

    def _row(self, uniform: Iterator[float]) -> Iterator[float]:
        config = self.config
        yield 1.0
        yield float(next(uniform) < config.flip)
        rotated = next(uniform) < config.rotation.p
        yield rotated * math.radians(config.rotation.degrees * (2 * next(uniform) - 1))
        # every step takes as many numbers whether it is applied or not; the window, which takes more or fewer, is last
        jitter, factors = self._jitter(uniform)
        frequency, seed = next(uniform) < config.frequency.p, int(next(uniform) * SEEDS)
        masked, down, right = next(uniform) < config.gridmask.p, next(uniform), next(uniform)
        yield from self._window(uniform)
        yield from (jitter, *(jitter * factor for factor in factors))
        yield from (frequency, frequency * seed, masked, masked * down, masked * right)

    def _jitter(self, uniform: Iterator[float]) -> tuple[float, tuple[float, ...]]:
        jitter = self.config.jitter
        spreads = (jitter.brightness, jitter.contrast, jitter.saturation)
        applied = float(next(uniform) < jitter.p)
        factors = [1 + spread * (2 * next(uniform) - 1) for spread in spreads]
        hue = jitter.hue * (2 * next(uniform) - 1)
        return applied, (*factors, hue, int(next(uniform) * len(ORDERS)))

    def _window(self, uniform: Iterator[float]) -> tuple[int, int, int, int]:
        """Top, left, height and width of a RandomResizedCrop, drawn as torchvision and albumentations do."""
        side, (low, high) = self.config.size, self.config.crop.scale
        narrow, wide = (math.log(ratio) for ratio in self.config.crop.ratio)
        for _ in range(_TRIES):
            area = (low + (high - low) * next(uniform)) * side * side
            ratio = math.exp(narrow + (wide - narrow) * next(uniform))
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < width <= side and 0 < height <= side:
                return int((side - height + 1) * next(uniform)), int((side - width + 1) * next(uniform)), height, width
        return self._whole()

    def _whole(self) -> tuple[int, int, int, int]:
        """The largest central window whose aspect ratio is in the range."""
        side, (low, high) = self.config.size, self.config.crop.ratio
        height, width = round(side / max(low, 1)), round(side * min(high, 1))
        return (side - height) // 2, (side - width) // 2, height, width


def _uniform(key: str) -> Iterator[float]:
    """Numbers uniform in [0, 1) without end."""
    rng = np.random.default_rng(int(digest("augment on device", key)[:16], 16))
    while True:
        yield from rng.random(32).tolist()
