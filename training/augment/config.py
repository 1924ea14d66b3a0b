"""What is done to the pictures that a model learns from, and how often."""

from __future__ import annotations

from pydantic import Field, model_validator

from semblance.manifests.config import Config

Probability = float


class CropConfig(Config):
    """RandomResizedCrop: a square window of ``scale`` of the area, its sides in ``ratio``, resized to the size."""

    scale: tuple[float, float] = (0.8, 1.0)
    ratio: tuple[float, float] = (0.75, 4 / 3)


class RotationConfig(Config):
    """Turned about the centre by up to ``degrees`` either way; what comes in from outside mirrors the edge."""

    p: Probability = Field(default=0.5, ge=0, le=1)
    degrees: float = Field(default=15.0, ge=0, le=180)


class JitterConfig(Config):
    """Colour jitter, as torchvision's: factors of 1 +- the value, hue in turns."""

    p: Probability = Field(default=0.5, ge=0, le=1)
    brightness: float = Field(default=0.2, ge=0, lt=1)
    contrast: float = Field(default=0.2, ge=0, lt=1)
    saturation: float = Field(default=0.2, ge=0, lt=1)
    hue: float = Field(default=0.1, ge=0, le=0.5)


class GridMaskConfig(Config):
    """GridMask (Chen et al. 2020): ``cells`` x ``cells`` squares, each of ``ratio`` of a cell's side, are blanked."""

    p: Probability = Field(default=0.2, ge=0, le=1)
    cells: int = Field(default=3, ge=1, le=64)
    ratio: float = Field(default=0.5, gt=0, lt=1)


class JpegConfig(Config):
    """JPEG of a quality in this range, bounds included."""

    p: Probability = Field(default=0.3, ge=0, le=1)
    quality: tuple[int, int] = (70, 95)


class FrequencyConfig(Config):
    """Noise on the coefficients of the whole picture's DCT: each is multiplied by 1 + ``strength`` x a normal
    number, above ``start`` of the spectrum by diagonals (0: all but the mean, 0.5: the upper half). From 0.05 on, so
    that light and shade stay.
    """

    p: Probability = Field(default=0.2, ge=0, le=1)
    strength: float = Field(default=0.3, ge=0, le=2)
    start: float = Field(default=0.05, ge=0, lt=1)


class CompressionConfig(Config):
    """What networks and messengers do to a picture: one of twice re-encoded (JPEG, the second time off the first
    one's 8 px grid), WebP, or made smaller by ``scale`` and larger again.
    """

    p: Probability = Field(default=0.2, ge=0, le=1)
    quality: tuple[int, int] = (40, 90)
    scale: tuple[float, float] = (0.4, 0.9)


class PolicyConfig(Config):
    """An AutoAugment-style policy for forgeries: one of its pairs of operations (training/augment/policy.py)."""

    p: Probability = Field(default=0.0, ge=0, le=1)


class SelfBlendConfig(Config):
    """Share of the *real* pictures that become pseudo-fakes, blended with a changed copy of themselves, after
    self-blended images (Shiohara and Yamasaki, CVPR 2022). Their hull comes from 81 landmarks and a face parser,
    ours is estimated from five points, so the paper's figures say nothing about ours and are never to be quoted.
    """

    p: Probability = Field(default=0.0, ge=0, le=1)


class MixConfig(Config):
    """Mixing with a partner of the batch: lambda is drawn from Beta(alpha, alpha)."""

    p: Probability = Field(default=0.3, ge=0, le=1)
    alpha: float = Field(default=1.0, gt=0)


class AugmentConfig(Config):
    """The training plan's augmentation.

    ``p`` is the probability that a picture is augmented at all; each step's own ``p`` then holds among those
    that are. CutMix, MixUp and self-blending, which change labels, stand outside it and have their own. The plan
    gives no probability for rotation, colour jitter, JPEG, frequency noise and compression: 0.5, 0.5, 0.3, 0.2
    and 0.2 are ours. Every picture ends at ``size`` x ``size`` px, augmented or not.
    """

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
    def _one_way_a_picture(self) -> AugmentConfig:
        if self.cutmix.p + self.mixup.p > 1:
            raise ValueError(f"cutmix.p and mixup.p are {self.cutmix.p + self.mixup.p:g} together, more than 1")
        return self
