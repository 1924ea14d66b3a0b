"""Runs that differ by their seed alone, and the mean and spread of their figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from semblance.manifests.config import canonical_json, fingerprint
from semblance.training.inference.predictor import Predictor
from semblance.training.recipes import TrainingRecipe
from semblance.training.runs.folder import RunDir


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """Runs of one recipe on the same builds: ``runs`` and their ``seeds``, in the same order."""

    name: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} ({len(self.runs)} seeds)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The mean of a figure over ``runs`` runs, and its sample standard deviation (n - 1)."""

    mean: float
    sd: float
    runs: int


def find(predictors: Sequence[Predictor]) -> tuple[Seeds, ...]:
    """Groups of two or more runs whose recipes and training builds are equal but for the seed.

    An ensemble is in no group. Of two runs with the same seed only the first counts.
    """
    alike: dict[str, dict[int, str]] = {}
    for predictor in predictors:
        if len(predictor.members) == 1 and not predictor.calibrated:
            recipe = predictor.members[0].trained.recipe
            alike.setdefault(_question(predictor), {}).setdefault(recipe.seed, predictor.name)
    groups = [members for members in alike.values() if len(members) > 1]
    names = [shared(members.values()) or "runs" for members in groups]
    return tuple(
        Seeds(
            name=name if names.count(name) == 1 else f"{name} {number}",
            runs=tuple(members.values()),
            seeds=tuple(members),
        )
        for number, (name, members) in enumerate(zip(names, groups, strict=True), 1)
    )


def _question(predictor: Predictor) -> str:
    """What a run was asked to learn, without its seed; a run that it learns from stands for what that was asked."""
    trained = predictor.members[0].trained
    recipe = _seedless(trained.recipe)
    if trained.model.base is not None:
        recipe["model"][trained.recipe.model.base_key] = _asked(trained.model.base.source)
    builds = [
        [record["dataset"], record["fingerprint"], record["split_column"]]
        for record in predictor.datasets
        if record["role"] == "train"
    ]
    return canonical_json([recipe, builds])


def _seedless(recipe: TrainingRecipe) -> dict[str, Any]:
    """A recipe without its seed, and with what the runs that it names were asked in place of their folders."""
    values = recipe.model_dump(mode="json", exclude={"seed"})
    asked = {source: _asked(source) for source in (recipe.model.pretrained, *recipe.regime.sources)}
    values["model"]["pretrained"] = asked[recipe.model.pretrained]
    values["regime"] = {
        key: asked.get(one, one) if isinstance(one, str) else one for key, one in values["regime"].items()
    }
    return values


def _asked(source: str) -> str:
    """A fingerprint of what the run in a folder was asked; the source itself if it is none."""
    run = RunDir(source)
    return fingerprint(_seedless(run.recipe())) if run.recipe_file.is_file() else source


def shared(names: Iterable[str]) -> str:
    """What the names of runs begin with: ``resnet50`` of resnet50-seed0 and resnet50-seed1."""
    letters = zip(*names, strict=False)
    prefix = "".join(one[0] for one in takewhile(lambda one: len(set(one)) == 1, letters))
    return re.sub(r"[-_. ]*(seed)?[-_. ]*$", "", prefix, flags=re.IGNORECASE)


def spread(values: Iterable[float | None]) -> Spread | None:
    """Mean and spread of one figure over the runs of a group; None if a run does not have it."""
    known = list(values)
    if len(known) < 2 or any(value is None for value in known):
        return None
    numbers = np.asarray(known, np.float64)
    return Spread(mean=float(numbers.mean()), sd=float(numbers.std(ddof=1)), runs=len(numbers))


def systems(models: Sequence[str], groups: Sequence[Seeds]) -> Mapping[str, tuple[str, ...]]:
    """What a table compares, in order: each group of runs as one line, and the models that are in none."""
    of_run = {run: group for group in groups for run in group.runs}
    found: dict[str, tuple[str, ...]] = {}
    for model in models:
        if model in of_run:
            found.setdefault(str(of_run[model]), of_run[model].runs)
        else:
            found[model] = (model,)
    return found
