"""A subset of videos whose acquisition metadata no longer predicts the label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from semblance.manifests.errors import SemblanceError
from semblance.manifests.ids import digest
from semblance.quality.checks import separability, shortcuts
from semblance.quality.checks.separability import Separability

ROUNDS: Final = 5
_STRATA: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The videos to keep (column video_id), the separability before and after, and the number of rounds."""

    kept: pl.DataFrame
    before: Separability
    after: Separability
    rounds: int


def match(out: str, seed: int = 0) -> Matched:
    """Match the videos of the build ``out``; raises SemblanceError if that is impossible."""
    return match_table(shortcuts.table_of(out), out, seed)


def match_table(table: pl.DataFrame, name: str, seed: int = 0) -> Matched:
    """Match a ``shortcuts.video_table``: every stratum of the propensity to be fake (Rosenbaum and Rubin
    1983; predicted out of fold from acquisition) gets the same proportion of reals and fakes. Repeated on the
    remaining videos until the lower 95 % bound is at most 0.6.

    Raises SemblanceError if there are too few families, or if no proportion leaves 20 families.
    """
    columns = list(shortcuts.ACQUISITION)
    before = after = separability.measure(table, columns, seed)
    if before.auc is None:
        raise SemblanceError(
            f"{name} has {before.families} families with known acquisition, fewer than {separability.LEAST_FAMILIES}: "
            "too few to match; build more videos."
        )
    kept, rounds = table, 0
    while after.low is not None and after.low > shortcuts.ALARM and rounds < ROUNDS:
        kept, rounds = _balanced(kept, after, seed), rounds + 1
        after = separability.measure(kept, columns, seed)
    if after.auc is None or after.low is None or after.low > shortcuts.ALARM:
        ways = ", ".join(separator.column for separator in before.giveaways[:3])
        raise SemblanceError(
            f"No subset of {name} can be matched: reals and fakes hardly overlap in {ways}; encode both the same way "
            "from their sources and build again."
        )
    ids = kept.filter(pl.col("video_id").is_in(after.ids)) if rounds else kept
    return Matched(kept=ids.select("video_id").sort("video_id"), before=before, after=after, rounds=rounds)


def _balanced(table: pl.DataFrame, found: Separability, seed: int) -> pl.DataFrame:
    """The same proportion in every stratum of the score: one fake per real, or the table's, whichever keeps more."""
    edges = np.unique(np.quantile(found.scores, np.linspace(0, 1, _STRATA + 1)[1:-1]))
    strata = pl.DataFrame({"video_id": found.ids, "stratum": np.searchsorted(edges, found.scores)})
    rows = table.join(strata, on="video_id")
    rows = rows.with_columns(order=pl.Series([digest("match", seed, one) for one in rows["video_id"]]))
    counts = rows.group_by("stratum").agg(reals=(pl.col("label") == 0).sum(), fakes=(pl.col("label") == 1).sum())
    counts = counts.filter((pl.col("reals") > 0) & (pl.col("fakes") > 0))
    choices = []
    for ratio in {1.0, float(counts["fakes"].sum() or 1) / float(counts["reals"].sum() or 1)}:
        units = pl.min_horizontal(pl.col("reals"), pl.col("fakes") / ratio)
        choices.append(
            counts.select(
                "stratum",
                take_0=units.floor() if ratio >= 1 else (units * ratio).floor() / ratio,
                take_1=units.floor() * ratio if ratio >= 1 else (units * ratio).floor(),
            )
        )
    best = max(choices, key=lambda one: float((one["take_0"] + one["take_1"]).sum()))
    ranked = rows.join(best, on="stratum").with_columns(rank=pl.col("order").rank("ordinal").over("stratum", "label"))
    wanted = pl.when(pl.col("label") == 0).then(pl.col("take_0")).otherwise(pl.col("take_1")).round()
    return ranked.filter(pl.col("rank") <= wanted).select(table.columns)
