"""A model's tensors in safetensors, and the same model again: bit for bit, with nothing else from disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from semblance.manifests.config import canonical_json
from semblance.manifests.errors import SemblanceError
from semblance.training import models
from semblance.training.inference.member import Member
from semblance.training.models import Model, tensors, tuned
from semblance.training.recipes.base import TrainingRecipe

_FRAME: Final = "frame."  # a clip model's frame model among its tensors


def write(member: Member, file: Path) -> Path | None:
    """Write the tensors that inference uses; of a clip model those of its frame model into a file of their own.

    ``model.pretrained`` takes the file, and ``model.frames_from`` the other. Returns the other, None without one.
    """
    model, recipe = member.trained.model, member.trained.recipe
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    if member.clip == 1:
        _save(state, recipe.model.model_dump(mode="json"), model.licence, file)
        return None
    frames = file.with_name(f"{file.stem}-frames{file.suffix}")
    inner = {name.removeprefix(_FRAME): value for name, value in state.items() if name.startswith(_FRAME)}
    rest = {name: value for name, value in state.items() if not name.startswith(_FRAME)}
    _save(inner, _frame_model(member), model.licence, frames)
    _save(rest, recipe.model.model_dump(mode="json"), model.licence, file)
    return frames


def _save(state: Mapping[str, Tensor], config: Mapping[str, Any], licence: str | None, file: Path) -> None:
    noted = {"format": "pt", tensors.METADATA: canonical_json(dict(config) | {"pretrained": "none"})}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.contiguous().clone() for name, value in state.items()},
        file,
        noted if licence is None else noted | {tensors.LICENCE: licence},
    )


def _frame_model(member: Member) -> Mapping[str, Any]:
    """The section ``model`` of the run that a clip model was trained over."""
    config, base = member.trained.recipe.model, member.trained.model.base
    given = str(getattr(config, config.base_key))
    run = tensors.read(given if base is None else tuned.found(base, given, member.file)).run
    if run is None:
        raise SemblanceError(f"{given} does not say which model it is of, so {member.name} cannot be packaged.")
    return run


def digest(member: Member) -> str:
    """The SHA-256 of all tensors of a member's model."""
    state = member.trained.model.state_dict()
    return tuned.digest(state, set(state))


def restored(recipe: TrainingRecipe, file: Path, frames: Path | None, licence: str | None) -> Model:
    """The model of ``write``'s files, as inference uses it; raises SemblanceError if they do not hold its tensors."""
    config = recipe.model.model_copy(update={"pretrained": "none"})
    if frames is not None:
        config = config.model_copy(update={config.base_key: str(frames)})
    try:
        model = models.build(config, pretrained=frames is not None)
        state = load_file(file)
        if frames is not None:
            state |= {_FRAME + name: value for name, value in load_file(frames).items()}
        model.load_state_dict(state, strict=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SemblanceError(
            f"{file} does not match this version's models ({reason}); use the version of semblance that made it."
        ) from error
    model.licence, model.origin = licence, f"all tensors of {file}"
    return model.eval().to(memory_format=torch.channels_last)  # as a run's own model
