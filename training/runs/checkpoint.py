"""Checkpoints: plain dictionaries of tensors, numbers and texts, written as a whole, read without running any code.

Both files hold ``format``, ``recipe``, ``datasets`` (with fingerprints), ``versions``, ``epoch``, ``step``, ``figures``
(the last epoch's), ``model`` and ``loss`` (their weights) and ``average`` (the moving average of the model's weights,
or None). last.ckpt also holds ``optimiser``, ``schedule``, ``scaler`` (of 16-bit gradients), ``updates`` (of the
average), ``place`` (of the loader, inside an epoch too) and ``progress`` (the best figure so far, and since when).
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError
from semblance.training import models
from semblance.training.models import Model
from semblance.training.recipes.base import TrainingRecipe

FORMAT: Final = 1
_REMEDY: Final = "make the folder writable, then go on with --resume"
_NEEDED: Final = ("recipe", "datasets", "model", "loss", "average")


def save(file: Path, state: Mapping[str, Any]) -> None:
    """Make the checkpoint appear under its name as a whole, on disk before the name changes.

    Raises SemblanceError where it cannot be written; the one before stays.
    """
    try:
        with storage.writing(str(file), _REMEDY) as out:
            torch.save({"format": FORMAT} | dict(state), out)
    except RuntimeError as error:  # what torch makes of a write that fails
        raise SemblanceError(f"{file} cannot be written ({error}); free space or {_REMEDY}.") from error


def load(file: Path) -> dict[str, Any]:
    """A checkpoint's dictionary, its tensors on the CPU.

    Raises SemblanceError where it is missing, damaged (every byte is checked) or not one of ours.
    """
    try:
        with zipfile.ZipFile(file) as records:  # torch itself does not look at their checksums
            broken = records.testzip()
        if broken is not None:
            raise zipfile.BadZipFile(f"{broken} does not fit its checksum")
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise SemblanceError(f"There is no checkpoint {file}; name the --run of a `training fit`.") from error
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError) as error:
        raise SemblanceError(
            f"The checkpoint {file} is damaged or none ({str(error).splitlines()[0]}); take the other one of the run, "
            "or train again."
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT or any(name not in state for name in _NEEDED):
        raise SemblanceError(f"The checkpoint {file} is not of a form that this version reads; train again.")
    return state


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A trained model, ready to judge, and what it was trained with."""

    model: Model  # in eval mode; with the averaged weights where there are any
    recipe: TrainingRecipe
    datasets: list[dict[str, Any]]  # as in datasets.json
    epoch: int
    step: int
    figures: dict[str, float | None]


def trained(file: Path) -> Trained:
    """The model of a checkpoint.

    Raises SemblanceError for a damaged checkpoint, or one whose weights do not fit its recipe.
    """
    state = load(file)
    try:
        recipe = TrainingRecipe.model_validate(state["recipe"])
        model = models.build(recipe.model, pretrained=False)
        model.load_state_dict(state["average"] if state["average"] is not None else state["model"])
    except (ValueError, RuntimeError) as error:
        raise SemblanceError(
            f"The checkpoint {file} does not fit this version's models ({str(error).splitlines()[0]}); train again."
        ) from error
    model.eval()
    return Trained(
        model=model,
        recipe=recipe,
        datasets=state["datasets"],
        epoch=state["epoch"],
        step=state["step"],
        figures=state["figures"],
    )
