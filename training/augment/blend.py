"""Self-blending: a real face becomes a fake one, blended with a changed copy of itself."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from semblance.manifests.records import Image, digest
from semblance.quality.resize import shrink
from semblance.training.augment import operations as do
from semblance.training.augment.config import AugmentConfig

RATIOS: Final = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # of the blend, each as likely (Shiohara and Yamasaki, CVPR 2022)


class SelfBlend:
    """Real picture, landmarks and key to a pseudo-fake, or None where the draw or missing landmarks leave it as it is.

    After self-blended images (Shiohara and Yamasaki, CVPR 2022): one of two copies of a face is changed in colour and
    sharpness, shifted and scaled a little, and blended into the other inside a deformed hull of the face. Their
    hull is that of 81 landmarks; ours is estimated from five points, so their figures do not hold for it. Only for
    pictures whose label is 0; what comes back has label 1.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self.p = config.self_blend.p

    def __call__(self, image: Image, landmarks: do.Floats | None, key: str) -> Image | None:
        if landmarks is None or self.p == 0:
            return None
        rng = np.random.default_rng(int(digest("self-blend", key)[:16], 16))
        if rng.random() >= self.p:
            return None
        return blend(image, np.asarray(landmarks, np.float32).reshape(5, 2), rng)


def forge(config: AugmentConfig) -> SelfBlend:
    """What makes fakes of some real pictures."""
    return SelfBlend(config)


def blend(image_HWC: Image, landmarks_52: do.Floats, rng: np.random.Generator) -> Image:
    """The picture with its face blended with a changed copy of itself."""
    mask_HW = deform(hull(image_HWC.shape[:2], landmarks_52, rng), rng)
    changed = _recoloured(image_HWC, rng)
    source, target = (changed, image_HWC) if rng.random() < 0.5 else (image_HWC, changed)
    to_source = _shift(image_HWC.shape[:2], rng)
    height, width = image_HWC.shape[:2]
    moved = cv2.warpAffine(source, to_source, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    mask_HW = soften(np.asarray(cv2.warpAffine(mask_HW, to_source, (width, height)), np.float32), rng)
    weight_HW1 = (mask_HW * RATIOS[rng.integers(len(RATIOS))])[..., None]
    return do.rounded(weight_HW1 * moved + (1 - weight_HW1) * target)


def hull(shape: tuple[int, ...], landmarks_52: do.Floats, rng: np.random.Generator) -> do.Floats:
    """A mask (H, W) of 0 and 1: the face estimated from five points, whole or without its forehead.

    Half the eyes' distance apart from the eyes lie the temples, as far below the mouth as half of the way from the
    eyes to it lies the chin; a forehead reaches 0.9 of that way above the eyes. The outline is an ellipse's two halves
    of different height, each radius changed by up to a tenth.
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


def deform(mask_HW: do.Floats, rng: np.random.Generator) -> do.Floats:
    """Pulled about smoothly by up to some 4 % of the side (elastic deformation)."""
    height, width = mask_HW.shape
    coarse = rng.uniform(-0.04, 0.04, (2, 5, 5)).astype(np.float32)
    down, right = (cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in coarse)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(mask_HW, x + right * width, y + down * height, cv2.INTER_LINEAR)  # type: ignore[return-value]


def soften(mask_HW: do.Floats, rng: np.random.Generator) -> do.Floats:
    """Edges eaten away or grown, then blurred: two Gaussians with a threshold between, as in the paper's code."""
    side = max(mask_HW.shape)
    first, second = rng.uniform(0.01, 0.05, 2) * side
    eroded = (cv2.GaussianBlur(mask_HW, (0, 0), first) > rng.uniform(0.3, 0.9)).astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(eroded, (0, 0), second), np.float32)
    return soft / np.float32(max(float(soft.max()), 1e-6))


def _recoloured(image: Image, rng: np.random.Generator) -> Image:
    """Colour, contrast and sharpness changed as strongly as between two shots of a face."""
    image = do.tint(image, rng.uniform(-20, 20, 3).astype(np.float32))
    image = do.fade(image, float(rng.uniform(0.7, 1.3)))
    image = do.gamma(image, float(2 ** rng.uniform(-0.3, 0.3)))
    if rng.random() < 0.5:
        return shrink(image, float(rng.choice([0.25, 0.5])), "nearest" if rng.random() < 0.5 else "area")
    return do.sharpen(image, float(rng.uniform(0.5, 1.5)))


def _shift(shape: tuple[int, ...], rng: np.random.Generator) -> do.Floats:
    """A (2, 3) affine map: by up to 3 % across and 1.5 % down, 5 % larger or smaller, about the middle."""
    height, width = shape[:2]
    scale = float(rng.uniform(0.95, 1 / 0.95))
    to = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), 0, scale), np.float32)
    to[:, 2] += rng.uniform((-0.03 * width, -0.015 * height), (0.03 * width, 0.015 * height)).astype(np.float32)
    return to
