"""The losses: weighted sums of named parts."""

from __future__ import annotations

from pydantic import Field

from manifests.recipe import Config


class BceConfig(Config):
    """Binary cross-entropy. ``smoothing`` of 0.1 moves the targets from 0 and 1 to 0.05 and 0.95."""

    weight: float = Field(default=1.0, ge=0)
    smoothing: float = Field(default=0.0, ge=0, lt=1)


class FocalConfig(Config):
    """Focal loss (Lin et al. 2017); ``alpha`` weighs fakes, 1 - alpha reals. On hard labels always."""

    weight: float = Field(default=0.0, ge=0)
    alpha: float = Field(default=0.7, ge=0, le=1)
    gamma: float = Field(default=2.0, ge=0)


class ArcFaceConfig(Config):
    """ArcFace (Deng et al. 2019) on the embedding: ``margin`` in radians."""

    weight: float = Field(default=0.0, ge=0)
    margin: float = Field(default=0.5, ge=0)
    scale: float = Field(default=16.0, gt=0)


class CentreConfig(Config):
    """Single-centre loss (Li et al., CVPR 2021) on the frequency embedding: ``margin`` times sqrt(D)."""

    weight: float = Field(default=0.0, ge=0)
    margin: float = Field(default=0.3, ge=0)


class LossConfig(Config):
    """A part of weight 0 is not there."""

    bce: BceConfig = BceConfig()
    focal: FocalConfig = FocalConfig()
    arcface: ArcFaceConfig = ArcFaceConfig()
    centre: CentreConfig = CentreConfig()
