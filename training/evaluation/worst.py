"""The videos that a run is most wrong about: reals with the highest scores, fakes with the lowest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from semblance.training.evaluation import predictions
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.metrics import aggregate

VIDEOS: Final = 6  # of each kind
PICTURES: Final = 4  # of each video


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A video, its score by maximum, and the pictures of the person who gave it this score, evenly over time."""

    model: str
    video_id: str
    dataset: str
    method: str | None
    compression: str | None
    label: int
    logit: float
    score: float
    wrong: bool  # at val's threshold
    sample_ids: tuple[str, ...]


def of_runs(result: Evaluation) -> dict[str, list[Wrong]]:
    """The worst videos of each run and external detector of an evaluation."""
    return {
        name: find(
            name,
            predictions.of_videos(result.videos, result.predictions[name], scorer),
            result.predictions[name],
            result.thresholds[name]["video"],
        )
        for name, scorer in result.scorers.items()
    }


def find(model: str, videos: pl.DataFrame, pictures: pl.DataFrame, threshold: float) -> list[Wrong]:
    """The worst reals, then the worst fakes, of one model.

    ``videos`` and ``pictures`` have the scores of this model. Equal scores are ordered by id.
    """
    scored = videos.drop_nulls("logit")
    found = []
    for label, highest in ((0, True), (1, False)):
        ranked = scored.filter(pl.col("label") == label).sort("logit", "video_id", descending=[highest, False])
        for row in ranked.head(VIDEOS).iter_rows(named=True):
            found.append(_wrong(model, row, pictures.filter(video_id=row["video_id"]), threshold))
    return found


def _wrong(model: str, row: dict[str, Any], pictures: pl.DataFrame, threshold: float) -> Wrong:
    persons = aggregate.persons(pictures).sort("logit", "person", descending=[True, False])
    chosen = pictures.filter(person=persons["person"][0])["sample_id"].sort().to_list()
    steps = min(PICTURES, len(chosen))
    places = [(2 * step + 1) * len(chosen) // (2 * steps) for step in range(steps)]
    return Wrong(
        model=model,
        wrong=(row["logit"] >= threshold) != (row["label"] == 1),
        sample_ids=tuple(chosen[place] for place in places),
        **{name: row[name] for name in ("video_id", "dataset", "method", "compression", "label", "logit", "score")},
    )
