"""Faces as a network was trained on them: cut from the stored crop by its five landmarks, or by its box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Image
from semblance.quality.resize import to_square

Matrix = NDArray[np.float64]  # (2, 3), from positions in px to positions in px
Name = Literal["arcface", "dlib"]
_MOST: Final = 4  # times larger, per axis, that a shrunk face is drawn before it is averaged

# Left eye, right eye, nose, left and right mouth corner as shares of the chip's side.
# arcface: Deng et al. 2019, in 112 px. dlib: the mean of 51 landmarks to which its chips are fitted (get_face_chip of
# dlib 19, padding 0.25): the centres of the eyes' six points, the tip of the nose, the corners of the mouth.
TEMPLATES: Final[dict[Name, Matrix]] = {
    "arcface": np.array(
        [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
    )
    / 112,
    "dlib": (
        np.array(
            [
                [0.225489, 0.215993],
                [0.754764, 0.215993],
                [0.490127, 0.515625],
                [0.254149, 0.780233],
                [0.726104, 0.780233],
            ]
        )
        + 0.25
    )
    / 1.5,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alignment:
    """A square chip of ``side`` px: five points (5, 2) in shares of the side, or None for the face's box.

    The box is stretched to the square, as facenet-pytorch does for its InceptionResnetV1.
    """

    side: int
    points: Matrix | None
    name: str  # as it is recorded


def similarity(source_N2: Matrix, target_N2: Matrix) -> Matrix:
    """The (2, 3) similarity that maps ``source`` to ``target`` with least squares; raises ValueError for one point."""
    source, target = source_N2 @ (1, 1j), target_N2 @ (1, 1j)
    centre, middle = source.mean(), target.mean()
    spread = float((np.abs(source - centre) ** 2).sum())
    if spread < 1e-6:
        raise ValueError("the landmarks are one point")
    turn = complex((np.conj(source - centre) * (target - middle)).sum() / spread)
    shift = complex(middle) - turn * complex(centre)
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def to_picture(row: dict[str, Any], crop: Mapping[str, Any], side: int) -> Matrix:
    """The (2, 3) matrix from the upright frame to the stored picture of ``side`` px of a samples row.

    ``crop``: the section of the build's recipe. Aligned crops are fitted by their landmarks again, as they were cut.
    """
    if crop.get("kind") == "aligned":
        points = (TEMPLATES["arcface"] - 0.5) / float(crop["margin"]) + 0.5
        return similarity(np.array(row["landmarks"], np.float64).reshape(5, 2), points * side)
    scale = side / row["crop_side"]
    return np.array([[scale, 0, -row["crop_x0"] * scale], [0, scale, -row["crop_y0"] * scale]])


def chip(picture_HWC: Image, row: dict[str, Any], crop: Mapping[str, Any], alignment: Alignment) -> Image:
    """The face of a samples row as the network takes it, (side, side, 3) RGB, from its stored square picture.

    Raises SemblanceError for a row without landmarks, or whose landmarks are one point.
    """
    if row["landmarks"] is None or row["crop_side"] is None:
        raise SemblanceError(f"{row['sample_id']} has no landmarks")
    try:
        stored = to_picture(row, crop, picture_HWC.shape[0])
        if alignment.points is None:
            wanted = _box(row, alignment.side)
        else:
            landmarks = np.array(row["landmarks"], np.float64).reshape(5, 2)
            wanted = similarity(landmarks, alignment.points * alignment.side)
    except ValueError as error:
        raise SemblanceError(f"{row['sample_id']}: {error}") from error
    return _warp(picture_HWC, _after(wanted, stored), alignment.side)


def _box(row: dict[str, Any], side: int) -> Matrix:
    """The matrix from the frame to the face's box, stretched to a square."""
    x0, y0, x1, y1 = (float(row[f"box_{end}"]) for end in ("x0", "y0", "x1", "y1"))
    return np.array([[side / (x1 - x0), 0, -x0 * side / (x1 - x0)], [0, side / (y1 - y0), -y0 * side / (y1 - y0)]])


def _after(second: Matrix, first: Matrix) -> Matrix:
    """``second`` after the inverse of ``first``: from the picture to the chip."""
    back = cv2.invertAffineTransform(first)
    return np.concatenate([second[:, :2] @ back[:, :2], second[:, :2] @ back[:, 2:] + second[:, 2:]], axis=1)


def _warp(image_HWC: Image, matrix: Matrix, side: int) -> Image:
    """Warp to (side, side, 3); what shrinks is drawn larger first and averaged, against aliasing."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    times = min(max(int(np.ceil(1 / max(scale, 1e-6) - 1e-6)), 1), _MOST)
    drawn = matrix * times
    drawn[:, 2] += drawn[:, :2] @ (0.5, 0.5) - 0.5  # pixel centres are at half-integer positions
    size = (side * times, side * times)
    large = cv2.warpAffine(image_HWC, drawn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return to_square(large, side)  # type: ignore[arg-type]
