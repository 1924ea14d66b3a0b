"""Models of which a part is trained: what a checkpoint keeps of them, and how it is completed from their base.

A model's base are the tensors that no step changes: parameters without gradients, and buffers of frozen parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from semblance.manifests.errors import SemblanceError
from semblance.training.models import tensors
from semblance.training.models.base import Base, Model, frozen_parts

_SHOWN: Final = 12  # digits of a hash in a message


def still(model: nn.Module) -> set[str]:
    """The names of the tensors of its base, without those that were computed when weights were loaded.

    Computed ones, such as position embeddings for another grid, differ in their last bits from machine to machine, so
    a checkpoint keeps them.
    """
    names = {name for name, parameter in model.named_parameters(remove_duplicate=False) if not parameter.requires_grad}
    frozen = {id(part) for part in frozen_parts(model)}
    for prefix, part in model.named_modules():
        dot = f"{prefix}." if prefix else ""
        if id(part) in frozen:
            names |= {dot + name for name in part.state_dict()}
    for prefix, part in model.named_modules():
        names -= {f"{prefix}.{name}" if prefix else name for name in getattr(part, tensors.COMPUTED, ())}
    return names & model.state_dict().keys()


def kept(model: Model, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a checkpoint keeps of ``state``, tensors by the names of ``model``: all, if no base can complete it."""
    left = still(model) if model.base is not None else set()
    return {name: value for name, value in state.items() if name not in left}


def load(model: nn.Module, state: Mapping[str, Tensor], like: Model) -> None:
    """Fill ``model``, a model or average with the names and base of ``like``, with what ``kept`` left of it.

    Raises RuntimeError, as torch does, for other names or shapes.
    """
    wanted = model.state_dict().keys() - (still(like) if like.base is not None else set())
    if missing := sorted(wanted - state.keys()):
        raise RuntimeError(f"{len(missing)} tensors are missing, such as {missing[0]}")
    if over := sorted(state.keys() - wanted):
        raise RuntimeError(f"{len(over)} tensors belong to nothing in the model, such as {over[0]}")
    model.load_state_dict(dict(state), strict=False)


def base(model: nn.Module, source: str) -> Base | None:
    """The base of a new model with weights from ``source``; None if it has none, or a random one."""
    if source == "none" or not (names := still(model)):
        return None
    place = source if source == "imagenet" else str(Path(source).absolute())
    return Base(source=place, sha256=digest(model.state_dict(), names))


def digest(state: Mapping[str, Tensor], names: set[str]) -> str:
    """The SHA-256 of tensors by their names, types, shapes and bytes."""
    sha256 = hashlib.sha256()
    for name in sorted(names):
        value = state[name].detach().cpu().contiguous()
        sha256.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        sha256.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def found(wanted: Base, given: str, where: Path) -> str:
    """The source of a base today: its path, or where ``given``, the recipe's own setting, is one from here.

    Raises SemblanceError if it is at neither place. ``where``: the checkpoint that needs it.
    """
    for source in (wanted.source, given):
        if source == "imagenet" or tensors.file_of(source).is_file():
            return source
    raise SemblanceError(
        f"{where} holds only the trained part of a model whose other weights are in {wanted.source}, which does not "
        "exist here; put that file or run there again, or train again."
    )


def verify(model: Model, wanted: Base, where: Path) -> None:
    """Raise SemblanceError if the model's base has not the hash of the one that a checkpoint was trained on."""
    has = model.base.sha256 if model.base is not None else "none"
    if has != wanted.sha256:
        raise SemblanceError(
            f"{where} was trained on other weights than those in {wanted.source} today (SHA-256 {has[:_SHOWN]}, not "
            f"{wanted.sha256[:_SHOWN]}); restore that file or run, or train again."
        )
