"""What a run was trained or selected on and is now judged on, by the run's own record."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Any, Final, Protocol

import polars as pl

from semblance.manifests.overlap import ESTIMATED
from semblance.training.guard import crops, ids, leaks
from semblance.training.guard.leaks import COPY, Leak
from semblance.training.guard.seen import LEARNED, ROLES, Role, Seen
from semblance.training.inference.predictor import Predictor

_SAID: Final[dict[Role, str]] = {"trained": "trained on by {}", "selected": "used to select {}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Leaks, and the reasons why some could not be looked for, or may have been there before."""

    leaks: tuple[Leak, ...]
    unknown: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[Leak, ...]:
        return tuple(leak for leak in self.leaks if leak.refused)


class Trained(Protocol):
    """What a run keeps of its training, whether it is a ``Predictor`` or not trained yet."""

    @property
    def name(self) -> str: ...

    @property
    def records(self) -> Sequence[Seen]: ...

    @property
    def datasets(self) -> Sequence[Mapping[str, Any]]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planned:
    """A run that is not trained yet, by what it would keep of its data."""

    name: str
    records: tuple[Seen, ...]
    datasets: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judged:
    """A split of a build: what its videos hold, what its protocol keeps apart, and where it comes from."""

    name: str
    held: pl.DataFrame
    by_authors: bool
    promises: frozenset[str]
    lineage: frozenset[str]


def find(predictors: Sequence[Predictor], outs: Sequence[str], split: str, split_column: str) -> Found:
    """Compare what all runs keep of their training with a split that they are judged on.

    Everything that is shared is refused, but for two: people who are estimated, where no split promised to keep them
    apart, and copies under other ids within a build, which are the audit's. What a run was selected on is refused
    too, but named alone where that split ``val`` itself is judged.
    """
    judged = [_judged(out, split, split_column) for out in outs]
    found = [leak for predictor in predictors for leak in _of_run(predictor, judged, split)]
    notes = (*_notes(predictors), *_by_others(predictors, judged))
    return Found(leaks=tuple(dict.fromkeys(found)), unknown=tuple(_unknown(predictors)), notes=notes)


def of_planned(planned: Planned, outs: Sequence[str], split: str, split_column: str) -> tuple[str, ...]:
    """What ``find`` would refuse of a run that is not trained yet, in sentences."""
    judged = [_judged(out, split, split_column) for out in outs]
    shared = dict.fromkeys(str(leak) for leak in _of_run(planned, judged, split) if leak.refused)
    return tuple(shared)


def fitting(predictors: Sequence[Predictor], outs: Sequence[str], split_column: str) -> Found:
    """What members were trained on of the val splits that an ensemble is fitted on, or that others were selected on.

    Refused are shared videos and families, and what one of the splits involved promised to keep apart: what the fit of
    a run refuses.
    """
    found = list(choosing(predictors, outs, split_column))
    for one, other in permutations(predictors, 2):
        found += _between(one, other)
    return Found(
        leaks=tuple(dict.fromkeys(found)), unknown=tuple(_unknown(predictors)), notes=tuple(_notes(predictors))
    )


def choosing(predictors: Sequence[Predictor], outs: Sequence[str], split_column: str) -> Iterator[Leak]:
    """What runs were trained on of the val splits that something is chosen on for them, such as a threshold."""
    judged = [_judged(out, "val", split_column) for out in outs] if predictors else []
    for predictor in predictors:
        for one in judged:
            copies = () if one.lineage & _lineage(predictor.datasets) else (COPY,)
            kept_apart = one.promises | _promised(predictor.datasets)
            yield from _of_role(predictor, "trained", one, {*leaks.ALWAYS, *kept_apart, *copies})


def cut_otherwise(predictors: Sequence[Trained], recipes: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """The builds, by name, whose crops are cut otherwise than all those that a run was trained on, in sentences."""
    return [
        sentence
        for predictor in predictors
        for name, recipe in recipes.items()
        for sentence in crops.told(name, recipe, predictor.name, crops.of_runs(predictor.datasets))
    ]


def _judged(out: str, split: str, column: str) -> _Judged:
    build = ids.read(out)
    videos = build.plan.filter(pl.col(column) == split)["video_id"]
    return _Judged(
        name=f"{split} of {out}",
        held=ids.held(build, videos),
        by_authors=crops.by_authors(build.plan),
        promises=leaks.promises(build, column),
        lineage=leaks.lineage(build.description),
    )


def _of_run(run: Trained, judged: Sequence[_Judged], split: str) -> Iterator[Leak]:
    for role in ROLES:
        for one in judged:
            promised = (one.promises | _promised(run.datasets)) & {ESTIMATED}
            copies = () if one.lineage & _lineage(run.datasets) else (COPY,)
            refused = () if role == "selected" and split == "val" else {*leaks.STRICT, *promised, *copies}
            yield from _of_role(run, role, one, refused)


def _of_role(predictor: Trained, role: Role, one: _Judged, refused: Collection[str]) -> Iterator[Leak]:
    for part in predictor.records:
        rows = part.of(role)
        if role == "selected":  # what it was trained on is said already
            rows = rows.join(part.of("trained"), on=["kind", "hash", "of"], how="anti", nulls_equal=True)
        said = _SAID[role].format(predictor.name)
        yield from leaks.find(rows, one.held, judged=one.name, seen=said, refused=refused)


def _between(one: Predictor, other: Predictor) -> Iterator[Leak]:
    """What ``one`` was trained on and ``other`` selected on; the records name no ids, so there is no example."""
    refused = {*leaks.ALWAYS, *_promised(one.datasets), *_promised(other.datasets)}
    for ours, theirs in product(one.records, other.records):
        held = theirs.of("selected").filter(pl.col("kind").is_in(ids.KINDS))
        named = held.with_columns(id=pl.col("hash").cast(pl.String), video_id=pl.lit(""))
        said, judged = _SAID["trained"].format(one.name), f"the val of {other.name}"
        for leak in leaks.find(ours.of("trained"), named, judged=judged, seen=said, refused=refused):
            yield replace(leak, example="")


def _unknown(predictors: Sequence[Predictor]) -> Iterator[str]:
    for predictor in predictors:
        if any(member.trained.seen is None for member in predictor.members):
            yield f"{predictor.name} keeps no record of what it was trained on (trained by an older version)"
        elif predictor.calibrated and predictor.seen is None:
            yield f"{predictor.name} keeps no record of the val that it was fitted on (by an older version)"


def _notes(predictors: Sequence[Predictor]) -> Iterator[str]:
    for predictor in predictors:
        for note in dict.fromkeys(note for part in predictor.records for note in part.notes):
            yield f"{predictor.name}: {note}."


def _by_others(predictors: Sequence[Predictor], judged: Sequence[_Judged]) -> Iterator[str]:
    """Where authors cut the faces of one side and a recipe those of the other: nobody can change it."""
    for predictor in predictors:
        by_authors = {record["by_authors"] for record in predictor.datasets if "by_authors" in record}
        for one in judged:
            if by_authors and one.by_authors not in by_authors:
                cut, other = ("the dataset's authors", "a recipe")[:: 1 if one.by_authors else -1]
                known = f"those that {predictor.name} was trained on"
                yield f"Faces of {one.name} were cut by {cut}, and {known} by {other}."


def _promised(datasets: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(kind for record in datasets for kind in record.get("promises", ()))


def _lineage(datasets: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(name for record in datasets if record["role"] in LEARNED for name in record.get("lineage", ()))
