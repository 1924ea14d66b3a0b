"""The detectors behind the rows of a suite: one system each, or runs of one recipe that differ by their seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from semblance.manifests.errors import UsageError
from semblance.training.benchmark.suite import Row, Suite
from semblance.training.evaluation import runs, seeds
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
    """The systems of all rows, and the folders of their runs, each once. ``sha256``: of each run of one model."""

    systems: tuple[System, ...]
    paths: tuple[str, ...]
    sha256: dict[str, str]
    predictors: tuple[Predictor, ...]


def resolve(suite: Suite) -> Resolved:
    """Find every row's runs. Raises UsageError if a pattern matches none, or runs that differ by more than the seed."""
    of_row: dict[str, list[str]] = {}
    for row in suite.rows:
        if row.runs is not None:
            try:
                of_row[row.name] = runs.matching([row.runs])
            except UsageError as error:
                raise UsageError(f"Row {row.name}: {error}") from error
    paths = list(dict.fromkeys(path for found in of_row.values() for path in found))
    predictors = predictor.load_all(paths)
    by_path = dict(zip(paths, predictors, strict=True))
    systems = [_system(row, [by_path[path] for path in of_row[row.name]]) for row in suite.rows if row.name in of_row]
    return Resolved(
        systems=tuple(systems),
        paths=tuple(paths),
        sha256={one.name: one.members[0].sha256 for one in predictors if not one.calibrated},
        predictors=tuple(predictors),
    )


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
