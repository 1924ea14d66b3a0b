"""Checkpoints: dictionaries of tensors, numbers and strings, written atomically and loaded without running code.

Both files hold ``format``, ``recipe``, ``datasets`` (with fingerprints), ``seen`` (hashed ids of what the run was
trained and selected on; older files lack it), ``versions``, ``epoch``, ``step``, ``figures`` (of the last epoch),
``model``, ``loss`` and ``regime`` (their weights), ``sources`` (the SHA-256 of runs that the regime learns from),
``average`` (the moving average of the model's weights, or None) and ``base``.
Where a part of the model is not trained, ``base`` holds the ``source`` of that part and the ``sha256`` of its tensors,
and ``model`` and ``average`` the rest (``format`` 2). It is None where all is trained, and where the rest was drawn at
random and cannot be had again: the weights are then complete (``format`` 1). ``licence``: that of the weights it
began with, None for random ones. Older files lack these two, ``regime`` and ``sources``. last.ckpt also holds
``optimiser``, ``schedule``, ``scaler`` (of 16-bit gradients), ``updates`` (of the average), ``place`` (the loader's
position, also inside an epoch) and ``progress`` (the best figure and its epoch).
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
from semblance.training.guard import seen
from semblance.training.guard.seen import Seen
from semblance.training.models import Model, tensors
from semblance.training.models.base import Base
from semblance.training.models.tensors import WeightsFile
from semblance.training.recipes.base import TrainingRecipe

FORMAT: Final = 1
WITH_BASE: Final = 2  # a part of a model, which other weights complete
_REMEDY: Final = "make the folder writable, then continue with --resume"
_NEEDED: Final = ("recipe", "datasets", "model", "loss", "average")


def save(file: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically; it is on disk before it replaces the previous one.

    Raises SemblanceError if it cannot be written; the previous one then stays.
    """
    try:
        with storage.writing(str(file), _REMEDY) as out:
            torch.save({"format": WITH_BASE if state.get("base") else FORMAT} | dict(state), out)
    except RuntimeError as error:  # torch raises it for a failed write, and over an interruption of one
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise SemblanceError(f"{file} cannot be written ({error}); free space or {_REMEDY}.") from error


def load(file: Path) -> dict[str, Any]:
    """The dictionary of a checkpoint, with tensors on the CPU.

    Raises SemblanceError if the file is missing, damaged (every byte is checked) or not a checkpoint of this version.
    """
    try:
        with zipfile.ZipFile(file) as records:  # torch itself does not verify the checksums
            broken = records.testzip()
        if broken is not None:
            raise zipfile.BadZipFile(f"{broken} does not match its checksum")
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise SemblanceError(f"The checkpoint {file} does not exist; pass the --run of a `training fit`.") from error
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError) as error:
        raise SemblanceError(
            f"The checkpoint {file} is damaged or not a checkpoint ({str(error).splitlines()[0]}); use the run's other "
            "one, or train again."
        ) from error
    known = isinstance(state, dict) and state.get("format") in (FORMAT, WITH_BASE)
    if not known or any(name not in state for name in _NEEDED):
        raise SemblanceError(f"The format of checkpoint {file} is not supported by this version; train again.")
    return state


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A trained model, ready for inference, and what it was trained with."""

    model: Model  # in eval mode; with the averaged weights if the run kept an average
    recipe: TrainingRecipe
    datasets: list[dict[str, Any]]  # as in datasets.json
    epoch: int
    step: int
    figures: dict[str, float | None]
    seen: Seen | None = None  # None: a checkpoint that is older than such records


def trained(file: Path) -> Trained:
    """The model of a checkpoint.

    Raises SemblanceError for a damaged checkpoint, one whose weights do not match its recipe, or one whose base is
    missing or has changed.
    """
    state = load(file)
    try:
        recipe = TrainingRecipe.model_validate(state["recipe"])
        weights = state["average"] if state["average"] is not None else state["model"]
        known = {name: state.get(name) for name in ("base", "licence")}
        model = models.restored(recipe.model, WeightsFile(path=file, state=weights, **known))
    except (ValueError, RuntimeError) as error:
        raise SemblanceError(
            f"The checkpoint {file} does not match this version's models ({str(error).splitlines()[0]}); train again."
        ) from error
    return Trained(
        model=model.to(memory_format=torch.channels_last),  # as pictures are decoded
        recipe=recipe,
        datasets=state["datasets"],
        epoch=state["epoch"],
        step=state["step"],
        figures=state["figures"],
        seen=seen.of_state(state.get("seen")),
    )


def base(state: Mapping[str, Any]) -> Base | None:
    """What completes the weights of a checkpoint; None if they are complete."""
    return Base(**state["base"]) if state.get("base") else None


def seen_by(given: str) -> Seen | None:
    """What the run in a folder or checkpoint has seen; None if it keeps no record, or is no run."""
    return seen.of_state(_glance(given).get("seen"))


def learned_by(given: str) -> list[dict[str, Any]]:
    """The builds that the run in a folder or checkpoint learned, as in datasets.json, with the role ``weights``."""
    records = _glance(given).get("datasets", [])
    return [record | {"role": "weights"} for record in records if record["role"] in seen.LEARNED]


def _glance(given: str) -> dict[str, Any]:
    """A checkpoint whose tensors stay on disk, unchecked; empty if it is none, of which models.build says why."""
    try:
        state = torch.load(tensors.file_of(given), map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError):
        return {}
    return state if isinstance(state, dict) else {}
