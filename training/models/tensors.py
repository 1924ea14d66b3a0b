"""Files of weights, matched tensor by tensor: what was taken is counted, and what does not fit is refused."""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from semblance.manifests.errors import SemblanceError, UsageError

State = Mapping[str, Tensor]

RUN_FILE: Final = Path("checkpoints") / "best.ckpt"  # of a run folder
ENSEMBLE_FILE: Final = "ensemble.json"  # of an ensemble's folder; it holds the checksums of its members
COMPUTED: Final = "semblance_computed"
METADATA: Final = "semblance.model"  # in a file of safetensors: the recipe's model as JSON
LICENCE: Final = "semblance.licence"
_WRAPPERS: Final = ("state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model_state_dict", "model", "net")
_COUNTERS: Final = "num_batches_tracked"  # files of old versions of torch lack them
_UNREADABLE: Final = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, SafetensorError),
    *(RuntimeError, ValueError, EOFError, OSError),
)
_SHOWN: Final = 2  # names in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """The tensors of a file by name.

    ``run``: its recipe's model, if the file is a checkpoint of `training fit`. ``base``: what completes a checkpoint
    that holds only what was trained (``source`` and ``sha256``). ``side``: that of its pictures in px, if it is known.
    ``licence``: of the weights that the run began with.
    """

    path: Path
    state: State
    run: Mapping[str, Any] | None = None
    base: Mapping[str, str] | None = None
    side: int | None = None
    licence: str | None = None


def is_run(given: str) -> bool:
    """Whether ``given`` names a run folder, a checkpoint of one, or its export as safetensors."""
    if given in ("none", "imagenet"):
        return False
    return Path(given).is_dir() or given.endswith(".ckpt") or _exported(Path(given)) is not None


def file_of(given: str) -> Path:
    """The file that ``given`` names: that of a run's best weights, if it is a folder."""
    path = Path(given)
    return path / RUN_FILE if path.is_dir() else path


def read(given: str) -> WeightsFile:
    """The weights in a run folder (its best checkpoint), or in a file that torch or safetensors wrote.

    Of a checkpoint with a moving average, the average. Raises UsageError if there is no such file, SemblanceError if it
    holds no weights.
    """
    path = file_of(given)
    if Path(given).is_dir() and not path.is_file():
        raise UsageError(f"model.pretrained is the folder {given}, which is not a trained run (no {RUN_FILE}).")
    if not path.is_file():
        raise UsageError(
            f"model.pretrained is {given!r}, which is neither a file nor a run; use a file of weights, the folder of a "
            "run, imagenet or none."
        )
    try:
        content: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except _UNREADABLE as error:
        reason = (
            "it is not one, or holds more than tensors"
            if isinstance(error, pickle.UnpicklingError)
            else str(error).strip().splitlines()[0]
        )
        raise SemblanceError(
            f"{path} cannot be read as weights ({reason}); use a file of timm, torchvision or safetensors, or a run."
        ) from error
    if (exported := _exported(path)) is not None:
        return WeightsFile(path=path, state=content, run=exported, licence=_noted(path).get(LICENCE))
    if isinstance(content, Mapping) and {"recipe", "model", "average"} <= content.keys():
        state = content["average"] if content["average"] is not None else content["model"]
        recipe = content["recipe"]
        side = recipe.get("augment", {}).get("size")
        known = {name: content.get(name) for name in ("base", "licence")}
        return WeightsFile(path=path, state=state, run=recipe["model"], side=side, **known)
    named = content if isinstance(content, Mapping) else {}
    inner = next((named[name] for name in _WRAPPERS if isinstance(named.get(name), Mapping)), named)
    state = {name: value for name, value in inner.items() if isinstance(value, Tensor)}
    if not state:
        raise SemblanceError(f"{path} holds no weights by name; give a state_dict.")
    return WeightsFile(path=path, state=state)


def fill(module: nn.Module, file: WeightsFile, *, name: str, head: Collection[str] = ()) -> str:
    """Load every tensor of ``module`` from ``file``, and say how many.

    Names may have one prefix more, such as ``backbone.`` or ``module.``. Tensors of a classifier, whose names begin
    with one of ``head``, are left out. ``name``: that of ``module`` in messages. Raises SemblanceError, with counts and
    names, if a tensor is missing or has another shape, or if one is left over: it is then of another architecture.

    Names of tensors that were computed from the file's, such as position embeddings of another grid, become the
    attribute ``COMPUTED`` of ``module``: their last bits depend on the machine.
    """
    own = module.state_dict()
    given = _translated(module, _unprefixed(file.state, own))
    missing = [key for key in own if key not in given and not key.endswith(_COUNTERS)]
    misshaped = [key for key, value in own.items() if key in given and given[key].shape != value.shape]
    left = sorted(key for key in given if key not in own)
    over = [key for key in left if not key.startswith(tuple(head)) and not key.endswith(_COUNTERS)]
    if missing or misshaped or over:
        faults = (
            (f"{len(missing)} of {len(own)} tensors are missing", missing),
            (f"{len(misshaped)} have another shape", misshaped),
            (f"{len(over)} belong to nothing in it", over),
        )
        told = "; ".join(f"{what} ({_some(keys)})" for what, keys in faults if keys)
        raise SemblanceError(f"The weights in {file.path} do not fit {name}: {told}.")
    module.load_state_dict({key: value for key, value in given.items() if key in own}, strict=False)
    memory = {value.untyped_storage().data_ptr() for value in file.state.values()}
    computed = {key for key in own if key in given and given[key].untyped_storage().data_ptr() not in memory}
    setattr(module, COMPUTED, frozenset(computed))
    rest = f"; not used: {_some(left)}" if left else ""
    return f"{len(own)} of {len(own)} tensors from {file.path}{rest}"


def _exported(path: Path) -> Mapping[str, Any] | None:
    """The recipe's model that `training export` noted in a file of safetensors; None for any other file."""
    noted = _noted(path).get(METADATA)
    return None if noted is None else dict(json.loads(noted))


def _noted(path: Path) -> Mapping[str, str]:
    """What is noted in a file of safetensors; nothing in any other file."""
    if path.suffix != ".safetensors" or not path.is_file():
        return {}
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except _UNREADABLE:
        return {}


def _unprefixed(state: State, own: State) -> State:
    """``state`` without the prefix under which most of its tensors have names in ``own``, and what is outside it."""
    first = min(own, key=lambda key: (key.count("."), key))
    prefixes = {""} | {key[: -len(first)] for key in state if key.endswith(first)}
    best = max(sorted(prefixes), key=lambda prefix: sum(prefix + key in state for key in own))
    return {key.removeprefix(best): value for key, value in state.items()}


def _translated(module: nn.Module, state: State) -> State:
    """``state`` with timm's names, where timm knows how to translate another publisher's."""
    translate: Callable[..., State] | None = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    own = module.state_dict()
    if translate is None or all(key in state and state[key].shape == value.shape for key, value in own.items()):
        return state
    return translate(dict(state), module)


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
