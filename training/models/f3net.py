"""F3-Net (Qian et al. 2020): faces seen in frequency bands and in local frequency statistics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from training.models.base import ModelConfig

Mode = Literal["rgb", "fad", "lfs", "both", "mix"]


class F3NetConfig(ModelConfig):
    """``mode``: plain Xception (``rgb``), one stream (``fad``, ``lfs``), both side by side, or both joined by
    MixBlocks (``mix``, the paper's). ``pretrained: none`` is He's initialisation.
    """

    kind: Literal["f3net"] = "f3net"
    mode: Mode = "mix"
    size: int = Field(default=224, ge=32, le=2048)  # px at which FAD's learnable masks are laid out
    width: float = Field(default=1.0, gt=0, le=1)  # of all Xception's channels; below 1 for small machines only
    spatial_dropout: float = Field(default=0.3, ge=0, lt=1)
    frequency_dropout: float = Field(default=0.2, ge=0, lt=1)
    spectral_norm: bool = True
