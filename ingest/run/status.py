"""How far a build is, told from its receipts alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from semblance.manifests import storage, tables
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import FAILURES
from semblance.shards.layout import Receipt, key_of, read_receipt
from semblance.shards.lock import Owner, owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Counts of a build: shards and videos planned and done, statuses of the done ones; ``owner``: of the lock."""

    out: str
    shards: int
    shards_done: int
    videos: int
    videos_done: int
    samples: int
    statuses: Counter[str]
    finished: bool
    owner: Owner | None

    def lines(self) -> Iterator[str]:
        """What a person wants to know."""
        state = "finished" if self.finished else "not finished"
        yield f"{self.out}: {state}{_told(self.owner) if self.owner else ''}"
        videos = f"{self.videos_done} of {self.videos} videos"
        yield f"done    {self.shards_done} of {self.shards} shards, {videos}, {self.samples} samples"
        failed = {name: count for name, count in sorted(self.statuses.items()) if name in FAILURES}
        listed = ", ".join(f"{name} {count}" for name, count in failed.items())
        yield f"failed  {sum(failed.values())} videos{f' ({listed})' if listed else ''}"
        yield f"left    {self.shards - self.shards_done} shards, {self.videos - self.videos_done} videos"
        if not self.finished and (self.owner is None or not self.owner.lives):
            yield "run the same `ingest build` again to go on"


def read(out: str) -> Status:
    """The status of the build at ``out``; raises SemblanceError where there is none."""
    try:
        plan = tables.read_rows(storage.join(out, "plan.parquet"))
    except FileNotFoundError as error:
        raise SemblanceError(f"{out} holds no build (no plan.parquet); name the --out of an `ingest build`.") from error
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
    )


def _told(by: Owner) -> str:
    if by.lives is None:
        return f"; {by.who} was building it at {by.written}"
    return f"; {by.who} is building it" if by.lives else f"; {by.who} was building it and died"


def _receipt(out: str, shard: str) -> Receipt | None:
    try:
        return read_receipt(out, key_of(shard))
    except ValueError:
        return None
