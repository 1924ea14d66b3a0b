"""What a chain of runs keeps of earlier tasks: accuracy after every task on every task, and forgetting.

K: tasks. Figures of seeds are kept apart until the last step, so that their spread is that of whole chains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

from semblance.manifests import storage
from semblance.manifests.config import readable_json
from semblance.training.benchmark.result import Benchmark
from semblance.training.evaluation.report.matrices import csv_text
from semblance.training.evaluation.report.page import aligned
from semblance.training.protocols.continual import Continual

Figures = Sequence[Sequence[float | None]]  # after task k (line), on task j (column)
FIGURES: Final = {"balanced_accuracy": "balanced accuracy", "auc": "AUC"}  # by video
TABLE: Final = "continual.csv"
RECORD: Final = "continual.json"
SCHEMA: Final = "semblance-continual/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One chain at its end. ``average``: the mean over all tasks after the last. ``forgetting``: see the function.

    ``new``: the mean over tasks of the figure on each directly after it was learned. None: not measured.
    """

    average: float | None
    forgetting: float | None
    new: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A method with one figure: the matrix of each seed, and their summaries in the same order."""

    method: str
    figure: str
    matrices: tuple[Figures, ...]

    @property
    def summaries(self) -> tuple[Summary, ...]:
        return tuple(summary(one) for one in self.matrices)


def average(matrix: Figures) -> float | None:
    """The mean over all tasks after the last one."""
    return _mean(matrix[-1])


def forgetting(matrix: Figures) -> float | None:
    """How much is lost of earlier tasks: the mean over all but the last of the best earlier figure minus the last one.

    Chaudhry et al., ECCV 2018, equation 3: the best is that after any task before the last. Below zero where later
    tasks helped. None for a single task, or where a figure was not measured.
    """
    lost: list[float | None] = []
    for task, now in enumerate(matrix[-1][:-1]):
        earlier = [line[task] for line in matrix[:-1]]
        known = [one for one in earlier if one is not None]
        lost.append(max(known) - now if len(known) == len(earlier) and known and now is not None else None)
    return _mean(lost)


def summary(matrix: Figures) -> Summary:
    """What a matrix (K x K) comes to."""
    return Summary(
        average=average(matrix),
        forgetting=forgetting(matrix),
        new=_mean([line[task] for task, line in enumerate(matrix)]),
    )


def lines(made: Continual, result: Benchmark) -> list[Line]:
    """Every method with every figure of ``FIGURES``, from the evaluations of the page."""
    columns = {one.column.name: one for one in result.measured}
    runs = {(one.name, seed): run for one in result.systems for seed, run in zip(one.seeds, one.runs, strict=True)}

    def value(row: str, seed: int, task: str, figure: str) -> float | None:
        run, column = runs.get((row, seed)), columns.get(task)  # a suite that was changed by hand may lack them
        if run is None or column is None:
            return None
        return column.rows[run]["video"].figures[figure].value

    found = []
    for figure in FIGURES:
        for chain in made.chains:
            matrices = [
                [[value(row, seed, task.name, figure) for task in made.tasks] for row in chain.rows]
                for seed in made.plan.seeds
            ]
            found.append(Line(method=chain.method, figure=figure, matrices=tuple(matrices)))
    return found


def table(made: Continual, found: Sequence[Line]) -> list[list[Any]]:
    """A heading, and a line for every method and figure after each task; the last of each has its summary."""
    names = [task.name for task in made.tasks]
    rows: list[list[Any]] = [["figure", "method", "after", *names, "average", "forgetting", "sd of forgetting"]]
    for line in found:
        for place, name in enumerate(names):
            cells = [_mean([one[place][task] for one in line.matrices]) for task in range(len(names))]
            ends = _ends(line) if place + 1 == len(names) else ["", "", ""]
            rows.append([FIGURES[line.figure], line.method, name, *map(_shown, cells), *ends])
    return rows


def overview(found: Sequence[Line]) -> list[list[str]]:
    """A heading and one line for each method: the average after the last task, and forgetting, of both figures."""
    heads = [f"{what} {name}" for name in FIGURES.values() for what in ("average", "forgetting")]
    rows = [["method", *heads]]
    for method in dict.fromkeys(line.method for line in found):
        cells: list[str] = []
        for figure in FIGURES:
            line = next(one for one in found if (one.method, one.figure) == (method, figure))
            cells += [_spread([one.average for one in line.summaries])]
            cells += [_spread([one.forgetting for one in line.summaries])]
        rows.append([method, *cells])
    return rows


def record(made: Continual, found: Sequence[Line], result: Benchmark) -> dict[str, Any]:
    """Everything as plain values: the tasks, and of each method and seed the matrix with its summary."""
    return {
        "schema": SCHEMA,
        "date": result.date,
        "title": made.plan.title,
        "tasks": [{"name": task.name, "method": task.method} for task in made.tasks],
        "level": "video",
        "threshold": "val of the builds that the run was trained on",
        "methods": [
            {
                "method": line.method,
                "figure": line.figure,
                "seeds": [
                    {"seed": seed, "matrix": [list(row) for row in matrix], **_plain(summary(matrix))}
                    for seed, matrix in zip(made.plan.seeds, line.matrices, strict=True)
                ],
            }
            for line in found
        ],
    }


def write(made: Continual, result: Benchmark, to: str | Path) -> str:
    """Write continual.csv and continual.json into the folder ``to``, and return both tables for a terminal."""
    found = lines(made, result)
    rows = table(made, found)
    storage.write_bytes(str(Path(to) / TABLE), csv_text(rows).encode())
    storage.write_bytes(str(Path(to) / RECORD), readable_json(record(made, found, result)).encode())
    return aligned(rows) + "\n\n" + aligned(overview(found))


def _ends(line: Line) -> Iterator[str]:
    forgotten = [one.forgetting for one in line.summaries]
    yield _shown(_mean([one.average for one in line.summaries]))
    yield _shown(_mean(forgotten))
    yield _shown(_deviation(forgotten))


def _spread(values: Sequence[float | None]) -> str:
    deviation = _deviation(values)
    return _shown(_mean(values)) + ("" if deviation is None else f" +- {deviation:.3f}")


def _mean(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _deviation(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return stdev(known) if len(known) > 1 and len(known) == len(values) else None


def _plain(one: Summary) -> Mapping[str, float | None]:
    return {"average": one.average, "forgetting": one.forgetting, "new": one.new}


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
