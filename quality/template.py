"""The five-point template of aligned crops, and the similarity that lays a face on it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

# The five-point template of ArcFace (Deng et al. 2019) in a 112 px square, shifted by 8 px in x as its authors
# do for square crops: left eye, right eye, nose, left and right mouth corner.
TEMPLATE: Final = np.array(
    [
        [30.2946 + 8, 51.6963],
        [65.5318 + 8, 51.5014],
        [48.0252 + 8, 71.7366],
        [33.5493 + 8, 92.3655],
        [62.7299 + 8, 92.2041],
    ]
)
TEMPLATE_SIDE: Final = 112.0


def similarity(source_N2: NDArray[np.float64], target_N2: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (2, 3) similarity transform that maps ``source`` to ``target`` with least squares."""
    x, y = source_N2[:, 0], source_N2[:, 1]
    ones, zeros = np.ones_like(x), np.zeros_like(x)
    equations = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
    (a, b, u, v), *_ = np.linalg.lstsq(equations, np.concatenate([target_N2[:, 0], target_N2[:, 1]]), rcond=None)
    return np.array([[a, -b, u], [b, a, v]])


def template(size: int, margin: float) -> NDArray[np.float64]:
    """The template points (5, 2) in a crop of ``size`` px; a margin above 1 shrinks the face, as in DeepfakeBench."""
    points = (TEMPLATE / TEMPLATE_SIDE - 0.5) / margin + 0.5
    return np.asarray(points * size)
