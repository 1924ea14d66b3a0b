"""The detectors behind the rows of a suite: one system each, or runs of one recipe that differ by their seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semblance.manifests.errors import UsageError
from semblance.training.benchmark.suite import Row, Suite
from semblance.training.evaluation import external, runs, seeds
from semblance.training.evaluation.external import External
from semblance.training.inference import predictor
from semblance.training.inference.predictor import Predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A row: the names of its ``runs`` in order of their ``seeds``. ``members``: of an ensemble, their SHA-256."""

    name: str
    runs: tuple[str, ...]
    seeds: tuple[int | None, ...]
    members: tuple[str, ...] = ()

    @property
    def several(self) -> bool:
        """Whether figures are means over seeds."""
        return len(self.runs) > 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolved:
    """The systems of all rows; the folders of their runs, each once, with their ``predictors``; and externals.

    ``sha256``: of each run of one model. ``faults`` are looked for in what ``trained`` says by row: the builds that
    its runs were trained with, None for an external detector.
    """

    systems: tuple[System, ...]
    paths: tuple[str, ...]
    sha256: dict[str, str]
    predictors: tuple[Predictor, ...]
    externals: tuple[External, ...] = ()

    @property
    def split_column(self) -> str:
        """The split protocol of a column that names none."""
        return self.predictors[0].split_column if self.predictors else "split"

    def trained(self, system: System) -> Sequence[Mapping[str, Any]] | None:
        """The builds that a row was trained with, as in datasets.json; None if nobody knows."""
        return next((one.datasets for one in self.predictors if one.name == system.runs[0]), None)


def resolve(suite: Suite, *, send: bool = False) -> Resolved:
    """Find every row's runs, or its external detector; ``send``: a service may be sent pictures.

    Raises UsageError if a pattern matches none, or runs that differ by more than the seed."""
    of_row: dict[str, list[str]] = {}
    for row in suite.rows:
        if row.runs is not None:
            try:
                of_row[row.name] = runs.matching([row.runs])
            except UsageError as error:
                raise UsageError(f"Row {row.name}: {error}") from error
    rows = {path: name for name, found in of_row.items() for path in found}
    paths = list(rows)
    try:
        predictors = predictor.load_all(paths)
    except UsageError as error:
        missing = [name for path, name in rows.items() if not Path(path).is_dir()]
        raise UsageError(f"Row {missing[0]}: {error}" if missing else str(error)) from error
    by_path = dict(zip(paths, predictors, strict=True))
    again = [f"again with {one.degrade} ({one.name})" for one in suite.columns if one.degrade is not None]
    externals = {row.name: _external(row, row.external, send, again) for row in suite.rows if row.external is not None}
    systems = [
        _system(row, [by_path[path] for path in of_row[row.name]])
        if row.name in of_row
        else System(name=row.name, runs=(externals[row.name].name,), seeds=(None,))
        for row in suite.rows
    ]
    return Resolved(
        externals=tuple(externals.values()),
        systems=tuple(systems),
        paths=tuple(paths),
        sha256={one.name: one.members[0].sha256 for one in predictors if not one.calibrated},
        predictors=tuple(predictors),
    )


def _external(row: Row, where: str, send: bool, more: Sequence[str]) -> External:
    """The detector of a row, under a name that is also that of a file."""
    try:
        return external.parse(f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', row.name)}={where}", send=send, more=more)
    except UsageError as error:
        raise UsageError(f"Row {row.name}: {error}") from error


def _system(row: Row, found: Sequence[Predictor]) -> System:
    if len(found) == 1:
        one = found[0]
        seed = None if one.calibrated else one.members[0].trained.recipe.seed
        members = tuple(member.sha256 for member in one.members) if one.calibrated else ()
        return System(name=row.name, runs=(one.name,), seeds=(seed,), members=members)
    groups = seeds.find(found)
    if len(groups) != 1 or len(groups[0].runs) != len(found):
        names = ", ".join(one.name for one in found[:4]) + (", ..." if len(found) > 4 else "")
        raise UsageError(
            f"Row {row.name}: {row.runs} matches runs that are not repetitions of one recipe with other seeds "
            f"({names}); give each of them a row of its own."
        )
    ordered = sorted(zip(groups[0].seeds, groups[0].runs, strict=True))
    return System(name=row.name, runs=tuple(name for _, name in ordered), seeds=tuple(number for number, _ in ordered))
