"""The models, one interface for all; a file in this folder that registers a model is one."""

from __future__ import annotations

from semblance.training.models.base import Model, ModelConfig
from semblance.training.models.registry import MODELS, AnyModelConfig, Kind, based, build, register, restored

MODELS.discover(__name__, __path__)

__all__ = ["MODELS", "AnyModelConfig", "Kind", "Model", "ModelConfig", "based", "build", "register", "restored"]
