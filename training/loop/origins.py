"""Where a run comes from: the runs whose weights it starts with, builds on, or learns from, and what they have seen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from semblance.manifests.errors import SemblanceError
from semblance.training.data import isolation
from semblance.training.data.splits import TrainingData
from semblance.training.guard import crops, seen
from semblance.training.guard.seen import Seen
from semblance.training.inference import predictor
from semblance.training.models import tensors
from semblance.training.recipes.base import TrainingRecipe
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import read_json


def seen_by_weights(recipe: TrainingRecipe) -> Seen | None:
    """What the runs that it comes from have seen, trained further or not; None if it comes from none."""
    records = [_seen_by(given) for given in files(recipe)]
    records += [record for given in _ensembles(recipe) if (record := seen.read(Path(given) / seen.FILE)) is not None]
    return seen.union(records) if records else None


def with_weights(recipe: TrainingRecipe, data: TrainingData, state: Mapping[str, Any] | None) -> TrainingData:
    """The data, and the builds of the runs that it comes from, or came from when a resumed run began."""
    if state is not None:
        more = [record for record in state["datasets"] if record["role"] == "weights"]
    else:
        more = [record for given in files(recipe) for record in checkpoint.learned_by(given)]
    return replace(data, datasets=(*data.datasets, *more))


def like_frozen(recipe: TrainingRecipe, data: TrainingData, allow_other_crops: bool) -> TrainingData:
    """The data, whose crops must be cut like those that a frozen model knows, since it does not learn other ones."""
    frozen = getattr(recipe.model, recipe.model.base_key)
    if recipe.model.base_key == "pretrained" or frozen is None:
        return data
    learned = [record["recipe"] for record in checkpoint.learned_by(frozen) if record.get("recipe")]
    trained = [record for record in data.datasets if record["role"] == "train"]
    cut = [line for one in trained for line in crops.told(str(one["out"]), one.get("recipe"), frozen, learned)]
    if cut and not allow_other_crops:
        raise SemblanceError(
            f"{cut[0]}{isolation.more(len(cut))}, and that model is not trained further; build them by its recipe, or "
            "pass --allow-other-crops."
        )
    notes = [f"allowed with --allow-other-crops: {line}" for line in cut]
    return replace(data, seen=seen.union([data.seen], notes), warnings=(*data.warnings, *notes))


def files(recipe: TrainingRecipe) -> list[str]:
    """The files and runs that it comes from; in place of an ensemble the checkpoints of its members."""
    model = recipe.model
    given = dict.fromkeys([model.pretrained, getattr(model, model.base_key)])
    runs = [one for one in given if one not in (None, "none", "imagenet")]
    for source in recipe.regime.sources:
        ensemble = Path(source) / predictor.ENSEMBLE
        if ensemble.exists():
            members = read_json(ensemble).get("members", [])
            runs += [str(Path(source) / str(record["file"])) for record in members if "file" in record]
        else:
            runs.append(source)
    return list(dict.fromkeys(runs))


def hashes(recipe: TrainingRecipe) -> dict[str, str]:
    """The SHA-256 of every checkpoint that its regime learns from, by the name that the recipe or ensemble has for it.

    Of an ensemble that of its list of members too.

    Raises SemblanceError if one does not exist.
    """
    of_weights = {recipe.model.pretrained, getattr(recipe.model, recipe.model.base_key)}
    found = {}
    lists = [str(Path(source) / predictor.ENSEMBLE) for source in _ensembles(recipe)]  # members' weights are in them
    for given in (*lists, *files(recipe)):
        if given in of_weights and given not in recipe.regime.sources:
            continue
        file = tensors.file_of(given)
        try:
            with file.open("rb") as opened:
                found[given] = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise SemblanceError(
                f"{file}, which regime {recipe.regime.kind} learns from, cannot be read ({error.strerror}); name the "
                "folder of a trained run."
            ) from error
    return found


def check_same(now: Mapping[str, str], before: Mapping[str, str], where: str) -> None:
    """Raise SemblanceError if a run that a resumed one learns from is not the one that it began with."""
    for given in dict.fromkeys([*before, *now]):
        if now.get(given) != before.get(given):
            raise SemblanceError(
                f"{given} has changed since {where} began to learn from it; put it back, or start a new run."
            )


def _ensembles(recipe: TrainingRecipe) -> list[str]:
    return [source for source in recipe.regime.sources if (Path(source) / predictor.ENSEMBLE).exists()]


def _seen_by(given: str) -> Seen:
    return checkpoint.seen_by(given) or seen.union([], [f"what the weights in {given} were trained on is not known"])
