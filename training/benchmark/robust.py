"""The columns with ``attack`` or ``certify``: balanced accuracy of every row under attack, or certified at a radius.

They count in no summary of AUC, consistency or gain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.benchmark import columns
from semblance.training.benchmark.columns import FOLDER, Measured
from semblance.training.benchmark.suite import Column, Suite
from semblance.training.benchmark.systems import Resolved, System
from semblance.training.evaluation import attacked, evaluate, networks, predictions, smoothing
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.report import files
from semblance.training.evaluation.report.extras import Extras
from semblance.training.evaluation.seeds import Spread, spread

Level = Literal["frame", "video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Robust:
    """A row on such a column, at a level.

    ``figure``: its balanced accuracy, ``clean`` that on the same pictures without attack or noise. Over seeds both are
    means, and an interval reaches from the lowest to the highest end of those of its runs; ``over`` is their spread.
    ``reason``: why nothing was measured.
    """

    row: str
    column: str
    kind: Literal["adversarial", "certified"]
    level: Level
    figure: Estimate
    clean: Estimate
    over: Spread | None
    reals: int
    fakes: int
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hardened:
    """A column with its cells; ``masked``: runs whose gradients are masked, in sentences. Else as ``Measured``."""

    column: Column
    result: Evaluation
    videos: pl.DataFrame
    folder: str
    cells: tuple[Robust, ...]
    masked: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def said(self) -> str:
        """What is done to the runs."""
        return str(self.column.attack or self.column.certify)

    @property
    def least(self) -> int:
        """People or families among the listed videos, of the class that has fewer."""
        groups = predictions.groups(self.videos)
        return min(groups.filter(self.videos["label"] == label).n_unique() for label in (0, 1))


def check(suite: Suite, resolved: Resolved) -> None:
    """Raises UsageError if a column has ``attack`` or ``certify``, and no row can be judged by it."""
    for column in suite.columns:
        if column.hard:
            option = "attack" if column.attack is not None else "certify"
            with columns.named(column):
                networks.able([*resolved.predictors, *resolved.externals], option)


def measure(
    suite: Suite,
    resolved: Resolved,
    measured: Sequence[Measured],
    to: Path,
    *,
    date: str,
    pictures: bool,
    say: Callable[[str], None],
) -> list[Hardened]:
    """All such columns, and the evaluation of each written below ``to``."""
    made = {one.column.key: one.result for one in measured}
    folders = [one.folder for one in measured]
    found = []
    for column in suite.columns:
        if not column.hard:
            continue
        folder = f"{FOLDER}/{columns.slug(column.name, folders)}"
        folders.append(folder)
        with columns.named(column):
            say(f"column {column.name}: {column.attack or column.certify}")
            if column.key not in made:
                made[column.key] = columns.evaluation(suite, column, resolved, date, say)
            one, extras = _column(resolved, column, made[column.key], folder, pictures, say)
            evaluate.write(one.result, to / folder, None, files.written(one.result, extras))
        found.append(one)
    return found


def _column(
    resolved: Resolved, column: Column, result: Evaluation, folder: str, pictures: bool, say: Callable[[str], None]
) -> tuple[Hardened, Extras]:
    videos = columns.listed(column, result.videos)
    by_run: dict[str, list[Robust]] = {}
    masked: tuple[str, ...] = ()
    if column.attack is not None:
        asked = column.attack
        options = attacked.Options(
            names=(asked.name,), strengths=(asked.strength,), pictures=asked.pictures, quick=asked.quick
        )
        found = attacked.measure(result, options, videos=videos, say=say)
        extras = Extras(attacked=found, pictures=pictures)
        masked = found.masked
        for strike in found.strikes:
            by_run.setdefault(strike.model, []).append(
                _robust(column, strike.model, strike.level, strike.robust, strike.clean, strike.reals, strike.fakes)
            )
    else:
        assert column.certify is not None
        certificates, told = smoothing.measure(result, column.certify.options, videos=videos, say=say)
        extras = Extras(certificates=tuple(certificates), told=tuple(told), pictures=pictures)
        for one in certificates:
            (point,) = (point for point in one.points if point.radius == column.certify.radius)
            by_run[one.model] = [_robust(column, one.model, "frame", point.balanced, one.clean, one.reals, one.fakes)]
    reasons = {name: networks.refusal(one) for name, one in result.scorers.items()}
    cells = [cell for system in resolved.systems for cell in _cells(system, column, by_run, reasons)]
    made = Hardened(
        column=column,
        result=result,
        videos=videos,
        folder=folder,
        cells=tuple(cells),
        masked=masked,
        notes=tuple(extras.notes),
    )
    return made, extras


def _robust(
    column: Column, row: str, level: Level, figure: Estimate, clean: Estimate, reals: int, fakes: int
) -> Robust:
    return Robust(
        row=row,
        column=column.name,
        kind="adversarial" if column.attack is not None else "certified",
        level=level,
        figure=figure,
        clean=clean,
        over=None,
        reals=reals,
        fakes=fakes,
    )


def _cells(
    system: System, column: Column, by_run: Mapping[str, Sequence[Robust]], reasons: Mapping[str, str | None]
) -> Iterator[Robust]:
    """The cells of a row: of each level that all its runs have."""
    if reason := next((reasons[run] for run in system.runs if reasons[run] is not None), None):
        nothing = Estimate(value=None)
        cell = _robust(column, system.name, "frame", nothing, nothing, 0, 0)
        yield _changed(cell, reason=reason)
        return
    levels: tuple[Level, ...] = ("frame", "video")
    for level in levels:
        same = [cell for run in system.runs for cell in by_run.get(run, ()) if cell.level == level]
        if len(same) < len(system.runs):
            continue
        values = [cell.figure.value for cell in same]
        yield _changed(
            same[0],
            row=system.name,
            figure=widest([cell.figure for cell in same]),
            clean=widest([cell.clean for cell in same]),
            over=spread(values) if system.several else None,
        )


def _changed(cell: Robust, **values: object) -> Robust:
    return replace(cell, **values)  # type: ignore[arg-type]


def widest(found: Sequence[Estimate]) -> Estimate:
    """The mean of figures, from the lowest to the highest end of their intervals; None where one has none."""
    values = [one.value for one in found if one.value is not None]
    if len(values) < len(found):
        return Estimate(value=None)
    low = [one.low for one in found if one.low is not None]
    high = [one.high for one in found if one.high is not None]
    sure = len(low) == len(high) == len(found)
    return Estimate(value=sum(values) / len(values), low=min(low) if sure else None, high=max(high) if sure else None)
