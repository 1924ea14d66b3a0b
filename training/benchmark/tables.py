"""The figures of a benchmark as CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from semblance.training.benchmark.result import Benchmark
from semblance.training.evaluation.matrices import Cell, Line, Matrix
from semblance.training.evaluation.report import matrices
from semblance.training.evaluation.report.figures import LEVELS
from semblance.training.evaluation.results import Level

COMMAND = "training benchmark"


def matrix(result: Benchmark, level: Level) -> Matrix:
    """Rows by columns at a level; cells that do not count as their column's kind are left empty."""
    lines = []
    for system in result.systems:
        cells = []
        for cell in result.cells:
            if cell.row != system.name:
                continue
            found, over = cell.figures[level], cell.spreads.get(level)
            cells.append(
                Cell(
                    value=found.value if cell.counted else None,
                    low=found.low if cell.counted else None,
                    high=found.high if cell.counted else None,
                    sd=over.sd if over is not None and cell.counted else None,
                    mark=cell.mark,  # type: ignore[arg-type]
                )
            )
        lines.append(Line(system=system.name, cells=tuple(cells)))
    return Matrix(
        name=f"benchmark-{level.replace(' (mean)', '-mean')}",
        title=f"AUC. {LEVELS[level]}",
        level=level,
        columns=tuple(one.column.name for one in result.measured),
        lines=tuple(lines),
        alike=False,
    )


def files(result: Benchmark) -> dict[str, str]:
    """``tables/``: each level as CSV and LaTeX, and consistencies, gains and answers as CSV."""
    found = {}
    for level in LEVELS:
        one = matrix(result, level)
        found[f"tables/{one.name}.csv"] = matrices.csv_text(matrices.csv_lines(one))
        found[f"tables/{one.name}.tex"] = matrices.latex(one, None, COMMAND)
    found["tables/consistency.csv"] = matrices.csv_text(_consistencies(result))
    if result.hardened:
        found["tables/hard.csv"] = matrices.csv_text(_hard(result))
    found["tables/gains.csv"] = matrices.csv_text(_gains(result))
    found["tables/asked.csv"] = matrices.csv_text(_answers(result))
    return found


def _consistencies(result: Benchmark) -> Iterator[list[Any]]:
    yield ["row", "across", "seen", "unseen", "seen_auc", "unseen_auc", "consistency", "low", "high", "sd"]
    for one in result.consistencies:
        columns = ["; ".join(one.seen), "; ".join(one.unseen)]
        figures = [one.ratio.value, one.ratio.low, one.ratio.high, one.over.sd if one.over else None]
        yield [one.row, one.role, *columns, one.seen_auc.value, one.unseen_auc.value, *figures]


def _hard(result: Benchmark) -> Iterator[list[Any]]:
    yield ["row", "column", "condition", "level", "balanced", "low", "high", "sd", "clean", "reals", "fakes"]
    for one in result.hardened:
        for cell in one.cells:
            figures = [cell.figure.value, cell.figure.low, cell.figure.high, cell.over.sd if cell.over else None]
            yield [cell.row, cell.column, one.said, cell.level, *figures, cell.clean.value, cell.reals, cell.fakes]


def _gains(result: Benchmark) -> Iterator[list[Any]]:
    parts = [f"{name}{end}" for name in ("points", "relative") for end in ("", "_low", "_high")]
    yield ["row", "over", "part", "columns", *parts]
    for one in (*result.gains, *(over.gain for over in result.members if over.gain is not None)):
        figures = [value for found in (one.points, one.relative) for value in (found.value, found.low, found.high)]
        yield [one.row, one.other, one.part, "; ".join(one.columns), *figures]


def _answers(result: Benchmark) -> Iterator[list[Any]]:
    yield ["asked", "row", "measured", "low", "high", "verdict", "data", "note"]
    for one in result.answers:
        found = one.measured
        yield [one.asked, one.row, found.value, found.low, found.high, one.verdict, one.data, one.note]
