"""How often: the units of one epoch, a pure function of the table, the configuration, the seed and the epoch."""

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
from semblance.manifests.records import digest
from semblance.manifests.text import worded

Counts_U = NDArray[np.int32]  # how often each of the U units is drawn
_CLASSES: Final = {0.0: "real", 1.0: "fake"}


class SamplingConfig(Config):
    """How often pictures are drawn in an epoch. Nothing set: every one once.

    ``mix``: the share of each dataset, by name, e.g. {ffpp: 60, dfdc: 25, celebdf: 15}; names that are not among the
    builds are left out and the others keep their proportions. ``balanced_per_method``: half real, half fake, and the
    fakes in equal parts by method; fakes whose method is not published are one part a dataset. With a mix, each
    dataset is balanced in itself. ``weight``: SQL for how often a picture is drawn relative to others beside these.
    ``draws``: units an epoch; None takes as many as there are.
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
    """Divide the units by dataset, class and method as the configuration asks.

    Raises UsageError where a build's dataset is not in the mix, SemblanceError where a part that must be filled is
    empty.
    """
    units = units.with_row_index("index")
    if config.mix is None:
        return _balanced("", 1.0, units, config)
    names = units["dataset"].unique().sort().to_list()
    if strange := [name for name in names if name not in config.mix]:
        raise UsageError(
            f"The mix names {', '.join(config.mix)}, but not {strange[0]}; give it a share, e.g. "
            f"--set data.mix={{{strange[0]}: 1}}, or take the mix away with --set data.mix=null."
        )
    whole = sum(config.mix[name] for name in names)
    return [
        stratum
        for name in names
        for stratum in _balanced(f"{name} ", config.mix[name] / whole, units.filter(pl.col("dataset") == name), config)
    ]


def _balanced(prefix: str, share: float, units: pl.DataFrame, config: SamplingConfig) -> list[Stratum]:
    if not config.balanced_per_method:
        return [_stratum(f"{prefix}all", share, units)]
    if units["paired"].all():  # half and half already
        return _by_method(prefix, share, units)
    sides = {value: units.filter(pl.col("target") == value) for value in _CLASSES}
    for value, side in sides.items():
        if side.is_empty():
            raise SemblanceError(
                f"There is no {_CLASSES[value]} {prefix}picture to make half of; take another split or condition, or "
                "do not balance (--set data.balanced_per_method=false)."
            )
    return [_stratum(f"{prefix}real", share / 2, sides[0.0]), *_by_method(prefix, share / 2, sides[1.0])]


def _by_method(prefix: str, share: float, fakes: pl.DataFrame) -> list[Stratum]:
    nameless = worded("{} without a published method", "dataset")
    parts = fakes.with_columns(part=pl.coalesce("method", nameless)).partition_by("part", as_dict=True)
    names = sorted(str(name) for (name,) in parts)
    return [_stratum(f"{prefix}{name}", share / len(parts), parts[name,]) for name in names]


def _stratum(name: str, share: float, units: pl.DataFrame) -> Stratum:
    return Stratum(name=name, share=share, units=units["index"].to_numpy().astype(np.int64))


def describe(units: pl.DataFrame, config: SamplingConfig) -> str:
    """What an epoch is drawn from, in a sentence's part; datasets of the mix that are not there are named."""
    shares = ", ".join(f"{part.name} {part.share:.1%}" for part in strata(units, config))
    absent = sorted(set(config.mix or ()) - set(units["dataset"].unique()))
    without = f"; the mix's {', '.join(absent)} is not among the builds" if absent else ""
    return f"{config.draws or units.height} draws: {shares}{without}"


def quotas(parts: list[Stratum], draws: int) -> list[int]:
    """Whole numbers of draws that add up to ``draws``, each within one of its share: largest remainders first."""
    exact = [part.share * draws for part in parts]
    whole = [int(value + 1e-9) for value in exact]
    order = sorted(range(len(parts)), key=lambda i: (round(whole[i] - exact[i], 9), parts[i].name))
    for i in order[: draws - sum(whole)]:
        whole[i] += 1
    return whole


def draw(units: pl.DataFrame, config: SamplingConfig, *, seed: int, epoch: int) -> Counts_U:
    """How often each unit is drawn in this epoch.

    Systematic sampling along a seeded permutation in each stratum: every unit comes as often as its weight asks,
    rounded down or up by chance, so with equal weights nothing is drawn twice before all are drawn once. The result
    depends on nothing else: not on ranks, workers, or the order in which builds are named.
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
    """``quota`` places in the row of weights, evenly spaced from a random start."""
    total = float(weights.sum())
    if total <= 0:
        raise SemblanceError(f"All pictures of the part {name!r} weigh nothing; change the weight.")
    if np.all(weights == weights[0]):  # in whole numbers, so that a full round is exactly once each
        size = len(weights)
        return (np.arange(quota, dtype=np.int64) * size + int(rng.integers(size))) // quota
    ends = np.cumsum(weights) / total
    points = (np.arange(quota) + rng.random()) / quota
    found = np.searchsorted(ends, points, side="right")
    return np.asarray(np.minimum(found, np.flatnonzero(weights)[-1]), np.int64)


def generator(*key: object) -> np.random.Generator:
    """A random generator that depends on the key alone, on any machine."""
    return np.random.default_rng(int(digest(*key)[:16], 16))
