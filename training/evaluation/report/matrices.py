"""Matrices and paired comparisons as tables of the page, as CSV and as LaTeX (booktabs)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from semblance.training.evaluation import matrices
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.matrices import Cell as Figure
from semblance.training.evaluation.matrices import Line, Matrix
from semblance.training.evaluation.report.blocks import Cell, Section, Table, Value
from semblance.training.metrics.registry import METRICS

_SEEN: Final = "seen"  # the mark that a cell does not repeat
_LATEX: Final = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def section(result: Evaluation) -> Section | None:
    """Every matrix; None if there is nothing to compare."""
    found = compared(result)
    if not found:
        return None
    text = (
        "Lines are runs, or the mean over seeds ± its standard deviation. The best of a column is bold. *average* is "
        "the plain mean of the columns of its line, whatever their numbers of videos. Below a figure stand its "
        "interval and how new the data are to the model; only *unseen dataset* is a cross-dataset figure. The same "
        "tables are in `tables/` as CSV and as LaTeX for booktabs."
    )
    return Section(title="Matrices", blocks=[text, *(_table(one) for one in found)])


def compared(result: Evaluation) -> list[Matrix]:
    """The matrices with two columns or two lines."""
    found = matrices.find(result.rows, result.seeds)
    return [one for one in found if len(one.columns) > 1 or len(one.lines) > 1]


def files(result: Evaluation) -> dict[str, str]:
    """``tables/NAME.csv`` and ``.tex`` of every matrix, and ``tables/figures.csv``, one line per figure of a row."""
    found = {"tables/figures.csv": csv_text(_figures(result))}
    for matrix in compared(result):
        found[f"tables/{matrix.name}.csv"] = csv_text(csv_lines(matrix))
        found[f"tables/{matrix.name}.tex"] = latex(matrix, result.options.split)
    return found


def _table(matrix: Matrix) -> Table:
    best = matrix.best()
    lines: list[list[Value]] = []
    for line in matrix.lines:
        cells: list[Value] = [line.system]
        cells += [_cell(cell, top) for cell, top in zip(line.cells, best, strict=False)]
        lines.append([*cells, *([_cell(Figure(value=line.average), best[-1])] if matrix.averaged else [])])
    heading = ["model", *(f"#{column}" for column in matrix.columns), *(["#average"] * matrix.averaged)]
    return Table(heading=heading, lines=lines, caption=f"{matrix.title}.", label=matrix.title)


def _cell(cell: Figure, best: float | None) -> Cell:
    small = [_range(cell), cell.mark if cell.mark not in (None, _SEEN) else ""]
    return Cell(text=_number(cell.value), small="\n".join(filter(None, small)), best=is_best(cell.value, best))


def is_best(value: float | None, best: float | None) -> bool:
    """Whether a value is the best of its column, as far as three decimals show."""
    return value is not None and best is not None and _number(value) == _number(best)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _range(cell: Figure) -> str:
    if cell.sd is not None:
        return f"± {cell.sd:.3f}"
    return "" if cell.low is None or cell.high is None else f"{cell.low:.3f} to {cell.high:.3f}"


def latex(matrix: Matrix, split: str | None, command: str = "training evaluate") -> str:
    """A table for booktabs, with its caption and label; the best of each column is bold."""
    best = matrix.best()
    columns = [*matrix.columns, *(["average"] * matrix.averaged)]
    head = " & ".join(["", *(_escaped(column) for column in columns)])
    rows = [" & ".join([_escaped(line.system), *_latex_cells(line, best, matrix)]) + r" \\" for line in matrix.lines]
    caption = matrix.title if split is None else f"{matrix.title}, split {split}"
    caption += ", with the plain mean of the columns" if matrix.averaged else ""
    return "\n".join(
        [
            f"% needs \\usepackage{{booktabs}}; made by {command}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escaped(caption)}.}}",
            rf"\label{{tab:{matrix.name}}}",
            rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
            r"\toprule",
            head + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _latex_cells(line: Line, best: Sequence[float | None], matrix: Matrix) -> Iterator[str]:
    values = [*line.cells, *([Figure(value=line.average)] if matrix.averaged else [])]
    for cell, top in zip(values, best, strict=False):
        text = "--" if cell.value is None else f"{cell.value:.3f}"
        text = rf"\textbf{{{text}}}" if is_best(cell.value, top) else text
        yield text if cell.sd is None else rf"{text} $\pm$ {cell.sd:.3f}"


def _escaped(text: str) -> str:
    return text.translate(_LATEX)


def csv_lines(matrix: Matrix) -> Iterator[list[Any]]:
    """The lines of a matrix with its heading: five values of each column."""
    heading = ["model"]
    for column in matrix.columns:
        heading += [column, *(f"{column} {part}" for part in ("low", "high", "sd", "data"))]
    yield [*heading, *(["average"] * matrix.averaged)]
    for line in matrix.lines:
        cells = [part for one in line.cells for part in (one.value, one.low, one.high, one.sd, one.mark)]
        yield [line.system, *cells, *([line.average] * matrix.averaged)]


def _figures(result: Evaluation) -> Iterator[list[Any]]:
    part = ("dataset", "compression", "method", "data", "reals", "fakes", "scored", "listed", "threshold")
    yield ["model", "level", *part, "metric", "value", "low", "high"]
    for row in result.rows:
        place = [row.model, row.level, row.dataset, row.compression, row.method, row.mark]
        counts = [row.reals, row.fakes, row.scored, row.listed, row.threshold]
        for name in METRICS:
            estimate = row.figures[name]
            yield [*place, *counts, name, estimate.value, estimate.low, estimate.high]


def csv_text(lines: Iterable[list[Any]]) -> str:
    """Lines as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
