"""What a threshold costs elsewhere: val's on each dataset, and each dataset's best one on the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from semblance.training.evaluation import predictions
from semblance.training.metrics import classification
from semblance.training.metrics.classification import Judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A run's threshold by video of ``source`` on the videos of ``dataset``.

    ``source``: None for val, else the dataset on whose evaluated videos this threshold is the best one.
    ``balanced_accuracy`` is that at the threshold. ``best``: the largest that any threshold reaches there; where
    ``source`` is the dataset itself, both are equal. ``loss``: what the transfer costs.
    """

    model: str
    source: str | None
    dataset: str
    threshold: float
    balanced_accuracy: float
    best: float

    @property
    def loss(self) -> float:
        return self.best - self.balanced_accuracy


def measure(scores: Mapping[str, pl.DataFrame], thresholds: Mapping[str, float]) -> tuple[Transfer, ...]:
    """Every run and dataset with both classes. ``scores``: by run, videos with their logit; ``thresholds``: val's, by
    run; one without has no line of val.
    """
    found = []
    for model, table in scores.items():
        scored = table.drop_nulls("logit")
        rows = {
            str(key[0]): predictions.as_arrays(part)
            for key, part in scored.sort("dataset").partition_by("dataset", as_dict=True, maintain_order=True).items()
            if part["label"].n_unique() == 2
        }
        best = {name: classification.threshold(judged) for name, judged in rows.items()}
        others = best if len(best) > 1 else {}
        of_val = [(None, thresholds[model])] if model in thresholds else []
        for source, limit in [*of_val, *others.items()]:
            found += [
                Transfer(
                    model=model,
                    source=source,
                    dataset=name,
                    threshold=limit,
                    balanced_accuracy=_balanced(judged, limit),
                    best=_balanced(judged, best[name]),
                )
                for name, judged in rows.items()
            ]
    return tuple(found)


def _balanced(rows: Judged, threshold: float) -> float:
    found = classification.rates(rows, threshold)
    return 1 - float(found["fpr"][0] + found["fnr"][0]) / 2
