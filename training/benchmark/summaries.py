"""What rows and columns come to: consistency across datasets and methods, gains over a baseline and over members."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.benchmark import draws
from semblance.training.benchmark.cells import ROLES, Cell, Role
from semblance.training.benchmark.draws import Areas
from semblance.training.benchmark.systems import System
from semblance.training.evaluation.matrices import mean
from semblance.training.evaluation.seeds import Spread, spread
from semblance.training.metrics.classification import Floats

By = Mapping[tuple[str, str], Cell]  # row and column


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """The mean AUC of a row on columns of ``role`` (unseen) divided by that on its seen ones.

    ``ratio``: the mean over its runs, with an interval over draws of groups and of runs; ``over``: its spread over
    runs. ``seen_auc``, ``unseen_auc``: the means.
    """

    row: str
    role: Role
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    seen_auc: Estimate
    unseen_auc: Estimate
    ratio: Estimate
    over: Spread | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Mean AUC of ``row`` minus that of ``other`` on the same columns: ``points``, and ``relative`` to ``other``.

    ``part``: seen, unseen method or unseen dataset, or None for a column of its own. ``paired``: by seed, too.
    """

    row: str
    other: str
    part: Role | None
    columns: tuple[str, ...]
    points: Estimate
    relative: Estimate
    paired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """An ensemble against its best member on a part; ``reason``: why it cannot be compared."""

    row: str
    members: tuple[str, ...]
    gain: Gain | None
    reason: str | None = None


def by_place(cells: Sequence[Cell]) -> dict[tuple[str, str], Cell]:
    """Cells by row and column."""
    return {(cell.row, cell.column): cell for cell in cells}


def columns_of(cells: Sequence[Cell], row: str, role: Role) -> tuple[str, ...]:
    """The columns that count as ``role`` for a row, and were measured."""
    return tuple(
        cell.column
        for cell in cells
        if cell.row == row and cell.role == role and cell.figures["video"].value is not None
    )


def consistency(systems: Sequence[System], cells: Sequence[Cell], areas: Areas) -> tuple[Consistency, ...]:
    """Every row that has seen and unseen columns, across datasets first."""
    found = []
    kinds: tuple[Role, ...] = ("unseen dataset", "unseen method")
    for role in kinds:
        for system in systems:
            seen, unseen = columns_of(cells, system.name, "seen"), columns_of(cells, system.name, role)
            if seen and unseen:
                found.append(_consistency(system, role, seen, unseen, areas))
    return tuple(found)


def _consistency(
    system: System, role: Role, seen: tuple[str, ...], unseen: tuple[str, ...], areas: Areas
) -> Consistency:
    def ratio(of: Callable[[str], Floats]) -> Floats:
        return draws.mean([of(column) for column in unseen]) / draws.mean([of(column) for column in seen])

    each_R = ratio(lambda column: areas.of(system, column))[:, 0]
    parts = {column: areas.drawn_of(system, column) for column in (*seen, *unseen)}
    drawn_D = None
    if all(part is not None for part in parts.values()):
        drawn_D = (areas.weights(system) * ratio(lambda column: _known(parts[column]))).sum(0)
    return Consistency(
        row=system.name,
        role=role,
        seen=seen,
        unseen=unseen,
        seen_auc=draws.over_draws(_mean(system, seen, areas), _drawn(system, seen, areas)),
        unseen_auc=draws.over_draws(_mean(system, unseen, areas), _drawn(system, unseen, areas)),
        ratio=draws.over_draws(float(each_R.mean()), drawn_D),
        over=spread(each_R.tolist()),
    )


def _mean(system: System, columns: Sequence[str], areas: Areas) -> float:
    return float(draws.mean([areas.of(system, column) for column in columns]).mean())


def _known(part: Floats | None) -> Floats:
    assert part is not None
    return part


def left_out(found: Sequence[Consistency]) -> tuple[float | None, float | None]:
    """Seen and unseen AUC across methods, each the plain mean over rows; None where one is missing, or without any."""
    across = [one for one in found if one.role == "unseen method"]
    return mean([one.seen_auc.value for one in across]), mean([one.unseen_auc.value for one in across])


def gains(systems: Sequence[System], cells: Sequence[Cell], areas: Areas, baseline: str) -> tuple[Gain, ...]:
    """Every row but the baseline, on each column, and on all those that are alike to both."""
    base = next(system for system in systems if system.name == baseline)
    place = by_place(cells)
    found = []
    for system in systems:
        if system.name == baseline:
            continue
        columns = [cell.column for cell in cells if cell.row == system.name]
        for column in columns:
            both = (place[system.name, column], place[baseline, column])
            if all(cell.counted and cell.figures["video"].value is not None for cell in both):
                found.append(compare(system, base, (column,), None, areas))
        for role in ROLES:
            shared = set(columns_of(cells, baseline, role))
            alike = tuple(column for column in columns_of(cells, system.name, role) if column in shared)
            if alike:
                found.append(compare(system, base, alike, role, areas))
    return tuple(found)


def compare(system: System, other: System, columns: tuple[str, ...], part: Role | None, areas: Areas) -> Gain:
    """One row against another on the same columns, over shared draws."""
    values = [_mean(one, columns, areas) for one in (system, other)]
    drawn = [_drawn(one, columns, areas) for one in (system, other)]
    points_D = relative_D = None
    if drawn[0] is not None and drawn[1] is not None:
        points_D = drawn[0] - drawn[1]
        relative_D = points_D / drawn[1]
    points = values[0] - values[1]
    return Gain(
        row=system.name,
        other=other.name,
        part=part,
        columns=columns,
        points=draws.over_draws(points, points_D),
        relative=draws.over_draws(points / values[1] if values[1] else np.nan, relative_D),
        paired=system.several and system.seeds == other.seeds,
    )


def _drawn(system: System, columns: Sequence[str], areas: Areas) -> Floats | None:
    """The mean over columns and drawn runs, (D,)."""
    parts = [areas.drawn_of(system, column) for column in columns]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return np.asarray((areas.weights(system) * draws.mean(known)).sum(0))


def over_members(
    systems: Sequence[System], cells: Sequence[Cell], areas: Areas, sha256: Mapping[str, str]
) -> tuple[Over, ...]:
    """Every ensemble against the member that is best on the same columns, if all its members were evaluated."""
    found = []
    run_of = {sha: run for run, sha in sha256.items()}
    for system in systems:
        if not system.members:
            continue
        runs = [run_of.get(sha) for sha in system.members]
        known = tuple(run for run in runs if run is not None)
        if len(known) < len(runs):
            reason = f"{len(runs) - len(known)} of its {len(runs)} members are in no row"
            found.append(Over(row=system.name, members=known, gain=None, reason=reason))
            continue
        singles = [System(name=run, runs=(run,), seeds=(None,)) for run in dict.fromkeys(known)]
        for role in ROLES:
            if columns := columns_of(cells, system.name, role):
                best = max(singles, key=lambda one: _mean(one, columns, areas))
                gain = compare(system, best, columns, role, areas)
                found.append(Over(row=system.name, members=known, gain=gain))
    return tuple(found)
