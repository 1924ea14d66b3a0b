"""The thresholds of a run on val, as an evaluation chooses them, for the description of an export."""

from __future__ import annotations

from collections.abc import Sequence

from semblance.training.evaluation import thresholds
from semblance.training.evaluation.thresholds import Chosen
from semblance.training.inference.predictor import Predictor


def of_val(predictor: Predictor, outs: Sequence[str] = ()) -> tuple[Chosen, tuple[str, ...]]:
    """The logits with the best balanced accuracy on val of the run's builds, else of ``outs``; and notes on them.

    Raises SemblanceError if no build is there.
    """
    builds = tuple(out.rstrip("/") for out in (outs or predictor.builds))
    chosen, notes = thresholds.choose([predictor], builds, predictor.split_column)
    return chosen[predictor.name], notes
