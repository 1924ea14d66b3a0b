"""AUC by video of every run on every column, over shared draws: of groups of each dataset, and of seeds.

R: runs of a row, D: draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from semblance.quality.statistics import bootstrap
from semblance.quality.statistics.bootstrap import Estimate
from semblance.quality.statistics.roc import auc
from semblance.training.benchmark.columns import Measured
from semblance.training.benchmark.systems import System
from semblance.training.evaluation import predictions
from semblance.training.metrics.classification import Floats

_NONE: Final = np.zeros(0)
Statistic = Callable[[dict[str, Floats]], Floats]  # by column, AUC (R, D or 1) -> (R, D or 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Areas:
    """AUC by video (maximum) by column and run: ``values``, and ``drawn`` (D,), empty without enough groups.

    Groups, people or else families, are drawn within each dataset. Columns of the same dataset share these draws, so
    what they have in common cancels out in ratios and differences; draws of different datasets are independent.
    """

    values: dict[tuple[str, str], float]
    drawn: dict[tuple[str, str], Floats]
    draws: int
    seed: int

    def of(self, system: System, column: str) -> Floats:
        """(R, 1): the AUC of each run of a row."""
        return np.array([[self.values[column, run]] for run in system.runs])

    def drawn_of(self, system: System, column: str) -> Floats | None:
        """(R, D): the AUC of each run in each draw; None without draws."""
        parts = [self.drawn.get((column, run), _NONE) for run in system.runs]
        return np.stack(parts) if all(len(part) for part in parts) else None

    def weights(self, system: System) -> Floats:
        """(R, D): how much each run counts in a draw; runs are drawn with replacement where there are several.

        Rows with the same seeds share these draws, so they are paired by seed.
        """
        runs = len(system.runs)
        if runs == 1:
            return np.ones((1, self.draws))
        rng = np.random.default_rng(_number(self.seed, f"seeds {list(system.seeds)}"))
        return rng.multinomial(runs, np.full(runs, 1 / runs), size=self.draws).T / runs


def areas(measured: Sequence[Measured], *, draws: int, seed: int) -> Areas:
    """Compute and draw all."""
    values: dict[tuple[str, str], float] = {}
    drawn: dict[tuple[str, str], Floats] = {}
    by_dataset: dict[str, list[Measured]] = {}
    for one in measured:
        for run, table in one.logits.items():
            rows = table.drop_nulls("logit")
            values[one.column.name, run] = float(auc(rows["label"].to_numpy(), rows["logit"].to_numpy())[0])
        if one.enough:
            by_dataset.setdefault(", ".join(one.videos["dataset"].unique().sort()), []).append(one)
    for dataset, columns in by_dataset.items():
        drawn |= _drawn(columns, draws, _number(seed, dataset))
    return Areas(values=values, drawn=drawn, draws=draws, seed=seed)


def _drawn(columns: Sequence[Measured], draws: int, seed: int) -> dict[tuple[str, str], Floats]:
    scored = [one.scored for one in columns]
    groups = predictions.groups(pl.concat(scored))
    ends = np.cumsum([0, *(len(one) for one in scored)])
    places = {
        (one.column.name, run): (place, table) for place, one in enumerate(columns) for run, table in one.logits.items()
    }
    arrays = {
        key: (table.drop_nulls("logit")["label"].to_numpy(), table["logit"].drop_nulls().to_numpy())
        for key, (_, table) in places.items()
    }

    def figures(weight_DN: Floats | None) -> dict[str, Floats]:
        assert weight_DN is not None
        found = {}
        for number, (key, (place, _)) in enumerate(places.items()):
            found[str(number)] = auc(*arrays[key], weight_DN[:, ends[place] : ends[place + 1]])
        return found

    by_number = bootstrap.drawn(figures, groups.to_numpy(), draws=draws, seed=seed)
    return {key: by_number[str(number)] for number, key in enumerate(places) if str(number) in by_number}


def _number(seed: int, name: str) -> int:
    """A seed of its own for each name, so that draws of different datasets are independent."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big")


def over_draws(value: float, drawn_D: Floats | None) -> Estimate:
    """A figure with the middle 95 % of its draws, if there are any."""
    return bootstrap.summarised(value, _NONE if drawn_D is None else drawn_D)


def mean(parts: Sequence[Floats]) -> Floats:
    """The plain mean over columns."""
    return np.asarray(np.mean(np.stack(list(parts)), axis=0))
