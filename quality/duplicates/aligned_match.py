"""Whether two crops show one recording: the aligned faces' fine structure, then local features, and how one picture
became the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from semblance.manifests.records import Grey, Image
from semblance.quality.duplicates.pixel_match import correlation, high_pass
from semblance.quality.measures import grey
from semblance.quality.measures.aligned import aligned, mirrored
from semblance.quality.template import similarity, template

Row = Mapping[str, Any]  # of samples, and the source's width and height in pixels (None where unknown)
Matrix = NDArray[np.float64]  # (2, 3)

_SHIFT: Final = 2  # px of 64 by which two aligned faces may be shifted
_RATIO: Final = 0.75  # of the nearest descriptor's distance to the next one's (Lowe 2004)
_NEAR: Final = 3.0  # px of the crop between a feature and its place under the similarity
_FEW: Final = 4  # matches that no similarity is worth fitting to
_SAME: Final = 0.03  # a smaller change of scale, or of what is shown, is not told
_TURN: Final = 1.5  # degrees, likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformation:
    """How the picture of one video became that of another: ``mirrored`` first; ``scale`` in pixels; ``turn`` in degrees
    clockwise; ``shown``: the shares of width and height of the first that the second shows; ``filled``: the shares of
    the second's that these fill. The shares are None where a frame's size is unknown.
    """

    mirrored: bool
    scale: float
    turn: float
    shown: tuple[float, float] | None
    filled: tuple[float, float] | None

    def __str__(self) -> str:
        """In words; empty where nothing was changed."""
        parts = ["mirrored"] if self.mirrored else []
        if abs(np.log(self.scale)) > _SAME:
            parts.append(f"scaled {self.scale:.2f}")
        if abs(self.turn) > _TURN:
            parts.append(f"turned by {abs(self.turn):.0f}° {'clockwise' if self.turn > 0 else 'counter-clockwise'}")
        for word, shares in (("cropped to", self.shown), ("framed, filling", self.filled)):
            told = [
                f"{share:.0%} of the {side}"
                for share, side in zip(shares or (), ("width", "height"), strict=False)
                if share < 1 - _SAME
            ]
            parts += [f"{word} {' and '.join(told)}"] if told else []
        return ", ".join(parts)


def face_of(image_HWC: Image, row: Row, *, mirror: bool = False) -> NDArray[np.float32] | None:
    """The fine structure of the aligned face (64, 64) of a stored crop; None where its landmarks are unknown."""
    picture = grey(image_HWC)
    points = _to_crop(row, picture.shape[1])
    if points is None:
        return None
    landmarks = tuple((np.array(row["landmarks"]).reshape(5, 2) @ points[:, :2].T + points[:, 2]).reshape(-1).tolist())
    face = aligned(*(mirrored(picture, landmarks) if mirror else (picture, landmarks)))
    return None if face is None else high_pass(face)


def alike(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Normalised correlation, -1 to 1, of two aligned faces' fine structure, the best over shifts by up to 2 px."""
    return correlation(first, second, _SHIFT)


def features(a_HWC: Image, b_HWC: Image, *, mirror: bool) -> tuple[int, Matrix | None]:
    """How many local features of two crops agree on one similarity, and that similarity in pixels of the crops, from
    the first to the second or its mirror image (SIFT, Lowe 2004; RANSAC, Fischler and Bolles 1981).
    """
    second = grey(b_HWC)
    (a, of_a), (b, of_b) = (
        _described(grey(a_HWC)),
        _described(np.ascontiguousarray(second[:, ::-1]) if mirror else second),
    )
    if min(len(a), len(b)) < _FEW:
        return 0, None
    pairs = [
        (one.queryIdx, one.trainIdx)
        for one, *other in cv2.BFMatcher(cv2.NORM_L2).knnMatch(of_a, of_b, k=2)
        if other and one.distance < _RATIO * other[0].distance
    ]
    if len(pairs) < _FEW:
        return 0, None
    places = np.array(pairs)
    found, inside = cv2.estimateAffinePartial2D(
        a[places[:, 0]], b[places[:, 1]], method=cv2.RANSAC, ransacReprojThreshold=_NEAR
    )
    return (0, None) if found is None else (int(inside.sum()), np.asarray(found, np.float64))


def transformation(a: Row, b: Row, sides: tuple[int, int], between: Matrix, *, mirror: bool) -> Transformation | None:
    """The similarity between two crops as one between their source frames; None where the crops' place is unknown.

    ``sides``: of the two crops, in pixels.
    """
    first, second = _to_crop(a, sides[0]), _to_crop(b, sides[1])
    if first is None or second is None:
        return None
    if mirror:  # the second's frame is mirrored as its crop was
        width = b["width"] or 0.0
        flip = np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]])
        back = np.array([[-1.0, 0, sides[1]], [0, 1, 0], [0, 0, 1]])
        whole = back @ _square(second) @ flip
    else:
        whole = _square(second)
    centred = np.array([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # indices of pixels to positions
    through = centred @ _square(between) @ np.linalg.inv(centred)
    frames = np.linalg.inv(whole) @ through @ _square(first)
    scale, turn = float(np.hypot(frames[0, 0], frames[1, 0])), float(np.degrees(np.arctan2(frames[1, 0], frames[0, 0])))
    sizes = [row[name] for row in (a, b) for name in ("width", "height")]
    if any(size is None for size in sizes):
        return Transformation(mirrored=mirror, scale=scale, turn=turn, shown=None, filled=None)
    shown, filled = [], []
    for axis in (0, 1):
        own, other = float(sizes[axis]), float(sizes[2 + axis])
        middle = frames @ (sizes[0] / 2, sizes[1] / 2, 1.0)
        low = float(middle[axis] - scale * own / 2)
        common = max(min(low + scale * own, other) - max(low, 0.0), 0.0)
        shown.append(min(common / (scale * own), 1.0))
        filled.append(min(common / other, 1.0))
    return Transformation(
        mirrored=mirror, scale=scale, turn=turn, shown=(shown[0], shown[1]), filled=(filled[0], filled[1])
    )


def _described(grey_HW: Grey) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Places (N, 2) and descriptors (N, 128) of the picture's features."""
    points, descriptors = cv2.SIFT.create().detectAndCompute(grey_HW, None)
    if descriptors is None:
        return np.empty((0, 2), np.float32), np.empty((0, 128), np.float32)
    return np.array([point.pt for point in points], np.float32), np.asarray(descriptors, np.float32)


def _to_crop(row: Row, side: int) -> Matrix | None:
    """From positions in the source frame to those in the stored crop; None if unknown."""
    if row["crop_side"] is None or row["landmarks"] is None:
        return None
    if row["crop_kind"] == "aligned":
        return similarity(np.array(row["landmarks"], np.float64).reshape(5, 2), template(side, row["crop_margin"]))
    scale = side / row["crop_side"]
    return np.array([[scale, 0, -row["crop_x0"] * scale], [0, scale, -row["crop_y0"] * scale]])


def _square(matrix: Matrix) -> Matrix:
    return np.vstack([matrix, [0.0, 0.0, 1.0]])
