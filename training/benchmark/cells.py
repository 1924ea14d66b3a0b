"""The cells of a benchmark: a row on a column, its figures, and whether the data are as new to it as is claimed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from semblance.manifests.errors import UsageError
from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.benchmark.columns import Measured
from semblance.training.benchmark.suite import QUALITY, Column, Kind
from semblance.training.benchmark.systems import Resolved, System
from semblance.training.evaluation import results
from semblance.training.evaluation.results import LEVELS, Level
from semblance.training.evaluation.seeds import Spread, spread
from semblance.training.guard.seen import LEARNED

Role = Kind
ROLES: Final[tuple[Role, ...]] = ("seen", "unseen method", "unseen dataset")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A row on a column.

    ``figures``: AUC by level, with an interval over groups for one run, without one over seeds, where ``spreads`` has
    the mean and standard deviation. ``mark``: what the runs' records say of the data. ``role``: what the cell counts
    as in summaries; None if its record contradicts the column's kind, or if the data are new in part only.
    ``fault``: the contradiction, in a few words. ``note``: what else the record says against the column's kind.
    """

    row: str
    column: str
    mark: str
    role: Role | None
    fault: str | None
    note: str | None
    figures: Mapping[Level, Estimate]
    spreads: Mapping[Level, Spread]
    reals: int
    fakes: int
    scored: int
    listed: int
    least: int

    @property
    def counted(self) -> bool:
        """Whether the cell may stand for its column's kind."""
        return self.fault is None


def check(resolved: Resolved, listed: Sequence[tuple[Column, pl.DataFrame]]) -> None:
    """Raises UsageError if a column's kind is contradicted by what every row was trained on, as far as it is known."""
    for column, videos in listed:
        marks = {one.name: results.mark(resolved.trained(one), videos) for one in resolved.systems}
        faults = {name: judged(column, mark)[1] for name, mark in marks.items() if mark != "unknown"}
        if faults and all(faults.values()):
            name, fault = next(iter(faults.items()))
            raise UsageError(
                f"Column {column.name} is called {column.kind}, but it is so for no row ({name}: {fault}); correct "
                "its kind, or leave the kind out to take what each run records."
            )


def make(systems: Sequence[System], measured: Sequence[Measured]) -> tuple[Cell, ...]:
    """All cells, row by row."""
    return tuple(_cell(system, column) for system in systems for column in measured)


def _cell(system: System, measured: Measured) -> Cell:
    rows = [measured.rows[run] for run in system.runs]
    mark = rows[0]["video"].mark
    role, fault = judged(measured.column, mark)
    first = rows[0]["video"]
    figures = {}
    spreads = {}
    for level in LEVELS:
        values = [one[level].figures["auc"] for one in rows]
        if not system.several:
            figures[level] = values[0]
            continue
        over = spread(value.value for value in values)
        figures[level] = Estimate(value=None if over is None else over.mean)
        if over is not None:
            spreads[level] = over
    return Cell(
        row=system.name,
        column=measured.column.name,
        mark=mark,
        role=role,
        fault=fault,
        note=_compression(system, measured) if measured.column.kind == "compressed" else None,
        figures=figures,
        spreads=spreads,
        reals=first.reals,
        fakes=first.fakes,
        scored=first.scored,
        listed=first.listed,
        least=measured.least,
    )


def judged(column: Column, mark: str) -> tuple[Role | None, str | None]:
    """What a cell counts as, and what its runs' record (``mark``) says against the column's kind.

    Data of another quality count as neither seen nor unseen. Where no kind is named, the mark counts.
    """
    kind = column.kind
    if kind in QUALITY:
        return kind, None
    if column.hard:
        return ("adversarial" if column.attack is not None else "certified"), None
    if column.degrade is not None:
        return "low quality", None
    if kind is None or kind == mark:
        return next((role for role in ROLES if role == mark), None), None
    if mark == "unknown":
        return None, None
    said = {
        "seen": "trained on it",
        "mixed": "trained on a part of it",
        "unseen method": "trained on the dataset without its methods",
        "unseen dataset": "not trained on the dataset",
    }
    return None, said[mark]


def _compression(system: System, measured: Measured) -> str | None:
    """Whether a run was trained on the compression that it is judged on."""
    here = set(measured.videos["compression"].drop_nulls())
    datasets = set(measured.videos["dataset"])
    trained = {
        compression
        for record in measured.result.predictors[system.runs[0]].datasets or ()
        if record["role"] in LEARNED and record["dataset"] in datasets
        for compression in record.get("compressions", ())
    }
    both = sorted(here & trained)
    return f"trained on {', '.join(both)} too" if both else None
