"""Progress of a build: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from semblance.ingest.run.tasks import BuildCounts, VideoDone
from semblance.shards.layout import Receipt

_EVERY: Final = 10.0  # seconds between two plain lines


class Watcher:
    """An ``Observer`` that prints; use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._counts = BuildCounts()
        self._started = self._printed = time.monotonic()
        self._videos = self._done = self._shards = self._sealed = 0
        self._bar = Progress(
            TextColumn("[progress.description]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("videos", total=None, rates="")

    def __enter__(self) -> Watcher:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def started(self, videos: int, done: int, shards: int) -> None:
        self._videos, self._done, self._shards = videos, done, shards
        self._started = time.monotonic()
        self._bar.update(self._task, total=videos, completed=done)
        if not self._console.is_terminal:
            already = f", {done} already done" if done else ""
            self._console.print(f"building {videos} videos{already}; {shards} shards to write", highlight=False)

    def video(self, done: VideoDone) -> None:
        self._counts += done.tally
        self._show(last=self._done + self._counts.videos == self._videos)

    def sealed(self, receipt: Receipt) -> None:
        self._sealed += 1
        if not self._console.is_terminal:
            empty = "" if receipt.shard else " (no face was kept, so no tar is written)"
            self._console.print(
                f"sealed {receipt.key}: {receipt.samples} samples{empty}; {self._sealed} of {self._shards} shards",
                highlight=False,
            )

    def _show(self, *, last: bool) -> None:
        if self._console.is_terminal:
            self._bar.update(self._task, completed=self._done + self._counts.videos, rates=self._rates())
            return
        now = time.monotonic()
        if last or now - self._printed >= _EVERY:
            self._printed = now
            done = self._done + self._counts.videos
            remaining = self._videos - done
            seconds = (now - self._started) / max(self._counts.videos, 1) * remaining
            self._console.print(
                f"{done} of {self._videos} videos, {self._rates()}, ETA {seconds:.0f} s", highlight=False
            )

    def _rates(self) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        counts = self._counts
        failed = f", failed {counts.failures}" if counts.failures else ""
        return (
            f"{counts.videos / seconds:.2f} videos/s, {counts.faces / seconds:.1f} faces/s, "
            f"kept {counts.kept}, rejected {counts.rejected}{failed}"
        )
