"""The training recipes: every module of this folder that registers a recipe, with its variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from semblance.manifests import config
from semblance.manifests.errors import UsageError
from semblance.training.recipes.base import NAMED, READINGS, TrainingRecipe, register

NAMED.discover(__name__, __path__)


def load(name_or_file: str, settings: Sequence[str] = ()) -> TrainingRecipe:
    """The recipe of that name, or in that YAML or JSON file, with ``key=value`` settings applied.

    A file may name a recipe as its ``base`` and hold only what differs. A section whose ``kind`` changes (model,
    optimiser, schedule) starts from the defaults of that kind.

    Raises UsageError for an unknown name, an unreadable file, an unknown key or a value out of range.
    """
    values = config.read({name: recipe.model_dump(mode="json") for name, recipe in NAMED.items()}, name_or_file)
    base = values.get("base")
    if base is not None:
        if base not in NAMED:
            raise UsageError(f"The recipe {name_or_file} has the unknown base {base!r}; bases are {', '.join(NAMED)}.")
        values = _over(NAMED[base].model_dump(mode="json"), values)
    for setting in settings:
        section, dot, kind = setting.partition(".kind=")
        if dot and section in values:
            values = _over(values, {section: {"kind": yaml.safe_load(kind)}})
    return config.parse(TrainingRecipe, config.apply_settings(values, settings), name_or_file)


def changes(recipe: TrainingRecipe) -> list[str]:
    """Lines ``key: value in the base -> value`` for every difference of a recipe from its base, if it has one."""
    if recipe.base is None or recipe.base not in NAMED:
        return []
    names = {"name", "base"}
    return config.differences(
        NAMED[recipe.base].model_dump(mode="json", exclude=names), recipe.model_dump(mode="json", exclude=names)
    )


def readings(recipe: TrainingRecipe) -> tuple[str, ...]:
    """How the plan was interpreted for a recipe or its base: sentences for its page."""
    base = NAMED.get(recipe.base or "")
    names = (recipe.name, recipe.base, base and base.base)
    return next((READINGS[name] for name in names if name in READINGS), ())


def _over(under: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """``under`` updated with ``values``, section by section; a section of another kind is replaced."""
    merged = dict(under)
    for key, value in values.items():
        below = merged.get(key)
        same = isinstance(below, Mapping) and isinstance(value, Mapping) and not _other_kind(below, value)
        merged[key] = _over(below, value) if same else value  # type: ignore[arg-type]
    return merged


def _other_kind(below: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    return "kind" in value and value["kind"] != below.get("kind")


__all__ = ["NAMED", "TrainingRecipe", "changes", "load", "readings", "register"]
