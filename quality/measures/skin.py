"""Skin brightness: an estimate from web video, given only if the light allows it."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from semblance.manifests.records import Image, Landmarks

# These limits are ours; outside them no angle is given.
_PATCH: Final = 5  # px, least side of a cheek patch
_LIGHTNESS: Final = (20.0, 95.0)  # L*: too dark or burnt out
_LEAST_B: Final = 2.0  # b*: bluish light makes the angle meaningless
_CHEEKS: Final = 25.0  # degrees between the two cheeks: light from the side


def ita(image_HWC: Image, landmarks: Landmarks) -> float | None:
    """Individual typology angle, atan((L* - 50) / b*) in degrees (Chardon et al. 1991), of the two cheeks.

    The cheeks lie halfway between each eye and its mouth corner, patches a quarter of the eye distance
    wide. None if a patch is small or outside, the light is too dark, blown out or blue, or the cheeks differ.
    """
    points = np.array(landmarks).reshape(5, 2)
    half = float(np.hypot(*(points[1] - points[0]))) / 8
    angles = []
    for eye, mouth in ((points[0], points[3]), (points[1], points[4])):
        x, y = (eye + mouth) / 2
        x0, y0, x1, y1 = round(x - half), round(y - half), round(x + half), round(y + half)
        patch = image_HWC[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
        if min(patch.shape[:2]) < _PATCH or patch.shape[:2] != (y1 - y0, x1 - x0):
            return None
        lab = cv2.cvtColor(patch.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
        lightness, b = float(np.median(lab[..., 0])), float(np.median(lab[..., 2]))
        if not _LIGHTNESS[0] <= lightness <= _LIGHTNESS[1] or b < _LEAST_B:
            return None
        angles.append(math.degrees(math.atan2(lightness - 50, b)))
    return sum(angles) / 2 if abs(angles[0] - angles[1]) <= _CHEEKS else None
