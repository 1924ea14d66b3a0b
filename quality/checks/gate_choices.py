"""What a choice of limits would keep of a build's faces, by group, and whether that tells the label."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from semblance.quality.checks import filter_fairness
from semblance.quality.checks.gated_faces import ENDS, KEYS, Faces, Limits
from semblance.quality.checks.shares import UNPUBLISHED

BRIGHTNESS_BANDS: Final = [
    ("under 0.2", 0.0, 0.2),
    *((f"{low:.1f}-{low + 0.1:.1f}", low, low + 0.1) for low in (0.2, 0.3, 0.4, 0.5, 0.6)),
    ("from 0.7", 0.7, 1.1),
]
Verdict = Literal["even", "told", "too few to tell"]
Key = tuple[str, str]  # what the faces are grouped by, and the group


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Kept of some faces; ``low`` and ``high`` are 95 % bounds of the share, over families."""

    label: int
    kept: int
    faces: int
    families: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A set of limits: ``settings`` are the values of ``--set``, none for the limits as they are. All gates judge.

    ``kept``: (by, group) -> faces kept; ``rates``: of each label; ``verdict``: whether they differ by label.
    """

    name: str
    settings: tuple[str, ...]
    kept: Mapping[Key, int]
    rates: tuple[Rate, ...]
    verdict: Verdict


def choose(faces: Faces, inside: Mapping[Key, NDArray[np.bool_]], name: str, changed: Limits) -> Choice:
    """What all gates keep if these limits change; ``inside``: the ``groups`` of the faces."""
    limits = {**faces.now, **changed}
    kept = faces.passing(limits)
    rates = tuple(_rate(faces, label, kept) for label in faces.labels)
    return Choice(
        name=name,
        settings=tuple(_settings(limits, {end.key for end in changed})),
        kept={key: int((kept & own).sum()) for key, own in inside.items()},
        rates=rates,
        verdict=_told(rates),
    )


def groups(faces: Faces) -> dict[Key, NDArray[np.bool_]]:
    """(by, group) -> which faces (N,) are in it: label, method of fakes, brightness, face size, skin of reals."""
    real = pl.col("label") == 0
    method = pl.col("method").fill_null(UNPUBLISHED)
    skin = filter_fairness.banded("ita", filter_fairness.ITA_BANDS)
    columns = faces.table.select(
        pl.when(real).then(pl.lit("real")).otherwise(pl.lit("fake")).alias("label"),
        pl.when(~real).then(method).alias("method"),
        filter_fairness.banded("brightness", BRIGHTNESS_BANDS).alias("brightness"),
        filter_fairness.banded("side", filter_fairness.SIZE_BANDS).alias("face size"),
        pl.when(real).then(skin).alias("skin brightness (estimate, reals)"),
    )
    bands = (*BRIGHTNESS_BANDS, *filter_fairness.SIZE_BANDS, *filter_fairness.ITA_BANDS)
    order = ["real", *(name for name, *_ in bands)]
    found = {}
    for column in columns.get_columns():
        names = column.drop_nulls().unique().to_list()
        for name in sorted(names, key=lambda one: (order.index(one) if one in order else len(order), one)):
            found[column.name, name] = (column == name).fill_null(value=False).to_numpy()
    return found


def _rate(faces: Faces, label: int, kept: NDArray[np.bool_]) -> Rate:
    own = faces.table.select("family_id", "label", rejected=pl.Series(~kept)).filter(pl.col("label") == label)
    counted = own.group_by("family_id").agg(faces=pl.len(), rejected=pl.col("rejected").sum())
    rate, low, high = filter_fairness.interval(counted)
    return Rate(
        label=label,
        kept=own.height - int(own["rejected"].sum()),
        faces=own.height,
        families=counted.height,
        share=1 - rate,
        low=1 - high,
        high=1 - low,
    )


def _settings(limits: Limits, keys: Collection[str]) -> Iterator[str]:
    """``gates.<key>=<value>`` for each of these keys, both ends of a gate with two."""
    for key in KEYS:
        if key in keys:
            ends = [end for end in ENDS if end.key == key]
            texts = [_number(limits[end]) for end in ends]
            yield f"gates.{key}=[{','.join(texts)}]" if len(ends) > 1 else f"gates.{key}={texts[0]}"


def _number(limit: float | None) -> str:
    return "null" if limit is None else np.format_float_positional(limit, trim="-")


def _told(rates: tuple[Rate, ...]) -> Verdict:
    """Whether the intervals of the labels' rates are apart."""
    if len(rates) < 2 or min(rate.families for rate in rates) < filter_fairness.LEAST_FAMILIES:
        return "too few to tell"
    return "told" if rates[0].low > rates[1].high or rates[1].low > rates[0].high else "even"
