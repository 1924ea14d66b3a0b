"""Time spent in the steps of one video, for the ``seconds_*`` columns."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Clock:
    """Seconds spent in the steps of one video."""

    started: float = field(default_factory=time.perf_counter)
    decode: float = 0.0
    detect: float = 0.0

    def decoding(self, items: Iterable[T]) -> Iterator[T]:
        """Yield ``items`` unchanged; the time spent waiting for each counts as decoding."""
        iterator = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.decode += time.perf_counter() - start
            yield item

    def row(self) -> dict[str, float]:
        """The ``seconds_*`` columns of the videos table."""
        return {
            "seconds_decode": self.decode,
            "seconds_detect": self.detect,
            "seconds_total": time.perf_counter() - self.started,
        }
