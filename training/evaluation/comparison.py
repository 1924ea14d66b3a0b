"""Paired differences between runs on the same videos: over shared draws of groups, and by DeLong's test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np
import polars as pl

from semblance.quality.statistics import bootstrap
from semblance.quality.statistics.bootstrap import Estimate
from semblance.quality.statistics.roc import auc
from semblance.training.evaluation import predictions
from semblance.training.evaluation.results import LEAST_GROUPS, parts
from semblance.training.evaluation.seeds import Seeds
from semblance.training.metrics import delong
from semblance.training.metrics.classification import Floats
from semblance.training.metrics.delong import Difference

MOST: Final = 6  # runs of which all pairs are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """AUC by video of the run ``first`` minus that of ``second``, on the same videos of one dataset, or of all (None).

    ``change``: the difference, with an interval over draws of whole groups that both share; ``p``: two-sided, from the
    same draws. ``delong``: the test that takes videos as independent. ``p_holm`` and ``delong_holm`` are corrected for
    all pairs on this dataset. None without ten groups of each class.
    """

    dataset: str | None
    first: str
    second: str
    videos: int
    first_auc: float
    second_auc: float
    change: Estimate
    p: float | None
    delong: Difference | None
    p_holm: float | None = None
    delong_holm: float | None = None


def pairs(runs: Sequence[str], groups: Sequence[Seeds] = ()) -> list[tuple[str, str]]:
    """All pairs of up to six runs; of more, each other run and the first. Repetitions of one recipe are no pair."""
    every = combinations(runs, 2) if len(runs) <= MOST else ((runs[0], other) for other in runs[1:])
    return [pair for pair in every if not any(set(pair) <= set(group.runs) for group in groups)]


def compare(
    videos: pl.DataFrame, scores: Mapping[str, pl.DataFrame], groups: Sequence[Seeds] = (), *, draws: int, seed: int
) -> tuple[Pair, ...]:
    """Compare runs on all data and on every dataset.

    ``scores``: by run, ``videos`` with its logit, in the same order. ``groups``: repetitions of one recipe.
    """
    found: list[Pair] = []
    whole = [(part[0], kept) for part, kept in parts(videos) if part[1] is part[2] is None]
    asked = pairs(list(scores), groups)
    for dataset, kept in whole if asked else []:
        tables = {name: table.filter(kept & pl.col("logit").is_not_null()) for name, table in scores.items()}
        rows = next(iter(tables.values()))
        if rows["label"].n_unique() == 2:
            logits = {name: _logits(table) for name, table in tables.items()}
            found += _corrected(_compare(dataset, rows, logits, asked, draws, seed))
    return tuple(found)


def _corrected(found: list[Pair]) -> list[Pair]:
    by_draws = delong.holm([one.p for one in found])
    by_delong = delong.holm([one.delong.p if one.delong is not None else None for one in found])
    return [replace(one, p_holm=p, delong_holm=other) for one, p, other in zip(found, by_draws, by_delong, strict=True)]


def _logits(table: pl.DataFrame) -> Floats:
    return table["logit"].to_numpy().astype(np.float64)


def _compare(
    dataset: str | None,
    rows: pl.DataFrame,
    score: Mapping[str, Floats],
    asked: Sequence[tuple[str, str]],
    draws: int,
    seed: int,
) -> list[Pair]:
    label_N, groups = rows["label"].to_numpy(), predictions.groups(rows)
    enough = min(groups.filter(rows["label"] == one).n_unique() for one in (0, 1)) >= LEAST_GROUPS

    def figures(weight_DN: Floats | None) -> dict[str, Floats]:
        return {name: auc(label_N, score_N, weight_DN) for name, score_N in score.items()}

    points = {name: float(values[0]) for name, values in figures(None).items()}
    drawn = bootstrap.drawn(figures, groups.to_numpy(), draws=draws if enough else 0, seed=seed)
    found = [_pair(dataset, first, second, rows.height, points, drawn) for first, second in asked]
    if not enough:
        return found
    return [replace(one, delong=delong.difference(label_N, score[one.first], score[one.second])) for one in found]


def _pair(
    dataset: str | None,
    first: str,
    second: str,
    videos: int,
    points: Mapping[str, float],
    drawn: Mapping[str, Floats],
) -> Pair:
    none = np.zeros(0)
    change_D = drawn.get(first, none) - drawn.get(second, none)
    return Pair(
        dataset=dataset,
        first=first,
        second=second,
        videos=videos,
        first_auc=points[first],
        second_auc=points[second],
        change=bootstrap.summarised(points[first] - points[second], change_D),
        p=two_sided(change_D),
        delong=None,
    )


def two_sided(change_D: Floats) -> float | None:
    """Twice the smaller share of draws on one side of zero, the sample itself counted as a draw; None without draws.

    Draws of no change are on both sides, so equal models have a p of 1.
    """
    change_D = change_D[np.isfinite(change_D)]
    if not len(change_D):
        return None
    smaller = min(int((change_D <= 0).sum()), int((change_D >= 0).sum()))
    return min(1.0, 2 * (smaller + 1) / (len(change_D) + 1))
