"""Where a model comes from: the runs that its weights began with, build on, or were taught by."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from semblance.training.inference.predictor import Predictor
from semblance.training.loop import origins
from semblance.training.models import tensors
from semblance.training.recipes.base import TrainingRecipe
from semblance.training.registry.contents import Parent
from semblance.training.runs.folder import read_json


def parents(recipe: TrainingRecipe) -> tuple[Parent, ...]:
    """The files and runs that a recipe names, with the SHA-256 of their checkpoints where they still are."""
    model = recipe.model
    roles = {getattr(model, model.base_key): "frames", model.pretrained: "pretrained"}
    found = [
        Parent(path=path, role=roles.get(path, "teacher"), sha256=_sha256(tensors.file_of(path)))
        for path in origins.files(recipe)
    ]
    named = [Parent(path="imagenet", role="pretrained")] if model.pretrained == "imagenet" else []
    return (*named, *found)


def commit(predictor: Predictor) -> str | None:
    """The commit of the code that trained a run, if its run.json holds one."""
    record: Any = read_json(predictor.path / "run.json")
    found = record.get("commit") if isinstance(record, dict) else None
    return str(found) if found else None


def _sha256(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return None
