"""Error rates by group, for groups that a table assigns, never a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.user_tables import read_user_table
from semblance.quality.statistics import bootstrap
from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.evaluation import predictions
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.metrics import classification, registry
from semblance.training.metrics.classification import Floats, Judged

NAMES: Final = ("auc", "fpr", "fnr", "positive", "base")
PARITY: Final = (
    "Demographic parity compares the shares called fake. It depends on the groups' base rates: if one group has more "
    "fakes than another, a perfect detector violates it. Equal opportunity compares the shares of fakes that are found."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The figures of one group by video, at val's threshold: AUC, FPR, FNR, share called fake, share of fakes."""

    name: str
    videos: int
    figures: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fairness:
    """``opportunity``: the largest TPR of a group minus the smallest. ``parity``: the same for the shares called fake.

    ``ungrouped``: scored videos that are not in the table.
    """

    model: str
    groups: tuple[Group, ...]
    opportunity: Estimate
    parity: Estimate
    ungrouped: int


def read(file: str) -> pl.DataFrame:
    """A user's table with ``group`` and either ``video_id`` or ``target_id``, each named once.

    Raises UsageError if the table does not have that form.
    """
    table = read_user_table(file, "The groups in", error=UsageError)
    keys = [name for name in ("video_id", "target_id") if name in table.columns]
    if len(keys) != 1 or "group" not in table.columns:
        raise UsageError(f"{file} needs the columns group and either video_id or target_id.")
    table = table.select(keys[0], "group").drop_nulls().unique()
    if table[keys[0]].n_unique() < table.height:
        twice = table.filter(pl.col(keys[0]).is_duplicated())[keys[0]].sort()[0]
        raise UsageError(f"{file} puts {keys[0]} {twice} into two groups; name it once.")
    return table


def fairness(result: Evaluation, table: pl.DataFrame) -> list[Fairness]:
    """Measure every model by group; raises SemblanceError if no evaluated video is in a group."""
    results = []
    for model, predictor in result.predictors.items():
        videos = predictions.of_videos(result.videos, result.predictions[model], predictor).drop_nulls("logit")
        rows = videos.join(table, on=table.columns[0], how="inner", maintain_order="left")
        if rows.is_empty():
            raise SemblanceError(
                f"None of the {videos.height} evaluated videos has a {table.columns[0]} that the groups name; look at "
                "its ids with `manifests query`."
            )
        results.append(_fairness(result, model, rows, videos.height - rows.height))
    return results


def _fairness(result: Evaluation, model: str, rows: pl.DataFrame, ungrouped: int) -> Fairness:
    names = rows["group"].unique().sort().to_list()
    inside = [(rows["group"] == name).to_numpy() for name in names]
    arrays, threshold = predictions.as_arrays(rows), result.thresholds[model]["video"]

    def figures(weight_DN: Floats | None) -> dict[str, Floats]:
        weight_DN = np.ones((1, rows.height)) if weight_DN is None else weight_DN
        each = [_figures(arrays.take(part), threshold, weight_DN[:, part]) for part in inside]
        flat = {f"{number} {name}": values[name] for number, values in enumerate(each) for name in NAMES}
        return flat | {
            "opportunity": np.ptp(np.stack([1 - values["fnr"] for values in each]), axis=0),
            "parity": np.ptp(np.stack([values["positive"] for values in each]), axis=0),
        }

    settings = result.options
    estimates = bootstrap.estimate(
        figures, predictions.groups(rows).to_numpy(), draws=settings.draws, seed=settings.seed
    )
    groups = tuple(
        Group(name=name, videos=int(part.sum()), figures={key: estimates[f"{number} {key}"] for key in NAMES})
        for number, (name, part) in enumerate(zip(names, inside, strict=True))
    )
    return Fairness(
        model=model,
        groups=groups,
        opportunity=estimates["opportunity"],
        parity=estimates["parity"],
        ungrouped=ungrouped,
    )


def _figures(rows: Judged, threshold: float, weight_DN: Floats) -> dict[str, Floats]:
    whole = registry.figures(rows, threshold, weight_DN)
    return {"auc": whole["auc"], "base": whole["prevalence"], **classification.rates(rows, threshold, weight_DN)}
