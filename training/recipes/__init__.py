"""The training recipes: one file for each, with its variants; a file in this folder that registers a recipe is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from semblance.manifests import config
from semblance.manifests.errors import UsageError
from semblance.training.recipes.base import NAMED, READINGS, TrainingRecipe, register

NAMED.discover(__name__, __path__)


def load(name_or_file: str, settings: Sequence[str] = ()) -> TrainingRecipe:
    """The recipe that a name or a YAML or JSON file gives, with ``key=value`` settings laid over it.

    A file may name a recipe as its ``base`` and hold only what it changes. A section whose ``kind`` is changed (model,
    optimiser, schedule) starts from that kind's defaults. Raises UsageError for an unknown name, an unreadable file,
    an unknown key or a value out of range.
    """
    values = config.read({name: one.model_dump(mode="json") for name, one in NAMED.items()}, name_or_file)
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


def changes(one: TrainingRecipe) -> list[str]:
    """Lines ``key: base's value -> this one's`` for all in which a recipe differs from its base; none without one."""
    if one.base is None or one.base not in NAMED:
        return []
    names = {"name", "base"}
    return config.differences(
        NAMED[one.base].model_dump(mode="json", exclude=names), one.model_dump(mode="json", exclude=names)
    )


def readings(one: TrainingRecipe) -> tuple[str, ...]:
    """How the plan's words were read for a recipe, or for the one that it is laid over: sentences for its page."""
    below = NAMED.get(one.base or "")
    names = (one.name, one.base, below and below.base)
    return next((READINGS[name] for name in names if name in READINGS), ())


def _over(under: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` laid over ``under``, section by section; a section of another kind replaces the one below."""
    merged = dict(under)
    for key, value in values.items():
        below = merged.get(key)
        same = isinstance(below, Mapping) and isinstance(value, Mapping) and not _other_kind(below, value)
        merged[key] = _over(below, value) if same else value  # type: ignore[arg-type]
    return merged


def _other_kind(below: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    return "kind" in value and value["kind"] != below.get("kind")


__all__ = ["NAMED", "TrainingRecipe", "changes", "load", "readings", "register"]
