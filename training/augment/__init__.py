"""Augmentation of training pictures: ``build`` for single ones, ``forge`` for reals, ``on_device`` and ``mix`` for
batches; ``Draws`` makes what ``on_device`` needs.
"""

from __future__ import annotations

from semblance.training.augment.blend import SelfBlend, forge
from semblance.training.augment.config import AugmentConfig
from semblance.training.augment.device import on_device
from semblance.training.augment.draws import Draws
from semblance.training.augment.mixing import mix
from semblance.training.augment.pipeline import Augment, build

__all__ = ["Augment", "AugmentConfig", "Draws", "SelfBlend", "build", "forge", "mix", "on_device"]
