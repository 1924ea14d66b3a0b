"""What a reader of an evaluation should know of the external detectors in it, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from semblance.training.evaluation.external.detector import CLIP, External
from semblance.training.evaluation.scorer import Scorer

_LARGEST: Final = float(np.log((1 - CLIP) / CLIP))  # a logit of 16.1
_MANY: Final = 0.01  # share of ties at the ends that is told


def unchecked(scorers: Iterable[Scorer]) -> list[str]:
    """Why leaks could not be looked for."""
    named = [one.name for one in scorers if isinstance(one, External)]
    return [f"{name} is external; what it was trained on is not known" for name in named]


def told(externals: Sequence[External], by_model: Mapping[str, pl.DataFrame], sources: Mapping[str, str]) -> list[str]:
    """Notes on how they were asked, what they answered, and where thresholds are from.

    ``by_model``: predictions. ``sources``: where the threshold of each run and external detector was chosen, in words.
    """
    found: list[str | None] = []
    for one in externals:
        found.append(
            f"{one.name} is external: it is given crops as the builds hold them, which may be cut otherwise than those "
            "that it knows."
        )
        found.append(ties(one.name, by_model[one.name]["logit"]))
    found.append(_thresholds_apart([one.name for one in externals], sources))
    return [note for note in found if note]


def ties(name: str, logit: pl.Series) -> str | None:
    """A note if more than one in a hundred answers stands at an end, where answers count as equal."""
    count = int((logit.abs() >= _LARGEST - 1e-6).sum())
    if count <= _MANY * len(logit):
        return None
    return (
        f"{name} is external: {count} of its {len(logit)} probabilities are 0 or 1, or nearer to them than {CLIP:g}; "
        "at each end they count as equal."
    )


def _thresholds_apart(names: Sequence[str], sources: Mapping[str, str]) -> str | None:
    """A threshold from val of the evaluated dataset is an advantage over one from another dataset."""
    of_runs = {source for name, source in sources.items() if name not in names}
    apart = [name for name in names if of_runs and name in sources and sources[name] not in of_runs]
    if not apart:
        return None
    return (
        f"Thresholds of {', '.join(apart)} are from val of the evaluated builds, those of runs from val of the builds "
        "that they were trained on: their decisions cannot be compared, their AUC can."
    )
