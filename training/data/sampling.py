"""How often each unit is drawn in an epoch: a pure function of the table, configuration, seed and epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator

from semblance.manifests.config import Config
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.ids import digest
from semblance.manifests.text import format_columns

Counts_U = NDArray[np.int32]  # how often each of U units is drawn
_CLASSES: Final = {0.0: "real", 1.0: "fake"}


class SamplingConfig(Config):
    """How often pictures are drawn in an epoch. By default, each is drawn once.

    ``mix``: the share of each dataset by name, e.g. {ffpp: 60, dfdc: 25, celebdf: 15}. Datasets without a build are
    ignored, and the others keep their proportions. ``balanced_per_method``: half real, half fake, the fakes in equal
    parts by method; fakes without a published method form one part per dataset. With a mix, each dataset is balanced
    separately. ``weight``: SQL for how often a picture is drawn relative to others of the same part. ``draws``: units
    per epoch; None takes as many as there are.
    """

    mix: Mapping[str, float] | None = None
    balanced_per_method: bool = False
    weight: str | None = None
    draws: int | None = Field(default=None, ge=1)

    @field_validator("mix")
    @classmethod
    def _positive(cls, mix: Mapping[str, float] | None) -> Mapping[str, float] | None:
        if mix is not None and (not mix or min(mix.values()) <= 0):
            raise ValueError("the shares of a mix must be above 0")
        return mix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stratum:
    """A part of the units with its share of the draws; the shares of all strata add up to 1."""

    name: str
    share: float
    units: NDArray[np.int64]  # indices


def strata(units: pl.DataFrame, config: SamplingConfig) -> list[Stratum]:
    """Divide the units by dataset, class and method as configured.

    Raises UsageError if a build's dataset is not in the mix, SemblanceError if a part with a share is empty.
    """
    units = units.with_row_index("index")
    if config.mix is None:
        return _balanced("", 1.0, units, config)
    names = units["dataset"].unique().sort().to_list()
    if unmixed := [name for name in names if name not in config.mix]:
        raise UsageError(
            f"The mix names {', '.join(config.mix)}, but not {unmixed[0]}; give it a share, e.g. "
            f"--set data.mix={{{unmixed[0]}: 1}}, or remove the mix with --set data.mix=null."
        )
    total = sum(config.mix[name] for name in names)
    return [
        stratum
        for name in names
        for stratum in _balanced(f"{name} ", config.mix[name] / total, units.filter(pl.col("dataset") == name), config)
    ]


def _balanced(prefix: str, share: float, units: pl.DataFrame, config: SamplingConfig) -> list[Stratum]:
    if not config.balanced_per_method:
        return [_stratum(f"{prefix}all", share, units)]
    if units["paired"].all():  # already half and half
        return _by_method(prefix, share, units)
    classes = {value: units.filter(pl.col("target") == value) for value in _CLASSES}
    for value, members in classes.items():
        if members.is_empty():
            raise SemblanceError(
                f"The classes cannot be balanced: there is no {_CLASSES[value]} {prefix}picture. Choose another split "
                "or condition, or turn balancing off (--set data.balanced_per_method=false)."
            )
    return [_stratum(f"{prefix}real", share / 2, classes[0.0]), *_by_method(prefix, share / 2, classes[1.0])]


def _by_method(prefix: str, share: float, fakes: pl.DataFrame) -> list[Stratum]:
    nameless = format_columns("{} without a published method", "dataset")
    parts = fakes.with_columns(part=pl.coalesce("method", nameless)).partition_by("part", as_dict=True)
    names = sorted(str(name) for (name,) in parts)
    return [_stratum(f"{prefix}{name}", share / len(parts), parts[name,]) for name in names]


def _stratum(name: str, share: float, units: pl.DataFrame) -> Stratum:
    return Stratum(name=name, share=share, units=units["index"].to_numpy().astype(np.int64))


def describe(units: pl.DataFrame, config: SamplingConfig) -> str:
    """What an epoch is drawn from, in words; names the datasets of the mix that have no build."""
    shares = ", ".join(f"{part.name} {part.share:.1%}" for part in strata(units, config))
    missing = sorted(set(config.mix or ()) - set(units["dataset"].unique()))
    note = f"; no build of {', '.join(missing)}, which the mix names" if missing else ""
    return f"{config.draws or units.height} draws: {shares}{note}"


def quotas(parts: list[Stratum], draws: int) -> list[int]:
    """Integers that add up to ``draws``, each within one of its share, by the method of largest remainders."""
    exact = [part.share * draws for part in parts]
    counts = [int(value + 1e-9) for value in exact]
    order = sorted(range(len(parts)), key=lambda i: (round(counts[i] - exact[i], 9), parts[i].name))
    for i in order[: draws - sum(counts)]:
        counts[i] += 1
    return counts


def draw(units: pl.DataFrame, config: SamplingConfig, *, seed: int, epoch: int) -> Counts_U:
    """How often each unit is drawn in this epoch.

    Systematic sampling along a seeded permutation of each stratum: a unit is drawn in proportion to its weight,
    rounded up or down at random. With equal weights no unit is drawn twice before all are drawn once. The result does
    not depend on ranks, workers, or the order in which builds are named.
    """
    parts = strata(units, config)
    weights = units["weight"].to_numpy()
    counts = np.zeros(units.height, np.int32)
    for part, quota in zip(parts, quotas(parts, config.draws or units.height), strict=True):
        rng = generator(seed, "draw", epoch, part.name)
        order = rng.permutation(part.units)
        drawn = order[_systematic(weights[order], quota, rng, part.name)]
        counts += np.bincount(drawn, minlength=units.height).astype(np.int32)
    return counts


def _systematic(weights: NDArray[np.float64], quota: int, rng: np.random.Generator, name: str) -> NDArray[np.int64]:
    """(quota,) indices: points evenly spaced over the cumulative weights, from a random start."""
    total = float(weights.sum())
    if total <= 0:
        raise SemblanceError(f"All pictures of the part {name!r} have weight 0; change the weight.")
    if np.all(weights == weights[0]):  # in integers, so that a full round draws each exactly once
        size = len(weights)
        return (np.arange(quota, dtype=np.int64) * size + int(rng.integers(size))) // quota
    ends = np.cumsum(weights) / total
    points = (np.arange(quota) + rng.random()) / quota
    places = np.searchsorted(ends, points, side="right")
    return np.asarray(np.minimum(places, np.flatnonzero(weights)[-1]), np.int64)


def generator(*key: object) -> np.random.Generator:
    """A random generator that depends only on the key, on any machine."""
    return np.random.default_rng(int(digest(*key)[:16], 16))
