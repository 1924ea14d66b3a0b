"""Leave-one-method-out: every method in turn is kept from training and selection, and judged beside the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from semblance.manifests import scan, storage
from semblance.manifests.errors import UsageError
from semblance.manifests.records import PRISTINE
from semblance.training import recipes
from semblance.training.benchmark.cells import Cell
from semblance.training.benchmark.result import Benchmark
from semblance.training.benchmark.suite import Asked, Column
from semblance.training.evaluation.matrices import mean
from semblance.training.evaluation.report.matrices import csv_text
from semblance.training.evaluation.report.page import aligned
from semblance.training.protocols import plan
from semblance.training.protocols.plan import Plan, Variant
from semblance.training.recipes.base import TrainingRecipe

FILE: Final = "leave-one-out.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Methods:
    """The named methods of a build's fakes in train and in test, and its pictures of fakes without one in train."""

    train: frozenset[str]
    test: frozenset[str]
    unnamed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """AUC by video of the runs that did not learn ``method``: on it, and the mean over the others of its build.

    ``column``: of the method. ``sd``: of the unseen AUC over seeds. None: not measured.
    """

    method: str
    column: str
    seen: float | None
    unseen: float | None
    sd: float | None

    @property
    def gap(self) -> float | None:
        return None if self.seen is None or self.unseen is None else self.seen - self.unseen


def make(outs: Sequence[str], recipe: TrainingRecipe, seeds: Sequence[int], methods: Collection[str] = ()) -> Plan:
    """One variant for every method that is in train and in test of a build, or for those that are named.

    Reals stay, and so do the splits: families stay apart. Fakes whose method is not named may be of the left-out one,
    so no variant is trained on them. Raises UsageError for an unknown method, or if a build would keep no fake.
    """
    outs = plan.checked_outs(outs)
    column = recipe.data.split_column
    of_build = {out: methods_of(out, column) for out in outs}
    known = sorted({name for one in of_build.values() for name in one.train & one.test})
    if unknown := sorted(set(methods) - set(known)):
        raise UsageError(
            f"No build has fakes of {unknown[0]!r} in train and test under column {column}; methods that can be left "
            f"out: {', '.join(known) or 'none'}."
        )
    chosen = [name for name in known if not methods or name in methods]
    if not chosen:
        raise UsageError(
            f"No method of {', '.join(outs)} is named and in both train and test under column {column}, so none can "
            "be left out; `manifests leave-one-out OUT` lists them."
        )
    for out, one in of_build.items():
        for name in chosen:
            if not one.train - {name}:
                raise UsageError(
                    f"Without {name}, {out} keeps no fake of a named method to train on; leave this build out, or "
                    "compare builds with `training cross-dataset`."
                )
    labels = [f"without {name}" for name in chosen]
    return Plan(
        command="leave-one-out",
        title=f"{recipe.name}, one method left out",
        variants=tuple(
            Variant(row=label, slug=slug, outs=outs, recipe=without(recipe, name))
            for name, label, slug in zip(chosen, labels, _slugs(chosen), strict=True)
        ),
        seeds=plan.checked_seeds(seeds),
        columns=_columns(outs, of_build, column),
        asked=Asked(consistency=None, gain=None, ensemble_gain=None, robustness=None, latency=None),
        notes=tuple(
            f"{out}: {one.unnamed} pictures of fakes without a named method are not trained on, since they may be of "
            "the one that is left out"
            for out, one in of_build.items()
            if one.unnamed
        ),
    )


def methods_of(out: str, column: str) -> Methods:
    """The methods of a build by split."""
    rows = (
        scan(out)
        .filter((pl.col("label") == 1) & (pl.col("verdict") == "keep"))
        .select(pl.col(column).alias("side"), "method")
        .collect()
    )
    named = rows.filter(pl.col("method").is_not_null() & (pl.col("method") != PRISTINE))
    sides = {side: frozenset(named.filter(pl.col("side") == side)["method"]) for side in ("train", "test")}
    unnamed = rows.filter((pl.col("side") == "train") & pl.col("method").is_null()).height
    return Methods(**sides, unnamed=unnamed)


def without(recipe: TrainingRecipe, method: str) -> TrainingRecipe:
    """The recipe with a condition that keeps fakes of ``method``, and of no named one, from training and selection."""
    quoted = method.replace("'", "''")
    condition = f"(label = 0 OR (method IS NOT NULL AND method <> '{quoted}'))"
    query = condition if recipe.data.query is None else f"({recipe.data.query}) AND {condition}"
    return recipe.model_copy(
        update={
            "name": f"{recipe.name} without {method}",
            "base": recipe.name if recipe.name in recipes.NAMED else recipe.base,
            "data": recipe.data.model_copy(update={"query": query}),
        }
    )


def gaps(made: Plan, result: Benchmark) -> list[Gap]:
    """A line for each variant and build that has its method."""
    data = {one.column.name: one.column for one in result.measured}
    cells = {(cell.row, cell.column): cell for cell in result.cells}
    found = []
    for variant in made.variants:
        method = variant.row.removeprefix("without ")
        for column in made.columns:
            cell = cells.get((variant.row, column.name))
            if cell is None or column.method != (method,) or cell.role != "unseen method":
                continue
            same = [one.name for one in data.values() if one.data == data[column.name].data]
            seen = [one for name in same if (one := cells[variant.row, name]).role == "seen"]
            over = cell.spreads.get("video")
            found.append(
                Gap(
                    method=method,
                    column=column.name,
                    seen=mean([_auc(one) for one in seen]),
                    unseen=_auc(cell),
                    sd=None if over is None else over.sd,
                )
            )
    return found


def table(found: Sequence[Gap]) -> list[list[Any]]:
    """A heading, a line for each, and their mean: for a terminal, and as leave-one-out.csv."""
    lines: list[list[Any]] = [["left out", "judged on", "AUC seen", "AUC unseen", "sd over seeds", "gap"]]
    for one in found:
        lines.append([one.method, one.column, *map(_shown, (one.seen, one.unseen, one.sd, one.gap))])
    means = [mean([getattr(one, name) for one in found]) for name in ("seen", "unseen", "gap")]
    lines.append(["mean", "", _shown(means[0]), _shown(means[1]), "-", _shown(means[2])])
    return lines


def write(found: Sequence[Gap], to: str | Path) -> str:
    """Write leave-one-out.csv into the folder ``to``, and return the same table for a terminal."""
    lines = table(found)
    storage.write_bytes(str(Path(to) / FILE), csv_text(lines).encode())
    return aligned(lines)


def _columns(outs: Sequence[str], of_build: dict[str, Methods], split_column: str) -> tuple[Column, ...]:
    called = plan.names(outs)
    return tuple(
        Column(
            name=method if len(outs) == 1 else f"{method} ({called[out]})",
            data=out,
            split_column=split_column,
            method=(method,),
        )
        for out in outs
        for method in sorted(of_build[out].test)
    )


def _slugs(methods: Sequence[str]) -> list[str]:
    return [f"without-{slug}" for slug in plan.slugs(methods)]


def _auc(cell: Cell) -> float | None:
    return cell.figures["video"].value


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
