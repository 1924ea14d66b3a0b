"""The training recipes: every module of this folder that registers a recipe, with its variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from semblance.manifests import config
from semblance.manifests.datasets import DATASETS
from semblance.manifests.errors import UsageError
from semblance.training.recipes.base import NAMED, ON_DEVICE, READINGS, TrainingRecipe, register

NAMED.discover(__name__, __path__)

CHANGED: Final = " (changed)"  # ends the name of a recipe that settings made another one
_TABLES: Final = frozenset({"mix"})  # keys whose mapping is a value as a whole, not a section


def load(name_or_file: str, settings: Sequence[str] = ()) -> TrainingRecipe:
    """The recipe of that name, or in that YAML or JSON file, with ``key=value`` settings applied.

    A file may name a recipe as its ``base`` and hold only what differs. A section whose ``kind`` changes (model,
    optimiser, schedule) starts from the defaults of that kind; ``data.mix`` replaces that of the base. Where
    ``augment.size`` is given and ``model.size`` is not, a model that has one takes it over.

    A recipe that the settings change is named ``... (changed)``, unless they name it, and a named recipe becomes its
    base, so that ``changes`` tells them.

    Raises UsageError for an unknown name, an unreadable file, an unknown key, a value out of range, or a mix with a
    dataset that does not exist.
    """
    values, keys = _read(name_or_file)
    named = [setting.partition("=")[0].strip() for setting in settings]
    changed = values
    for setting in settings:
        section, dot, kind = setting.partition(".kind=")
        if dot and section in changed:
            changed = _over(changed, {section: {"kind": yaml.safe_load(kind)}})
    recipe = config.parse(TrainingRecipe, config.apply_settings(changed, settings), name_or_file)
    recipe = _sized(recipe, {*keys, *named}, name_or_file)
    _check_mix(recipe, name_or_file)
    _check_size(recipe, name_or_file)
    return _renamed(recipe, values, keys, name_or_file) if named else recipe


def _read(name_or_file: str) -> tuple[dict[str, Any], set[str]]:
    """The values of a recipe, over those of its base, and the dotted keys that its file writes."""
    values = config.read({name: recipe.model_dump(mode="json") for name, recipe in NAMED.items()}, name_or_file)
    if name_or_file in NAMED:
        return values, set()
    keys = {key for key, _ in config.flatten(values)}
    base = values.get("base")
    if base is None:
        return values, keys
    if base not in NAMED:
        raise UsageError(f"The recipe {name_or_file} has the unknown base {base!r}; bases are {', '.join(NAMED)}.")
    return _over(NAMED[base].model_dump(mode="json"), values), keys


def _sized(recipe: TrainingRecipe, keys: set[str], where: str) -> TrainingRecipe:
    """The recipe with ``model.size``, where there is one, taken from ``augment.size`` if only that was written."""
    size = recipe.augment.size
    if "augment.size" not in keys or "model.size" in keys or getattr(recipe.model, "size", size) == size:
        return recipe
    values = recipe.model_dump(mode="json")
    return config.parse(TrainingRecipe, values | {"model": values["model"] | {"size": size}}, where)


def _check_mix(recipe: TrainingRecipe, where: str) -> None:
    for name in recipe.data.mix or ():
        if name not in DATASETS:
            raise UsageError(
                f"The recipe {where} has the unknown dataset {name!r} in 'data.mix'; datasets are "
                f"{', '.join(sorted(DATASETS))}."
            )


def _check_size(recipe: TrainingRecipe, where: str) -> None:
    given, taken = recipe.augment.size, getattr(recipe.model, "size", None)
    if recipe.model.fixed_size and given != taken:
        raise UsageError(
            f"The recipe {where} gives pictures of {given} px (augment.size) to a model of {taken} px (model.size); "
            "set both to the same number."
        )


def _renamed(recipe: TrainingRecipe, values: Mapping[str, Any], keys: set[str], name_or_file: str) -> TrainingRecipe:
    """The recipe under a name of its own if the settings made it another one than ``values``."""
    try:
        if recipe == _sized(config.parse(TrainingRecipe, values, name_or_file), keys, name_or_file):
            return recipe
    except UsageError:
        pass  # complete only with the settings
    base = name_or_file if name_or_file in NAMED else recipe.base
    name = recipe.name if recipe.name != values["name"] else recipe.name + CHANGED
    return recipe.model_copy(update={"name": name, "base": base})


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
    found = next((READINGS[name] for name in names if name in READINGS), ())
    return tuple(reading for reading in found if reading != ON_DEVICE or recipe.augment.on == "device")


def _over(under: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """``under`` updated with ``values``, section by section; a section of another kind is replaced."""
    merged = dict(under)
    for key, value in values.items():
        below = merged.get(key)
        same = isinstance(below, Mapping) and isinstance(value, Mapping) and not _other_kind(below, value)
        same = same and key not in _TABLES
        merged[key] = _over(below, value) if same else value  # type: ignore[arg-type]
    return merged


def _other_kind(below: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    return "kind" in value and value["kind"] != below.get("kind")


__all__ = ["NAMED", "TrainingRecipe", "changes", "load", "readings", "register"]
