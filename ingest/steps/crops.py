"""Crops of faces: squares around the box, or five-point aligned."""

from __future__ import annotations

from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from semblance.manifests.config import Config
from semblance.manifests.records import Box, Crop, Face, Frame, Geometry, Image, Mask
from semblance.quality.resize import to_square
from semblance.quality.template import similarity, template

PROBE: Final = 224  # px: the largest picture that is measured, so that upscaled pixels never are


class CropConfig(Config):
    """Geometry and size of the crops.

    ``box``: a square whose side is ``margin`` times the longer side of the face box. ``aligned``: the five landmarks
    mapped to the ArcFace template, which is scaled down by ``margin``. ``size``: side of the stored crop, in pixels.
    """

    kind: Literal["box", "aligned"] = "box"
    size: int = Field(default=224, ge=16, le=2048)
    margin: float = Field(default=1.3, ge=1.0, le=5.0)


def cut(frame: Frame, face: Face, config: CropConfig) -> Crop:
    """The crop of one face; edge pixels are repeated outside the frame."""
    if config.kind == "aligned":
        return _cut_aligned(frame, face, config)
    height, width = frame.image.shape[:2]
    geometry = square(face.box, config.margin, width, height)
    native = _native(frame.image, geometry)
    probe = to_square(native, min(geometry.side, PROBE))
    scale = probe.shape[0] / geometry.side
    origin = (geometry.x0, geometry.y0)
    return Crop(
        face=face,
        geometry=geometry,
        image=probe if probe.shape[0] == config.size else to_square(native, config.size),
        probe=probe,
        box_in_probe=_box([(value - origin[i % 2]) * scale for i, value in enumerate(face.box)]),
        landmarks_in_probe=tuple((value - origin[i % 2]) * scale for i, value in enumerate(face.landmarks)),
    )


def _native(image_HWC: Image, geometry: Geometry) -> Image:
    """The pixels of the square (S, S, 3); edge pixels are repeated outside the frame."""
    height, width = image_HWC.shape[:2]
    x0, y0, x1, y1 = geometry.x0, geometry.y0, geometry.x0 + geometry.side, geometry.y0 + geometry.side
    if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        return image_HWC[y0:y1, x0:x1]
    rows, columns = np.clip(np.arange(y0, y1), 0, height - 1), np.clip(np.arange(x0, x1), 0, width - 1)
    return image_HWC[rows[:, None], columns[None, :]]


def cut_mask(mask_HW: Mask, face: Face, config: CropConfig) -> Mask:
    """The mask of a crop: the same square or warp as ``cut``, with nearest neighbours.

    ``mask_HW`` has the size of the frame. Returns (size, size) with values of the mask.
    """
    if config.kind == "aligned":
        drawn = _between_indices(_to_crop(face, config))
        size, flags = (config.size, config.size), cv2.INTER_NEAREST
        return cv2.warpAffine(mask_HW, drawn, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]
    height, width = mask_HW.shape
    geometry = square(face.box, config.margin, width, height)
    return scale_mask(_native(mask_HW, geometry), config.size, config.size)


def scale_mask(mask_HW: Mask, width: int, height: int) -> Mask:
    """Resize a mask to (height, width) by the nearest pixel centre."""
    rows = (2 * np.arange(height) + 1) * mask_HW.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * mask_HW.shape[1] // (2 * width)
    return np.ascontiguousarray(mask_HW[rows[:, None], columns[None, :]])


def square(box: Box, margin: float, width: int, height: int) -> Geometry:
    """The square whose side is ``margin`` times the longer box side, centred on the box; all in pixels.

    Along each axis it is shifted inside the frame if it fits; otherwise it stays centred and extends beyond it.
    """
    side = max(round(margin * max(box[2] - box[0], box[3] - box[1])), 1)
    x0 = round((box[0] + box[2] - side) / 2)
    y0 = round((box[1] + box[3] - side) / 2)
    if side <= width:
        x0 = min(max(x0, 0), width - side)
    if side <= height:
        y0 = min(max(y0, 0), height - side)
    return Geometry(x0=x0, y0=y0, side=side)


def _cut_aligned(frame: Frame, face: Face, config: CropConfig) -> Crop:
    landmarks = np.array(face.landmarks, np.float64).reshape(5, 2)
    to_crop = _to_crop(face, config)
    scale = max(float(np.hypot(to_crop[0, 0], to_crop[1, 0])), 1e-3)  # crop px per source px
    side = max(round(config.size / scale), 1)
    probe_side = min(side, PROBE)
    to_probe = to_crop * (probe_side / config.size)
    probe = _warp(frame.image, to_probe, probe_side)
    centre = cv2.invertAffineTransform(to_crop) @ np.array([config.size / 2, config.size / 2, 1.0])
    x0, y0, x1, y1 = face.box
    corners = _map(to_probe, np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]))
    return Crop(
        face=face,
        geometry=Geometry(x0=round(centre[0] - side / 2), y0=round(centre[1] - side / 2), side=side),
        image=probe if probe_side == config.size else _warp(frame.image, to_crop, config.size),
        probe=probe,
        box_in_probe=_box([*corners.min(0), *corners.max(0)]),
        landmarks_in_probe=tuple(float(value) for value in _map(to_probe, landmarks).reshape(-1)),
    )


def _to_crop(face: Face, config: CropConfig) -> NDArray[np.float64]:
    """The (2, 3) similarity from the frame to the aligned crop."""
    landmarks = np.array(face.landmarks, np.float64).reshape(5, 2)
    return similarity(landmarks, template(config.size, config.margin))


def _warp(image: Image, matrix: NDArray[np.float64], side: int) -> Image:
    """Warp to a square (side, side, 3); a source that shrinks is drawn larger first and averaged, against aliasing."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    times = max(int(np.ceil(1 / scale - 1e-6)), 1) if scale > 0 else 1
    times = min(times, max(4096 // side, 1))
    drawn = _between_indices(matrix * times)
    large = cv2.warpAffine(
        image, drawn, (side * times, side * times), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return to_square(large, side)  # type: ignore[arg-type]


def _between_indices(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix between pixel indices for one between positions: pixel centres are at half-integer positions."""
    shift = matrix[:, :2] @ (0.5, 0.5) - 0.5
    return np.asarray(np.concatenate([matrix[:, :2], (matrix[:, 2] + shift)[:, None]], axis=1))


def _map(matrix: NDArray[np.float64], points_N2: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(points_N2 @ matrix[:, :2].T + matrix[:, 2])


def _box(values: list[float]) -> Box:
    x0, y0, x1, y1 = (float(value) for value in values)
    return x0, y0, x1, y1
