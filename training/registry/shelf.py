"""Packages outside of MLflow's own files: in a folder that machines share, or an object store."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError, StorageError
from semblance.training.registry.records import Semantic


def store(folder: Path, shelf: str, model: str, version: Semantic) -> str:
    """Copy a package into a new folder of ``shelf``, a folder or prefix; returns its address."""
    base = shelf if storage.is_remote(shelf) else str(Path(shelf).resolve())
    to = storage.join(base, model, f"{version}-{os.urandom(4).hex()}")
    for stat in storage.walk(str(folder)):
        storage.publish(str(folder / stat.path), storage.join(to, stat.path))
    return to


def copy(address: str, to: Path) -> None:
    """Copy the package at an address into the folder ``to``; raises StorageError if there is none."""
    found = storage.walk(address)
    if not found:
        raise StorageError(f"There is no package at {address}; restore it, or roll back to another version.")
    for stat in found:
        target = to / stat.path
        if not target.resolve().is_relative_to(to.resolve()):
            raise SemblanceError(f"{address} holds a file outside of itself, {stat.path}; do not use it.")
        target.parent.mkdir(parents=True, exist_ok=True)
        with storage.reading(storage.join(address, stat.path)) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out)
