"""The thresholds of a run on val, as an evaluation chooses them, for the description of an export."""

from __future__ import annotations

from collections.abc import Sequence

from semblance.manifests.errors import UsageError
from semblance.training.evaluation import evaluate, predictions
from semblance.training.inference.predictor import Predictor


def of_val(predictor: Predictor, outs: Sequence[str] = ()) -> dict[str, float]:
    """Logits by level (``frame``, ``video``) with the best balanced accuracy on val of the builds, by default its own.

    Raises UsageError if val cannot decide, SemblanceError if a build is not there.
    """
    trained = [str(record["out"]) for record in predictor.datasets if record.get("role") == "train"]
    outs = [out.rstrip("/") for out in (outs or dict.fromkeys(trained))]
    selection = predictions.select_pictures(outs, "val", predictor.split_column)
    videos = predictions.listed_videos(outs, "val", predictor.split_column)
    pictures = predictions.by_model(predictions.predict([predictor], selection))[predictor.name]
    limits, note = evaluate.threshold(predictor, pictures, videos)
    if note is not None:
        raise UsageError(f"{note} Leave --thresholds out, or name other builds with --data.")
    return {level: limits[level] for level in ("frame", "video")}
