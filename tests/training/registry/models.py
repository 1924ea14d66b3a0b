"""Runs, keys and a registry for tests of packages, and of what takes packages from a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semblance.training.inference import predictor
from semblance.training.registry import adding, signature
from semblance.training.registry.adding import Wish
from semblance.training.registry.mlflow_registry import MLflowRegistry
from semblance.training.registry.records import Version


def keys(folder: Path, name: str = "release") -> Path:
    """A new pair of keys: the private one, whose public one is beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    signature.keygen(folder / f"{name}.pem")
    return folder / f"{name}.pem"


def opened(folder: Path, key: Path) -> MLflowRegistry:
    """The registry in a folder, made if there is none."""
    return MLflowRegistry(f"sqlite:///{folder / 'mlflow.db'}", key.with_suffix(".pub"), new=True)


def add(registry: MLflowRegistry, run: Path, key: Path, model: str, version: str | None = None, **more: Any) -> Version:
    """A run as a version of a model, by default without OpenVINO's graphs, which take seconds."""
    wish = Wish(model=model, key=key, version=version, **{"graphs": False, **more})
    return adding.add(registry, predictor.load(run), wish, say=lambda _: None)
