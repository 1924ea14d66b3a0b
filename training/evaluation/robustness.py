"""Robustness: the same pictures under other conditions, from another build of the samples or by degrading the crops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import polars as pl

from semblance.manifests import build_files
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import Image
from semblance.quality import codec, resize
from semblance.quality.statistics import bootstrap
from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.data.query import QueryConfig, select
from semblance.training.data.worker import Transform
from semblance.training.evaluation import external, leaks, predictions
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.metrics import registry
from semblance.training.metrics.classification import Floats

JPEG: Final = (90, 70, 50, 30)  # qualities; 4:2:0 chroma, as in cameras and messengers
SCALES: Final = (0.75, 0.5, 0.25)  # of the side of the stored crop, which is reduced and enlarged again


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A model on the same videos before and under a condition, at the same threshold.

    ``change`` is AUC after minus before, over the same bootstrap draws. ``strength``: JPEG quality or scale, the
    x-axis of the page's curves; None for a build. ``cut``: how a build's crops are cut otherwise, in sentences.
    """

    model: str
    kind: str
    name: str
    strength: float | None
    videos: int
    pictures: int
    before: Estimate
    after: Estimate
    change: Estimate
    balanced_before: Estimate
    balanced_after: Estimate
    cut: tuple[str, ...] = ()


def jpeg(image_HWC: Image, _points: Any, _key: str, *, quality: int) -> Image:
    """Encoded and decoded as JPEG."""
    return codec.degrade(image_HWC, quality)


def shrink(image_HWC: Image, _points: Any, _key: str, *, scale: float) -> Image:
    """Reduced by area averaging, then enlarged to its old size by cubic interpolation."""
    return resize.shrink(image_HWC, scale, "area", "cubic")


def degradations() -> list[tuple[str, float, Transform]]:
    """(kind, strength, transform) of every degradation of crops."""
    jpegs: list[tuple[str, float, Transform]] = [("JPEG", float(q), partial(jpeg, quality=q)) for q in JPEG]
    return jpegs + [("resize", scale, partial(shrink, scale=scale)) for scale in SCALES]


def robustness(result: Evaluation, *, say: Callable[[str], None] = print) -> list[Change]:
    """Every model on the evaluated crops under each degradation."""
    changes, scorers = [], list(result.scorers.values())
    external.announce(list(result.externals.values()), [result.selection], times=len(degradations()), say=say)
    for kind, strength, transform in degradations():
        say(f"{kind} {strength:g}")
        rows = predictions.predict(scorers, result.selection, transform)
        changes += _compare(result, rows, kind, f"{kind} {strength:g}", strength)
    return changes


def builds(result: Evaluation, conditions: Sequence[str], *, say: Callable[[str], None] = print) -> list[Change]:
    """Every model on the samples that each ``NAME=OUT`` shares with the evaluated builds.

    Raises UsageError for another form, SemblanceError if no sample is shared.
    """
    changes = []
    for text in conditions:
        name, equals, out = text.partition("=")
        if not (equals and name and out):
            raise UsageError(f"--condition {text} is not of the form NAME=OUT, e.g. crf40=out/ffpp-crf40.")
        split = result.options.split
        shared = pl.col("sample_id").is_in(result.selection.pictures["sample_id"].implode())
        try:
            query = QueryConfig(split_column=result.split_column)
            selection = select([out.rstrip("/")], split, query, condition=shared, unlabelled=True)
        except UsageError:
            raise
        except SemblanceError as error:
            raise SemblanceError(
                f"The condition {name} cannot be compared: {out} shares no sample with split {split} ({error})"
            ) from error
        cut = tuple(leaks.cut_otherwise(list(result.runs.values()), {out: _recipe(out)}))
        for difference in cut:
            say(f"{name}: {difference}")
        say(f"{name}: {selection.pictures.height} of {result.selection.pictures.height} pictures are in both")
        external.announce(list(result.externals.values()), [selection], say=say)
        rows = predictions.predict(list(result.scorers.values()), selection)
        changes += [replace(change, cut=cut) for change in _compare(result, rows, "build", name, None)]
    return changes


def _recipe(out: str) -> Mapping[str, Any] | None:
    return build_files.description(out.rstrip("/")).get("recipe")


def _compare(result: Evaluation, rows: pl.DataFrame, kind: str, name: str, strength: float | None) -> list[Change]:
    changes = []
    for model, after in predictions.by_model(rows).items():
        predictor = result.predictors[model]
        before = result.predictions[model].join(after.select("sample_id"), on="sample_id", maintain_order="left")
        persons = before.select("sample_id", "person")  # of both: an older build does not know them
        after = after.drop("person").join(persons, on="sample_id", maintain_order="left")
        tables = [predictions.of_videos(result.videos, part, predictor).drop_nulls("logit") for part in (before, after)]
        arrays = [predictions.as_arrays(table) for table in tables]
        threshold = result.thresholds[model]["video"]

        def figures(weight_DN: Floats | None, arrays: Any = arrays, threshold: float = threshold) -> dict[str, Floats]:
            first, second = (registry.figures(part, threshold, weight_DN) for part in arrays)
            return {
                "before": first["auc"],
                "after": second["auc"],
                "change": second["auc"] - first["auc"],
                "balanced_before": first["balanced_accuracy"],
                "balanced_after": second["balanced_accuracy"],
            }

        estimates: Mapping[str, Estimate] = bootstrap.estimate(
            figures,
            predictions.groups(tables[0]).to_numpy(),
            draws=result.options.draws,
            seed=result.options.seed,
        )
        changes.append(
            Change(
                model=model,
                kind=kind,
                name=name,
                strength=strength,
                videos=tables[0].height,
                pictures=after.height,
                cut=(),
                **estimates,
            )
        )
    return changes
