"""What is done to pictures that a model learns from: ``build`` for each, ``forge`` for reals, ``mix`` for batches."""

from __future__ import annotations

from training.augment.blend import SelfBlend, forge
from training.augment.config import AugmentConfig
from training.augment.mixing import mix
from training.augment.pipeline import Augment, build

__all__ = ["Augment", "AugmentConfig", "SelfBlend", "build", "forge", "mix"]
