"""Augmentation of training pictures: ``build`` for single ones, ``forge`` for reals, ``mix`` for batches."""

from __future__ import annotations

from semblance.training.augment.blend import SelfBlend, forge
from semblance.training.augment.config import AugmentConfig
from semblance.training.augment.mixing import mix
from semblance.training.augment.pipeline import Augment, build

__all__ = ["Augment", "AugmentConfig", "SelfBlend", "build", "forge", "mix"]
