"""Videos, families, people and recordings that a run was trained on and is now evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from semblance.manifests import build_files, leaks, overlap, scan
from semblance.manifests.errors import SemblanceError
from semblance.training.inference.predictor import Predictor

# what must not be shared, in the words of manifests.leaks; ids are compared within a dataset
_KINDS: Final = {"video": "videos"} | {kind: leaks.WORDS[kind] for kind in ("family", "person", "recording")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """``count`` videos, families, people or recordings of the evaluated split were trained on."""

    kind: str
    count: int
    example: str
    trained: str  # build
    evaluated: str  # build

    def __str__(self) -> str:
        return (
            f"{self.count} {self.kind} of {self.evaluated} (such as {self.example}) were trained on in {self.trained}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Leaks, and the reasons why training builds could not be checked."""

    leaks: tuple[Leak, ...]
    unknown: tuple[str, ...]


def find(predictors: Sequence[Predictor], outs: Sequence[str], split: str, split_column: str) -> Found:
    """Compare the plans of all training builds of the predictors with the evaluated split."""
    found: list[Leak] = []
    unknown = []
    records = [record for predictor in predictors for record in predictor.datasets]
    trained = {(record["out"], record["split_column"]): record for record in records}
    evaluated = {out: _plan(out, split_column, split) for out in outs}
    for (out, column), record in trained.items():
        if record["role"] != "train":
            continue
        try:
            same = build_files.finished(out)["fingerprint"] == record["fingerprint"]
            before = _plan(out, column, "train") if same else None
        except SemblanceError:
            before = None
        if before is None:
            unknown.append(f"{out} no longer has the fingerprint {record['fingerprint'][:12]} of the training build")
            continue
        found += [leak for name, rows in evaluated.items() for leak in _shared(before, rows, out, name)]
    return Found(leaks=tuple(found), unknown=tuple(unknown))


def _plan(out: str, split_column: str, split: str) -> pl.DataFrame:
    return scan(out, "plan").filter(pl.col(split_column) == split).collect()


def _shared(before: pl.DataFrame, now: pl.DataFrame, trained: str, evaluated: str) -> list[Leak]:
    """What two selections of videos share: the law between two plans, one of which trains on what the other tests."""
    both = overlap.crossing(
        overlap.between(before.with_columns(split=pl.lit("train")), now.with_columns(split=pl.lit("test")))
    )
    found = []
    for kind, word in _KINDS.items():
        shared = both.filter(pl.col("kind") == kind)["id"].sort()
        if len(shared):
            found.append(Leak(kind=word, count=len(shared), example=shared[0], trained=trained, evaluated=evaluated))
    return found
