"""Whether a person of a fake is shown at another moment than in the original at the same frame: then what differs is
motion, and no sign of a forgery.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from semblance.ingest.steps.crops import CropConfig, square
from semblance.ingest.steps.pairing import Partners
from semblance.manifests.records import Face, Frame, Grey
from semblance.quality.measures import grey

_SIDE: Final = 32  # px of the square in which a face is compared
_NEAR: Final = 6  # decoded frames before and after that are compared
_CLEARLY: Final = 0.75  # of the difference at the same frame: another frame fits clearly better
_LEAST: Final = 1.5  # grey levels: below this difference, encoding hides any motion
_MOSTLY: Final = 0.5  # of a person's frames
Picture = NDArray[np.float32]


class Timing:
    """Compares each face of the original with the fake's frames around it; ``late()`` says whose moments differ."""

    def __init__(self, partners: Partners, crop: CropConfig) -> None:
        self._partners = partners
        self._margin = crop.margin if crop.kind == "box" else None
        self._waiting: list[tuple[Face, Picture, float]] = []  # of the frame before, with the best difference so far
        self._own: list[float] = []  # their differences at the same frame
        self._fits: defaultdict[int, list[bool]] = defaultdict(list)  # person -> whether another frame fits better

    def watching(self, found: Iterable[tuple[Frame, list[Face]]]) -> Iterator[tuple[Frame, list[Face]]]:
        """The frames unchanged, once each has been compared with what lies before and after it."""
        for frame, faces in found:
            self._after(frame)
            self._before(frame, faces)
            yield frame, faces
        self._settle()

    def late(self) -> set[int]:
        """The persons for whom, in most frames, another frame fits the original clearly better than the same one."""
        return {person for person, fits in self._fits.items() if sum(fits) > _MOSTLY * len(fits)}

    def _before(self, frame: Frame, faces: Sequence[Face]) -> None:
        if not frame.glances or self._margin is None:
            return
        for face in faces:
            if face.person is None:
                continue
            original = _normal(grey(self._partners.of(frame.index, face.track).image))
            *earlier, own = [self._difference(original, glance, face, frame) for glance in frame.glances[-_NEAR - 1 :]]
            self._waiting.append((face, original, min(earlier, default=np.inf)))
            self._own.append(own)

    def _after(self, frame: Frame) -> None:
        later = frame.glances[:-1][:_NEAR]
        for place, (face, original, best) in enumerate(self._waiting):
            found = [self._difference(original, glance, face, frame) for glance in later]
            self._waiting[place] = face, original, min([best, *found])
        self._settle()

    def _settle(self) -> None:
        for (face, _, best), own in zip(self._waiting, self._own, strict=True):
            if face.person is not None:
                self._fits[face.person].append(own > _LEAST and best < _CLEARLY * own)
        self._waiting, self._own = [], []

    def _difference(self, original: Picture, glance_HW: Grey, face: Face, frame: Frame) -> float:
        """Mean difference of the original's crop and the same square of a glance, in grey levels."""
        assert self._margin is not None
        height, width = frame.image.shape[:2]
        place = square(face.box, self._margin, width, height)
        scale = glance_HW.shape[1] / width
        step = place.side * scale / _SIDE
        matrix = np.array(
            [
                [step, 0, place.x0 * scale + step / 2 - 0.5],
                [0, step, place.y0 * scale + step / 2 - 0.5],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cut = cv2.warpAffine(glance_HW, matrix, (_SIDE, _SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return float(np.abs(_normal(np.asarray(cut, np.uint8)) - original).mean())


def _normal(grey_HW: Grey) -> Picture:
    """(32, 32), the mean taken off: a glance holds luma, whose range may be another one."""
    small = np.asarray(cv2.resize(grey_HW, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.float32)
    smooth = np.asarray(cv2.GaussianBlur(small, (3, 3), 0), np.float32)
    return np.asarray(smooth - smooth.mean(), np.float32)
