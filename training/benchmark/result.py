"""The result of a benchmark: its cells, and what rows and columns come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from semblance.training.benchmark import asked, cells, draws, summaries
from semblance.training.benchmark.asked import Answer, Latency
from semblance.training.benchmark.cells import Cell
from semblance.training.benchmark.columns import Measured
from semblance.training.benchmark.robust import Hardened
from semblance.training.benchmark.suite import Suite
from semblance.training.benchmark.summaries import Consistency, Gain, Over
from semblance.training.benchmark.systems import Resolved, System
from semblance.training.evaluation import cost


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Benchmark:
    """Everything that the page is made from."""

    suite: Suite
    date: str
    systems: tuple[System, ...]
    measured: tuple[Measured, ...]
    hardened: tuple[Hardened, ...]
    cells: tuple[Cell, ...]
    consistencies: tuple[Consistency, ...]
    gains: tuple[Gain, ...]
    members: tuple[Over, ...]
    latencies: tuple[Latency, ...]
    answers: tuple[Answer, ...]

    @property
    def columns(self) -> tuple[Measured | Hardened, ...]:
        """All columns, those of AUC first."""
        return (*self.measured, *self.hardened)


def summarise(
    suite: Suite, resolved: Resolved, measured: Sequence[Measured], hardened: Sequence[Hardened], date: str
) -> Benchmark:
    """What rows and columns come to."""
    found = cells.make(resolved.systems, measured)
    areas = draws.areas(measured, draws=suite.draws, seed=suite.seed)
    consistencies = summaries.consistency(resolved.systems, found, areas)
    gains = () if suite.baseline is None else summaries.gains(resolved.systems, found, areas, suite.baseline)
    members = summaries.over_members(resolved.systems, found, areas, resolved.sha256)
    latencies = _latencies(resolved, measured) if suite.cost else {}
    answers = asked.answers(suite, resolved.systems, consistencies, gains, members, latencies, hardened)
    return Benchmark(
        suite=suite,
        date=date,
        systems=resolved.systems,
        measured=tuple(measured),
        hardened=tuple(hardened),
        cells=found,
        consistencies=consistencies,
        gains=gains,
        members=members,
        latencies=tuple(latencies.values()),
        answers=answers,
    )


def _latencies(resolved: Resolved, measured: Sequence[Measured]) -> dict[str, Latency]:
    """The cost of one run of each row, for the crops of a video of the first column."""
    by_name = {one.name: one for one in resolved.predictors}
    pictures = measured[0].result.selection.pictures
    crops = pictures.height / pictures["video_id"].n_unique()
    return {
        system.name: Latency(row=system.name, cost=cost.measure(by_name[system.runs[0]]), crops=crops)
        for system in resolved.systems
        if system.runs[0] in by_name
    }
