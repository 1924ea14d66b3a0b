"""The registry of models: what ``model.kind`` of a recipe may be, and how each kind is configured and made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from semblance.manifests.config import OneOf
from semblance.manifests.registry import Registry
from semblance.training.models import lora, tensors, tuned, weights
from semblance.training.models.base import Base, Model, ModelConfig
from semblance.training.models.tensors import WeightsFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of model: its section of the recipe, and how it is made from that and from the source of its weights."""

    config: type[ModelConfig]
    make: Callable[[Any, str], Model]


MODELS: Final[Registry[Kind]] = Registry("model", "model.kind")
M = TypeVar("M", bound=Callable[[Any, str], Model])
AnyModelConfig = Annotated[ModelConfig, OneOf(lambda: {name: kind.config for name, kind in MODELS.items()})]


def register(config: type[ModelConfig]) -> Callable[[M], M]:
    """Decorate a model, or a function that makes one, so that recipes may name the ``kind`` of its ``config``.

    It is called with the configuration and the source of its weights: ``imagenet``, ``none`` or a file. Raises
    ValueError if the kind is taken.
    """

    def add(make: M) -> M:
        MODELS.add(config.model_fields["kind"].default, Kind(config=config, make=make))
        return make

    return add


def build(config: ModelConfig, *, pretrained: bool = True) -> Model:
    """A new model, whose ``origin`` says which weights were taken over. Those of a run fill all of it, its head too.

    ``pretrained=False`` leaves the configured weights out, for a model that a checkpoint will fill.

    Raises UsageError for an unknown architecture or a missing file of weights, SemblanceError if weights cannot be
    reached or do not match.
    """
    source = config.pretrained if pretrained else "none"
    run = _whole(tensors.read(source)) if tensors.is_run(source) else None
    model = MODELS.find(config.kind).make(config, "none" if run else source)
    if run is not None:
        model.origin = tensors.fill(model, run, name=f"this recipe's model ({config.kind})")
        model.licence = run.licence or weights.UNKNOWN
    else:
        model.origin = weights.origin(model)
        model.licence = weights.licence(model)
    model.settle()
    model.base = tuned.base(model, getattr(config, config.base_key) if pretrained else "none")
    return model


def based(config: ModelConfig, base: Base | None, where: Path, make: Callable[..., Model] | None = None) -> Model:
    """A model for a checkpoint at ``where`` to fill: with the base that completes it, if it holds only a part.

    ``make``: what is called in place of ``build``. Raises SemblanceError if the base is missing or another one.
    """
    make = make or build
    if base is None:
        return make(config, pretrained=False)
    source = tuned.found(base, getattr(config, config.base_key), where)
    model = make(config.model_copy(update={config.base_key: source}), pretrained=True)
    tuned.verify(model, base, where)
    return model


def restored(config: ModelConfig, file: WeightsFile) -> Model:
    """The model of a run's checkpoint, in eval mode, with what it was tuned to.

    Raises RuntimeError if its tensors are not those of ``config``, SemblanceError as ``based`` does.
    """
    model = based(config, Base(**file.base) if file.base else None, file.path)
    tuned.load(model, file.state, model)
    model.licence = file.licence
    return model.eval()


def _whole(run: WeightsFile) -> WeightsFile:
    """A run's weights with those of its base, each product of matrices merged into its weight."""
    state = run.state
    if run.base is not None and run.run is not None:  # a part
        config = MODELS.find(run.run["kind"]).config.model_validate(run.run)
        state = restored(config, run).state_dict()
    return replace(run, state=lora.merged(state), base=None)
