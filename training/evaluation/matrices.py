"""Matrices of AUC: models by datasets, by methods, by compressions, with averages; and methods that were left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from semblance.training.evaluation.results import Level, Mark, Row
from semblance.training.evaluation.seeds import Seeds, spread, systems


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A figure: of one model with its interval, or the mean over seeds with its spread. None: not measured."""

    value: float | None
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    mark: Mark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One system in a matrix; ``average`` is the plain mean of its cells, None if one is missing."""

    system: str
    cells: tuple[Cell, ...]

    @property
    def average(self) -> float | None:
        return mean([cell.value for cell in self.cells])


def mean(values: Sequence[float | None]) -> float | None:
    """The plain mean; None if a value is missing, or if there is none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """AUC of every system (lines) on every part of the data (columns). ``name``: that of its files.

    ``alike``: whether an average over the columns means something.
    """

    name: str
    title: str
    level: Level
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    alike: bool = True

    @property
    def averaged(self) -> bool:
        """Whether there are several columns to average."""
        return self.alike and len(self.columns) > 1

    def best(self) -> list[float | None]:
        """The largest value of each column, then of the averages; None for less than two systems to choose from."""
        columns = [[line.cells[place].value for line in self.lines] for place in range(len(self.columns))]
        columns.append([line.average for line in self.lines])
        known = [[value for value in column if value is not None] for column in columns]
        return [max(values) if len(values) > 1 else None for values in known]


def find(rows: Sequence[Row], groups: Sequence[Seeds]) -> tuple[Matrix, ...]:
    """All matrices with something to compare: two parts of the data, or two systems."""
    lines = systems(list(dict.fromkeys(row.model for row in rows)), groups)
    made = []
    for name, title, level, columns in _kinds(rows):
        matrix = Matrix(
            name=name,
            title=title,
            level=level,
            columns=tuple(columns),
            lines=tuple(
                Line(system=system, cells=tuple(_cell(rows, models, level, part) for part in columns.values()))
                for system, models in lines.items()
            ),
        )
        made.append(matrix)
    return tuple(made)


Part = tuple[str | None, str | None, str | None]  # dataset, compression, method


def _kinds(rows: Sequence[Row]) -> Iterator[tuple[str, str, Level, Mapping[str, Part]]]:
    """Name, title, level and columns (heading to part) of each matrix."""
    found = dict.fromkeys((row.dataset, row.compression, row.method) for row in rows)
    datasets: dict[str, Part] = {one[0]: one for one in found if one[0] is not None and one[1] is one[2] is None}
    levels: tuple[tuple[Level, str], ...] = (("video", "by video"), ("frame", "by frame"))
    for level, words in levels:
        yield f"datasets-{level}", f"Datasets, AUC {words}", level, datasets
    for dataset in datasets:
        inside = {one[1]: one for one in found if one[0] == dataset and one[1] is not None and one[2] is None}
        if inside:
            yield _file(f"compressions-{dataset}"), f"Compressions of {dataset}, AUC by video", "video", inside
        methods = [one for one in found if one[0] == dataset and one[2] is not None]
        for compression in dict.fromkeys(one[1] for one in methods):
            tail = f", {compression}" if compression else ""
            columns = {str(one[2]): one for one in methods if one[1] == compression}
            name = _file("-".join(filter(None, ("methods", dataset, compression))))
            yield name, f"Methods of {dataset}{tail}, AUC by video", "video", columns


def _file(name: str) -> str:
    """A file name that holds everywhere."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name)


def _cell(rows: Sequence[Row], models: Sequence[str], level: Level, part: Part) -> Cell:
    named = {
        row.model: row for row in rows if row.level == level and (row.dataset, row.compression, row.method) == part
    }
    chosen = [named[model] for model in models]
    figures = [row.figures["auc"] for row in chosen]
    if len(models) == 1:
        return Cell(value=figures[0].value, low=figures[0].low, high=figures[0].high, mark=chosen[0].mark)
    over = spread(figure.value for figure in figures)
    if over is None:
        return Cell(value=None, mark=chosen[0].mark)
    return Cell(value=over.mean, sd=over.sd, mark=chosen[0].mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A run on a method that its training lacked, though it trained on the dataset: AUC by video.

    ``inside``: the mean AUC over ``trained``, the methods of the same dataset and compression that it trained on.
    """

    model: str
    dataset: str
    compression: str | None
    method: str
    auc: Cell
    trained: tuple[str, ...]
    inside: float | None

    @property
    def gap(self) -> float | None:
        """What is lost on the method that was left out."""
        return None if self.inside is None or self.auc.value is None else self.inside - self.auc.value


def left_out(rows: Sequence[Row]) -> tuple[LeftOut, ...]:
    """Every run and method that it did not train on, where it trained on other methods of the dataset."""
    named = [row for row in rows if row.level == "video" and row.method is not None]
    found = []
    for row in named:
        same = [one for one in named if (one.model, one.dataset) == (row.model, row.dataset)]
        trained = [one for one in same if one.compression == row.compression and one.mark == "seen"]
        if row.mark != "unseen method" or not trained or row.dataset is None or row.method is None:
            continue
        figure = row.figures["auc"]
        found.append(
            LeftOut(
                model=row.model,
                dataset=row.dataset,
                compression=row.compression,
                method=row.method,
                auc=Cell(value=figure.value, low=figure.low, high=figure.high, mark=row.mark),
                trained=tuple(str(one.method) for one in trained),
                inside=mean([one.figures["auc"].value for one in trained]),
            )
        )
    return tuple(found)
