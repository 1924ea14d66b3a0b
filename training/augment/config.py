"""The configuration of augmentation: what is done to training pictures, and how often."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from semblance.manifests.config import Config

Probability = float


class CropConfig(Config):
    """RandomResizedCrop: a window of ``scale`` of the area and aspect ``ratio``, resized to the output size."""

    scale: tuple[float, float] = (0.8, 1.0)
    ratio: tuple[float, float] = (0.75, 4 / 3)


class RotationConfig(Config):
    """Rotation about the centre by up to ``degrees`` in either direction, with mirrored borders."""

    p: Probability = Field(default=0.5, ge=0, le=1)
    degrees: float = Field(default=15.0, ge=0, le=180)


class JitterConfig(Config):
    """Colour jitter as in torchvision: factors of 1 +- the value; hue in turns."""

    p: Probability = Field(default=0.5, ge=0, le=1)
    brightness: float = Field(default=0.2, ge=0, lt=1)
    contrast: float = Field(default=0.2, ge=0, lt=1)
    saturation: float = Field(default=0.2, ge=0, lt=1)
    hue: float = Field(default=0.1, ge=0, le=0.5)


class GridMaskConfig(Config):
    """GridMask (Chen et al. 2020): ``cells`` x ``cells`` black squares, each with ``ratio`` of the side of a cell."""

    p: Probability = Field(default=0.2, ge=0, le=1)
    cells: int = Field(default=3, ge=1, le=64)
    ratio: float = Field(default=0.5, gt=0, lt=1)


class JpegConfig(Config):
    """JPEG of a quality in this range, including both bounds."""

    p: Probability = Field(default=0.3, ge=0, le=1)
    quality: tuple[int, int] = (70, 95)


class FrequencyConfig(Config):
    """Noise on the DCT coefficients of the picture: each is multiplied by 1 + ``strength`` x a normal number.

    Only those above ``start`` of the spectrum change, by diagonals (0: all but the mean, 0.5: the upper half). The
    default of 0.05 preserves the lighting.
    """

    p: Probability = Field(default=0.2, ge=0, le=1)
    strength: float = Field(default=0.3, ge=0, le=2)
    start: float = Field(default=0.05, ge=0, lt=1)


class CompressionConfig(Config):
    """What social networks and messengers do to a picture. One of three is drawn.

    JPEG twice, the second time with another 8 px grid; WebP; or reduced by ``scale`` and enlarged again.
    """

    p: Probability = Field(default=0.2, ge=0, le=1)
    quality: tuple[int, int] = (40, 90)
    scale: tuple[float, float] = (0.4, 0.9)


class PolicyConfig(Config):
    """An AutoAugment-style policy for forgeries: one of its pairs of operations (training/augment/policy.py)."""

    p: Probability = Field(default=0.0, ge=0, le=1)


class SelfBlendConfig(Config):
    """The share of *real* pictures that become pseudo-fakes by blending them with a changed copy of themselves.

    After self-blended images (Shiohara and Yamasaki, CVPR 2022). The paper's hull comes from 81 landmarks and a face
    parser, ours is estimated from five points: the paper's results do not apply to it and must not be quoted for it.
    """

    p: Probability = Field(default=0.0, ge=0, le=1)


class MixConfig(Config):
    """Mixing with another picture of the batch; lambda is drawn from Beta(alpha, alpha)."""

    p: Probability = Field(default=0.3, ge=0, le=1)
    alpha: float = Field(default=1.0, gt=0)


class AugmentConfig(Config):
    """The augmentation of the training plan.

    ``p`` is the probability that a picture is augmented at all; the ``p`` of each step applies among those pictures.
    CutMix, MixUp and self-blending change labels; their probabilities do not depend on ``p``. The plan does not specify
    probabilities for rotation, colour jitter, JPEG, frequency noise and compression: 0.5, 0.5, 0.3, 0.2 and 0.2 are
    ours. Every picture, augmented or not, is resized to ``size`` x ``size`` px.

    ``on``: who does it. ``workers``: the loader's processes, one picture after another. ``device``: they only decode,
    forge, encode and resize; mirror, rotation, window, colours, noise on the spectrum and grid mask are done to whole
    batches where the model is. Probabilities and ranges are the same. The order is not: policy and encoders then come
    before the other steps, so what an encoder leaves is turned and resized with the picture; and a picture that is
    stored larger than ``size`` is resized before the window is cut.
    """

    on: Literal["workers", "device"] = "workers"
    p: Probability = Field(default=0.7, ge=0, le=1)
    size: int = Field(default=224, ge=16, le=2048)
    flip: Probability = Field(default=0.5, ge=0, le=1)
    rotation: RotationConfig = RotationConfig()
    crop: CropConfig = CropConfig()
    jitter: JitterConfig = JitterConfig()
    gridmask: GridMaskConfig = GridMaskConfig()
    jpeg: JpegConfig = JpegConfig()
    frequency: FrequencyConfig = FrequencyConfig()
    compression: CompressionConfig = CompressionConfig()
    policy: PolicyConfig = PolicyConfig()
    self_blend: SelfBlendConfig = SelfBlendConfig()
    cutmix: MixConfig = MixConfig(p=0.3, alpha=1.0)
    mixup: MixConfig = MixConfig(p=0.3, alpha=0.2)

    @model_validator(mode="after")
    def _at_most_one_mixing(self) -> AugmentConfig:
        if self.cutmix.p + self.mixup.p > 1:
            raise ValueError(f"cutmix.p and mixup.p add up to {self.cutmix.p + self.mixup.p:g}, more than 1")
        return self
