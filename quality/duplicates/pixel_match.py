"""Confirm matches of perceptual hashes on pixels: is it the same picture, re-encoded or resized?"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Grey, Image
from semblance.quality import codec
from semblance.quality.measures import grey
from semblance.shards import read

Row = Mapping[str, Any]  # of samples, and the source's width and height in pixels (None where unknown)
Picture = Callable[[Row], Image | None]
Area = tuple[float, float, float, float]  # x0, y0, x1, y1 as shares of the source frame

# Measured on 150 re-encodings of ten real clips and on pairs of clips that show one recording at other moments, over
# frames that match within 8 bits. Of each pair of videos that share frames, cropped, slowed, brightened, resized or
# re-encoded down to crf 36 at half the size, enough frames pass at 0.962 or lower, but for one in fifty (crf 42); of
# sixteen pairs of other moments of one recording three do, whose people hold still: such pictures differ less from
# each other than from their own re-encoding. Frames of two people correlate by 0.51 at most.
ALIKE: Final = 0.96
_SIDE: Final = 64  # px: small enough that compression, large enough that a blink or a turn of the head shows
_SIGMA: Final = 4.0  # px: coarser light and shade is removed, because it is similar in any two portraits
_SHIFT: Final = 2  # px of 64 by which two pictures may be shifted
_SIDES: Final = (64, 62, 66, 60, 68)  # px of one, against 64 of the other, if the crop positions are unknown
_INNER: Final = 50  # px of these that are matched
_OVERLAP: Final = 0.5  # of the smaller crop: with less overlap, whole crops are compared
_FLAT: Final = 0.5  # of 255
_HELD: Final = 512  # decoded pictures kept


class Pictures:
    """The pictures of several builds, read by range; ``unreadable`` counts those that cannot be read."""

    def __init__(self, outs: Sequence[str]) -> None:
        self._outs = outs
        self._held: OrderedDict[tuple[int, str], Image | None] = OrderedDict()
        self.unreadable = 0

    def __call__(self, row: Row) -> Image | None:
        """The picture of a samples row with its build's place in column ``build``; None where it cannot be read."""
        key = row["build"], row["sample_id"]
        if key not in self._held:
            self._held[key] = self._read(row)
            if len(self._held) > _HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return self._held[key]

    def _read(self, row: Row) -> Image | None:
        try:
            return codec.decode(read.fetch(self._outs[row["build"]], row))
        except (OSError, SemblanceError):
            self.unreadable += 1
            return None


def agreeing(
    a: Sequence[Sequence[Row]],
    b: Sequence[Sequence[Row]],
    matches: Sequence[tuple[int, int]],
    picture: Picture,
    needed: int,
) -> list[float]:
    """The correlations of the matches that agree on pixels; stops early once ``needed`` cannot be reached.

    ``a`` and ``b`` hold the rows of each sampled frame, ``matches`` places of frames in both. Two copies are rarely
    sampled at the same instants, and hashes do not distinguish neighbouring frames: these are tried as well.
    """
    found: list[float] = []
    for place, (i, j) in enumerate(matches):
        if len(found) + len(matches) - place < needed:
            break
        best = -1.0
        for k in (j, j - 1, j + 1):
            if best < ALIKE and 0 <= k < len(b):
                best = max(best, _best(a[i], b[k], picture))
        if best >= ALIKE:
            found.append(best)
    return found


def _best(a: Sequence[Row], b: Sequence[Row], picture: Picture) -> float:
    """The best correlation of two frames' faces, 1 if two pictures have the same bytes; -1 if none can be read."""
    if {row["sha256"] for row in a if row.get("sha256")} & {row["sha256"] for row in b if row.get("sha256")}:
        return 1.0
    values = [
        likeness(first, second, place_of(one), place_of(other))
        for one in a
        for other in b
        if (first := picture(one)) is not None and (second := picture(other)) is not None
    ]
    return max(values, default=-1.0)


def place_of(row: Row) -> Area | None:
    """Where in its source frame a crop was cut, as shares of width and height; None if unknown."""
    values = [row["crop_x0"], row["crop_y0"], row["crop_side"], row["width"], row["height"]]
    if any(value is None for value in values):
        return None
    x, y, side, width, height = values
    return x / width, y / height, (x + side) / width, (y + side) / height


def likeness(a_HWC: Image, b_HWC: Image, a_place: Area | None = None, b_place: Area | None = None) -> float:
    """Normalised correlation, -1 to 1, of two crops' fine structure where they show the same part of the frame.

    Two crops of a face rarely match to the pixel. If their positions are known, both are first cropped to their
    overlap. Then grey, 64 x 64, less its blurred self; the best over shifts by up to 2 px (cv2.TM_CCOEFF_NORMED:
    the zero-mean cross-correlation). Of crops that have little in common, or of unknown place, the middle of the
    one is looked for in the other, up to 7 % smaller or larger.
    """
    common = _common(a_place, b_place)
    if common is None or a_place is None or b_place is None:
        return _best_scale(a_HWC, b_HWC)
    first, second = _cut(a_HWC, a_place, common), _cut(b_HWC, b_place, common)
    return correlation(structure(first), structure(second), _SHIFT)


def _best_scale(a_HWC: Image, b_HWC: Image) -> float:
    """The best correlation over the scales; stops at the first scale that matches."""
    second = structure(b_HWC)
    best = -1.0
    for side in _SIDES:
        if best < ALIKE:
            best = max(best, correlation(structure(a_HWC, side), second, (side - _INNER) // 2))
    return best


def _common(a: Area | None, b: Area | None) -> Area | None:
    """The overlap of two crops, if it is at least half of the smaller one."""
    if a is None or b is None:
        return None
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    least = min((area[2] - area[0]) * (area[3] - area[1]) for area in (a, b))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 and (x1 - x0) * (y1 - y0) >= _OVERLAP * least else None


def _cut(image_HWC: Image, place: Area, part: Area) -> Image:
    """The part of the source frame that lies inside the crop of ``place``, at least one pixel of it."""
    sides = image_HWC.shape[1], image_HWC.shape[0]
    low = [round((part[i] - place[i]) / (place[i + 2] - place[i]) * sides[i]) for i in (0, 1)]
    high = [round((part[i + 2] - place[i]) / (place[i + 2] - place[i]) * sides[i]) for i in (0, 1)]
    x0, y0 = (min(max(value, 0), side - 1) for value, side in zip(low, sides, strict=True))
    return image_HWC[y0 : max(high[1], y0 + 1), x0 : max(high[0], x0 + 1)]


def correlation(first: NDArray[np.float32], second: NDArray[np.float32], border: int) -> float:
    """The best correlation of the first, less a border, with a part of the second."""
    inner = first[border:-border, border:-border]
    if min(cv2.norm(inner, cv2.NORM_INF), cv2.norm(second, cv2.NORM_INF)) < _FLAT:  # nothing to compare
        return 0.0
    return float(cv2.matchTemplate(second, inner, cv2.TM_CCOEFF_NORMED).max())


def structure(image_HWC: Image, side: int = _SIDE) -> NDArray[np.float32]:
    """Fine structure: grey, ``side`` x ``side``, high-pass filtered."""
    return high_pass(cv2.resize(grey(image_HWC), (side, side), interpolation=cv2.INTER_AREA))  # type: ignore[arg-type]


def high_pass(grey_HW: Grey) -> NDArray[np.float32]:
    """The grey picture less its blurred self."""
    small = grey_HW.astype(np.float32)
    return np.asarray(small - cv2.GaussianBlur(small, (0, 0), _SIGMA), np.float32)
