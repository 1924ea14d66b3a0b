"""The same pictures under other conditions: another build of the same samples, or crops disturbed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import cv2
import polars as pl

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import Image
from semblance.quality import codec
from semblance.training.data.query import QueryConfig, select
from semblance.training.data.worker import Transform
from semblance.training.evaluation import predictions
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics import bootstrap, classification
from semblance.training.metrics.bootstrap import Estimate
from semblance.training.metrics.classification import Floats

JPEG: Final = (90, 70, 50, 30)  # qualities, colours at half resolution as in cameras and messengers
SCALES: Final = (0.75, 0.5, 0.25)  # of the stored crop's side: made smaller, then as large again


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A model on the same videos before and under a condition, at the same threshold. ``change`` is AUC after minus
    before, over the same draws. ``strength`` is what is drawn over: JPEG quality, scale; None for a build.
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


def jpeg(image_HWC: Image, _points: Any, _key: str, *, quality: int) -> Image:
    return codec.degrade(image_HWC, quality)


def shrink(image_HWC: Image, _points: Any, _key: str, *, scale: float) -> Image:
    """Area averaging down, cubic up to the side that it had."""
    height, width = image_HWC.shape[:2]
    small = cv2.resize(
        image_HWC, (max(round(width * scale), 1), max(round(height * scale), 1)), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def disturbances() -> list[tuple[str, float, Transform]]:
    """(kind, strength, transform) of all that is done to crops."""
    found: list[tuple[str, float, Transform]] = [("JPEG", float(q), partial(jpeg, quality=q)) for q in JPEG]
    return found + [("resize", scale, partial(shrink, scale=scale)) for scale in SCALES]


def robustness(result: Evaluation, *, say: Callable[[str], None] = print) -> list[Change]:
    """Every model on the evaluated crops under each disturbance."""
    found = []
    for kind, strength, transform in disturbances():
        say(f"{kind} {strength:g}")
        rows = predictions.predict(_single(result), result.chosen, transform)
        found += _compare(result, rows, kind, f"{kind} {strength:g}", strength)
    return found


def builds(result: Evaluation, named: Sequence[str], *, say: Callable[[str], None] = print) -> list[Change]:
    """Every model on the samples that each ``NAME=OUT`` shares with the evaluated builds.

    Raises UsageError for another form, SemblanceError where no sample is shared.
    """
    found = []
    for text in named:
        name, equals, out = text.partition("=")
        if not (equals and name and out):
            raise UsageError(f"--condition {text} is not of the form NAME=OUT, e.g. crf40=out/ffpp-crf40.")
        side = result.options.split
        shared = pl.col("sample_id").is_in(result.chosen.pictures["sample_id"].implode())
        try:
            query = QueryConfig(split_column=result.split_column)
            chosen = select([out.rstrip("/")], side, query, condition=shared, unlabelled=True)
        except UsageError:
            raise
        except SemblanceError as error:
            raise SemblanceError(
                f"The condition {name} cannot be compared: {out} shares no sample with the {side} side ({error})"
            ) from error
        say(f"{name}: {chosen.pictures.height} of {result.chosen.pictures.height} pictures are in both")
        found += _compare(result, predictions.predict(_single(result), chosen), "build", name, None)
    return found


def _single(result: Evaluation) -> list[Predictor]:
    return [one for name, one in result.judges.items() if name == one.name]


def _compare(result: Evaluation, rows: pl.DataFrame, kind: str, name: str, strength: float | None) -> list[Change]:
    found = []
    for model, after in predictions.by_model(rows).items():
        one = result.judges[model]
        before = result.predictions[model].join(after.select("sample_id"), on="sample_id", maintain_order="left")
        after = after.join(before.select("sample_id"), on="sample_id", maintain_order="left")
        tables = [predictions.of_videos(result.videos, part, one).drop_nulls("logit") for part in (before, after)]
        judged = [predictions.judged(table) for table in tables]
        threshold = result.thresholds[model]["video"]

        def figures(weight_DN: Floats | None, judged: Any = judged, threshold: float = threshold) -> dict[str, Floats]:
            first, second = (classification.figures(part, threshold, weight_DN) for part in judged)
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
        found.append(
            Change(
                model=model,
                kind=kind,
                name=name,
                strength=strength,
                videos=tables[0].height,
                pictures=after.height,
                **estimates,
            )
        )
    return found
