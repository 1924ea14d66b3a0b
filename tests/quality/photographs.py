"""Small real pictures for tests: pieces of the photographs that scikit-image ships, with a box in each."""

from __future__ import annotations

import numpy as np
import skimage.data

from semblance.manifests.records import Image
from semblance.quality import codec

BOX = (28.0, 24.0, 84.0, 96.0)
ALL = (0.0, 0.0, 112.0, 112.0)
PHOTOGRAPHS = [getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]


def photograph(number: int) -> Image:
    """A piece of a real photograph, (112, 112, 3), of its own light: another for each number."""
    chance = np.random.default_rng(number)
    whole = PHOTOGRAPHS[number % len(PHOTOGRAPHS)]
    y, x = (int(chance.integers(0, end - 112)) for end in whole.shape[:2])
    piece = whole[y : y + 112, x : x + 112] * chance.uniform(0.6, 1.1) + chance.normal(0, 2, (112, 112, 3))
    return np.clip(piece, 0, 255).astype(np.uint8)


def kind_of(number: int) -> Image:
    """The same, as one of four cameras stored it, whatever its label."""
    return codec.degrade(photograph(number), 60 + 10 * (number // 4 % 4))
