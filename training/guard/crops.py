"""How crops are cut and stored: the keys of a build's recipe that change their pixels, compared between builds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import polars as pl

from semblance.manifests.config import flatten

# With the values of builds that are older than a key. Keys that decide which frames or faces are used are not here.
PIXELS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "crop.kind": "box",
        "crop.margin": 1.3,
        "crop.size": 224,
        "recompress.crf": None,
        "encoding.format": "jpg",
        "encoding.quality": 95,
        "decode.hdr": "tonemap",
        "decode.deinterlace": False,
    }
)


def differences(recipe: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> list[str]:
    """``key: value instead of other's`` for every key that changes pixels; empty if one recipe is unknown."""
    if not recipe or not other:
        return []
    here, there = pixels(recipe), pixels(other)
    return [f"{key} {_text(here[key])} instead of {_text(there[key])}" for key in PIXELS if here[key] != there[key]]


def nearest(recipe: Mapping[str, Any] | None, others: Iterable[Mapping[str, Any] | None]) -> list[str]:
    """``differences`` from the most similar of several recipes; empty if none of them is known."""
    return min((differences(recipe, other) for other in others if other), key=len, default=[])


def told(name: str, recipe: Mapping[str, Any] | None, owner: str, others: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence if the crops of ``name`` are cut otherwise than by all ``others``, the known recipes of ``owner``."""
    if others and not recipe:
        return [f"How crops of {name} are cut is not known, so they may differ from those of {owner}"]
    found = nearest(recipe, others)
    return [f"Crops of {name} are cut otherwise than those of {owner}: {', '.join(found)}"] if found else []


def by_authors(plan: pl.DataFrame) -> bool:
    """Whether the dataset is published as faces that its authors cut out, which no recipe changes."""
    return plan["member"].null_count() < plan.height


def of_runs(datasets: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The known recipes of the builds that a run was trained on; ``datasets`` as in datasets.json."""
    return [record["recipe"] for record in datasets if record["role"] == "train" and record.get("recipe")]


def pixels(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a build's recipe that change pixels, all with their values."""
    values = dict(PIXELS) | {key: value for key, value in flatten(recipe) if key in PIXELS}
    if values["encoding.format"] != "jpg":  # the others are lossless
        values["encoding.quality"] = None
    return values


def _text(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
