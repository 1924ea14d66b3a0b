"""Self-blending: a real face becomes a fake by blending it with a changed copy of itself."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from semblance.manifests.ids import digest
from semblance.manifests.records import Image
from semblance.quality.resize import shrink
from semblance.training.augment import operations
from semblance.training.augment.config import AugmentConfig

RATIOS: Final = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # of the blend, equally likely (Shiohara and Yamasaki, CVPR 2022)


class SelfBlend:
    """Makes a pseudo-fake of a real picture, or None if the draw or missing landmarks leave it unchanged.

    After self-blended images (Shiohara and Yamasaki, CVPR 2022). One of two copies of a face is changed in colour and
    sharpness, shifted and scaled slightly, and blended into the other inside a deformed hull of the face. The paper's
    hull comes from 81 landmarks, ours is estimated from five points, so the paper's results do not apply to it. Use it
    only for pictures of label 0; the result has label 1.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self.p = config.self_blend.p

    def __call__(self, image: Image, landmarks: operations.Floats | None, key: str) -> Image | None:
        if landmarks is None or self.p == 0:
            return None
        rng = np.random.default_rng(int(digest("self-blend", key)[:16], 16))
        if rng.random() >= self.p:
            return None
        return blend(image, np.asarray(landmarks, np.float32).reshape(5, 2), rng)


def forge(config: AugmentConfig) -> SelfBlend:
    """A function that makes fakes of some real pictures."""
    return SelfBlend(config)


def blend(image_HWC: Image, landmarks_52: operations.Floats, rng: np.random.Generator) -> Image:
    """The picture with its face blended with a changed copy of itself.

    The mask is smooth, so it is made at half the size and enlarged.
    """
    height, width = image_HWC.shape[:2]
    half = (height + 1) // 2, (width + 1) // 2
    mask_HW = deform(hull(half, (landmarks_52 - np.float32(0.5)) / np.float32(2), rng), rng)
    changed = _recoloured(image_HWC, rng)
    source, target = (changed, image_HWC) if rng.random() < 0.5 else (image_HWC, changed)
    to_source = _shift((height, width), rng)
    moved = cv2.warpAffine(source, to_source, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    mask_HW = np.asarray(cv2.warpAffine(mask_HW, _halved(to_source), half[::-1]), np.float32)
    mask_HW = np.asarray(cv2.resize(soften(mask_HW, rng), (2 * half[1], 2 * half[0])), np.float32)[:height, :width]
    weight_HW = np.ascontiguousarray(mask_HW * np.float32(RATIOS[rng.integers(len(RATIOS))]))
    return np.asarray(cv2.blendLinear(moved, target, weight_HW, 1 - weight_HW), np.uint8)


def _halved(to_23: operations.Floats) -> operations.Floats:
    """An affine map of a picture, for that picture at half size, where the centre of pixel x lies at (x - 0.5) / 2."""
    linear_22, shift_2 = to_23[:, :2], to_23[:, 2]
    return np.column_stack([linear_22, (shift_2 + linear_22 @ (0.5, 0.5) - 0.5) / 2]).astype(np.float32)


def hull(shape: tuple[int, ...], landmarks_52: operations.Floats, rng: np.random.Generator) -> operations.Floats:
    """A mask (H, W) of 0 and 1: the face estimated from five points, with or without its forehead.

    The temples are half the eyes' distance outside the eyes. The chin is below the mouth by half the distance from
    eyes to mouth; the forehead reaches 0.9 of that distance above the eyes. The outline joins two half ellipses of
    different height, with each radius changed by up to a tenth.
    """
    eyes, mouth = landmarks_52[:2].mean(0), landmarks_52[3:].mean(0)
    down = mouth - eyes
    length = max(float(np.linalg.norm(down)), 1.0)
    down = down / length
    right = np.array([-down[1], down[0]])
    if right @ (landmarks_52[1] - landmarks_52[0]) < 0:
        right = -right
    half_width = max(float(np.linalg.norm(landmarks_52[1] - landmarks_52[0])), 0.6 * length)
    centre = eyes + 0.35 * length * down
    top = length * (0.35 + (0.9 if rng.random() < 0.7 else 0.25))
    bottom = length * (0.65 + 0.55)
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    radius = rng.uniform(0.9, 1.1, 8)
    radius = np.interp(turn, np.linspace(0, 2 * np.pi, 9), np.append(radius, radius[0]))
    across, along = np.cos(turn), np.sin(turn)
    along = along * np.where(along < 0, top, bottom)
    outline = centre + (radius * across * half_width)[:, None] * right + (radius * along)[:, None] * down
    mask = np.zeros(shape[:2], np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(outline).astype(np.int32)), 1.0)
    return mask


def deform(mask_HW: operations.Floats, rng: np.random.Generator) -> operations.Floats:
    """The mask after an elastic deformation by up to about 4 % of the side."""
    height, width = mask_HW.shape
    coarse = rng.uniform(-0.04, 0.04, (2, 5, 5)).astype(np.float32)
    down, right = (cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in coarse)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(mask_HW, x + right * width, y + down * height, cv2.INTER_LINEAR)  # type: ignore[return-value]


def soften(mask_HW: operations.Floats, rng: np.random.Generator) -> operations.Floats:
    """The mask with eroded or grown, blurred edges: two Gaussians with a threshold between, as in the paper's code."""
    side = max(mask_HW.shape)
    first, second = rng.uniform(0.01, 0.05, 2) * side
    eroded = (cv2.GaussianBlur(mask_HW, (0, 0), first) > rng.uniform(0.3, 0.9)).astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(eroded, (0, 0), second), np.float32)
    return soft / np.float32(max(float(soft.max()), 1e-6))


def _recoloured(image: Image, rng: np.random.Generator) -> Image:
    """Colour, contrast and sharpness changed as much as between two photographs of a face."""
    image = operations.tint(image, rng.uniform(-20, 20, 3).astype(np.float32))
    image = operations.fade(image, float(rng.uniform(0.7, 1.3)))
    image = operations.gamma(image, float(2 ** rng.uniform(-0.3, 0.3)))
    if rng.random() < 0.5:
        return shrink(image, float(rng.choice([0.25, 0.5])), "nearest" if rng.random() < 0.5 else "area")
    return operations.sharpen(image, float(rng.uniform(0.5, 1.5)))


def _shift(shape: tuple[int, ...], rng: np.random.Generator) -> operations.Floats:
    """A (2, 3) affine map: a shift of up to 3 % across and 1.5 % down, and up to 5 % larger or smaller."""
    height, width = shape[:2]
    scale = float(rng.uniform(0.95, 1 / 0.95))
    to = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), 0, scale), np.float32)
    to[:, 2] += rng.uniform((-0.03 * width, -0.015 * height), (0.03 * width, 0.015 * height)).astype(np.float32)
    return to
