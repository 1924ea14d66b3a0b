"""How far an epoch is, and how long it will take: a line now and then, on a terminal and on a pipe alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from lightning.pytorch import Callback, Trainer

from semblance.training.loop.module import DetectorModule

FIRST: Final = 10.0  # seconds from the start of an epoch to its first line
MOST: Final = 300.0  # seconds between two lines; they double from FIRST


class EpochProgress(Callback):
    """Says on rank 0 how many steps of an epoch are done, their rate, and when epoch and run will end.

    The first line comes after ten seconds, the next ones after ever longer times, up to five minutes; a short epoch has
    none. ``say`` prints a line. ``clock`` returns seconds.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._started = self._due = self._wait = 0.0
        self._last = 0.0  # seconds of the epoch before, validation included

    def on_train_epoch_start(self, trainer: Trainer, module: DetectorModule) -> None:  # type: ignore[override]
        del trainer, module
        now = self._clock()
        if self._started:
            self._last = now - self._started
        self._started, self._wait = now, FIRST
        self._due = now + FIRST

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, module: DetectorModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        del outputs, batch
        now = self._clock()
        if now < self._due or not trainer.is_global_zero:
            return
        self._wait = min(self._wait * 2, MOST)
        self._due = now + self._wait
        done, batches = batch_idx + 1, int(trainer.num_training_batches)
        spent = now - self._started
        left = spent / done * (batches - done)
        epoch, epochs = trainer.current_epoch, module.recipe.epochs
        whole = max(self._last, spent + left)
        total = whole - spent + whole * (epochs - epoch - 1)
        rate = done * module.recipe.data.batch_size / spent
        self._say(
            f"epoch {epoch + 1} of {epochs}: batch {done:,} of {batches:,}, {_rate(rate)} units/s; "
            f"about {duration(left)} to the end of this epoch, {duration(total)} to that of the run"
        )


def _rate(units: float) -> str:
    return f"{units:.0f}" if units >= 10 else f"{units:.2g}"


def duration(seconds: float) -> str:
    """Seconds in the units that a person would use.

    >>> [duration(seconds) for seconds in (4.4, 200, 4000, 200000)]
    ['4 s', '3 min', '67 min', '2 d 7 h']
    """
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
