"""Progress of a build, read from its receipts, and what it has lost so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from semblance.manifests import storage, tables
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import FAILURES
from semblance.quality.checks import shares
from semblance.quality.checks.shares import Shares
from semblance.shards.layout import Receipt, key_of, read_receipt
from semblance.shards.lock import Owner, owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Counts of planned and completed shards and videos, with the statuses of completed videos.

    ``owner`` is the process that holds the lock; None if nobody does. ``shares``: what is lost in the shards whose rows
    are written; None if a table cannot be read.
    """

    out: str
    shards: int
    shards_done: int
    videos: int
    videos_done: int
    samples: int
    statuses: Counter[str]
    finished: bool
    owner: Owner | None
    shares: Shares | None

    def lines(self) -> Iterator[str]:
        """Lines for the terminal."""
        state = "finished" if self.finished else "not finished"
        yield f"{self.out}: {state}{_builder(self.owner) if self.owner else ''}"
        videos = f"{self.videos_done} of {self.videos} videos"
        yield f"done    {self.shards_done} of {self.shards} shards, {videos}, {self.samples} samples"
        failed = {name: count for name, count in sorted(self.statuses.items()) if name in FAILURES}
        listed = ", ".join(f"{name} {count}" for name, count in failed.items())
        yield f"failed  {sum(failed.values())} videos{f' ({listed})' if listed else ''}"
        yield f"left    {self.shards - self.shards_done} shards, {self.videos - self.videos_done} videos"
        yield from self._lost()
        if not self.finished and (self.owner is None or not self.owner.lives):
            yield "run the same `ingest build` again to resume"

    def _lost(self) -> Iterator[str]:
        """What is lost before training."""
        if self.shares is None:
            yield f"a table is damaged, so losses are not counted; `shards verify {self.out}` names it"
            return
        yield from self.shares.lines()
        yield from (f"warning: {sentence}" for sentence in self.shares.warnings(self.out))
        if self.finished:
            yield from self.shares.missing()


def read(out: str) -> Status:
    """The status of the build at ``out``; raises SemblanceError if there is none."""
    try:
        plan = tables.read_rows(storage.join(out, "plan.parquet"))
    except FileNotFoundError as error:
        raise SemblanceError(
            f"{out} is not a build (no plan.parquet); pass the folder that `ingest build` wrote."
        ) from error
    planned = Counter(row["shard"] for row in plan)
    receipts = [receipt for shard in planned if (receipt := _receipt(out, shard)) is not None]
    return Status(
        out=out,
        shards=len(planned),
        shards_done=len(receipts),
        videos=len(plan),
        videos_done=sum(receipt.videos for receipt in receipts),
        samples=sum(receipt.samples for receipt in receipts),
        statuses=sum((Counter(receipt.statuses) for receipt in receipts), Counter()),
        finished=storage.exists(storage.join(out, "dataset.json")),
        owner=owner(out),
        shares=_shares(out),
    )


def _builder(owner: Owner) -> str:
    if owner.lives is None:
        return f"; {owner.who} was building it at {owner.written}"
    return f"; {owner.who} is building it" if owner.lives else f"; {owner.who} was building it and died"


def _shares(out: str) -> Shares | None:
    try:
        return shares.measure(out)
    except (OSError, pl.exceptions.PolarsError):  # the rest of a damaged build is still counted
        return None


def _receipt(out: str, shard: str) -> Receipt | None:
    try:
        return read_receipt(out, key_of(shard))
    except ValueError:
        return None
