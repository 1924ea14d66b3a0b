"""What a run is about to do, in sentences: for the terminal, its folder and its page in the tracker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from semblance.training import optim, recipes
from semblance.training.data import order, sampling
from semblance.training.data.splits import TrainingData
from semblance.training.loop.machine import Machine, per_rank
from semblance.training.models import Model, weights
from semblance.training.recipes.base import TrainingRecipe

_PERMISSIVE: Final = frozenset({"apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0"})  # as timm names them


def lines(recipe: TrainingRecipe, data: TrainingData, machine: Machine, model: Model) -> list[str]:
    """The data, the model and its weights, device and precision, batch and steps, changes of the recipe, and readings.

    Raises UsageError for a batch that the devices cannot share.
    """
    return [*_data(data, recipe), *_model(recipe, model), *_training(recipe, data, machine), *_recipe(recipe)]


def _data(data: TrainingData, recipe: TrainingRecipe) -> Iterator[str]:
    yield f"train: {data.train.counts}"
    yield f"an epoch of {sampling.describe(data.train.units, recipe.data)}"
    for name, selection in (*data.val.items(), *data.others.items()):
        yield f"val of {name}: {selection.counts}"
        if selection.note:
            yield selection.note
    for warning in data.warnings:
        yield f"warning: {warning}"


def _model(recipe: TrainingRecipe, model: Model) -> Iterator[str]:
    arch = getattr(recipe.model, "arch", None)
    parameters = list(model.parameters())
    count, trained = (sum(one.numel() for one in some) for some in (parameters, optim.trained(parameters)))
    named = f"{recipe.model.kind} ({arch})" if arch else recipe.model.kind
    part = f", {trained:,} of them trained" if trained < count else ""
    clips = f", clips of {model.members}" if model.members > 1 else ""
    yield f"model: {named}, {count:,} parameters{part}, pictures of {recipe.augment.size} px{clips}"
    yield f"weights: {model.origin}"
    if model.licence is not None:
        yield f"licence of these weights: {_licence(model.licence)}"
    if model.base is not None:
        where = "timm's weights" if model.base.source == "imagenet" else model.base.source
        yield f"checkpoints: what is trained; {where} (SHA-256 {model.base.sha256[:12]}) will be needed to load them"
    elif trained < count:
        yield "checkpoints: the whole model, since random weights cannot be had again"


def _licence(name: str) -> str:
    if name == weights.UNKNOWN:
        return "unknown; ask who published them before you use or pass on what is trained from them"
    if set(name.split(" and ")) <= _PERMISSIVE:
        return name
    whose = " (Meta's own, for DINOv3)" if name == "dinov3-license" else ""
    return (
        f"{name}{whose}, which is not a permissive one; read its conditions before you use or pass on what is trained "
        "from them"
    )


def _training(recipe: TrainingRecipe, data: TrainingData, machine: Machine) -> Iterator[str]:
    if recipe.regime.kind != "supervised":
        yield f"regime: {'; '.join([recipe.regime.kind, *recipe.regime.terms])}"
    precision = machine.precision(recipe.precision)
    given = "" if precision == recipe.precision else f" (the recipe says {recipe.precision})"
    yield f"device: {machine.device}, precision {precision}{given}"
    yield f"augmentation: {_augmentation(recipe, machine)}"
    share = per_rank(recipe.data.batch_size, machine.ranks)
    batches = order.cut(recipe.data.draws or data.train.units.height, machine.ranks, share).batches
    steps = -(-batches // recipe.accumulate)
    parts = [f"{share} on each of {machine.ranks} devices"] if machine.ranks > 1 else []
    parts += [f"{recipe.accumulate} batches of {recipe.data.batch_size}"] if recipe.accumulate > 1 else []
    shared = f" ({', '.join(parts)})" if parts else ""
    yield (
        f"a step: {recipe.units} units{shared}; {steps:,} steps an epoch, {steps * recipe.epochs:,} in {recipe.epochs} "
        "epochs"
    )
    meant = f" ({recipe.optimiser.lr:g} is meant for {recipe.lr_batch} units)" if recipe.lr_batch else ""
    yield f"learning rate: {recipe.lr:g}{meant}"


def _augmentation(recipe: TrainingRecipe, machine: Machine) -> str:
    if recipe.augment.on == "workers":
        return "by the loader, on the CPU"
    where = "in batches on the device; policy and encoders by the loader, before the other steps"
    return where if machine.on_gpu else f"{where} (without a GPU --set augment.on=workers is faster)"


def _recipe(recipe: TrainingRecipe) -> Iterator[str]:
    for change in recipes.changes(recipe):
        yield f"differs from {recipe.base}: {change}"
    for reading in recipes.readings(recipe):
        yield f"reading of the plan: {reading}"
