"""Limits for one video: seconds that grow with its work, memory, and the size that a file may declare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from semblance.manifests.config import Config
from semblance.quality.video import Bounds

BASE: Final = 300.0  # CPU seconds of a job that is not large: some hundred times those of a clip of ten seconds
MOST: Final = 288.0  # times that a limit grows at most, since a hostile file may claim any size: to a day of CPU
_SLOWEST: Final = 1e6  # bytes per second at which a file is read, in wall time


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How large a job is: ``seconds`` of CPU that it needs on a slow machine, and ``bytes`` to read."""

    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What a job of a known size may use: seconds of CPU and wall time, resident MiB."""

    cpu_seconds: float
    wall_seconds: float
    memory_mib: float


class LimitsConfig(Config):
    """The largest video that is accepted, and the resources that it may use.

    A video is stopped when it exceeds its CPU seconds, wall-clock seconds or resident memory in MiB. The seconds are
    those of a short video; a longer or larger one gets more, in proportion to its frames and pixels (``allowed``).
    ``megapixels`` per frame, ``frames`` and ``hours`` limit what the file declares or contains: a larger one is refused
    before any frame is decoded (8K has 33 megapixels). A child process that uses ``growth_mib`` more than after its
    first video is replaced, since its decoder leaks memory.

    Limits decide which videos fail, and nothing about those that do not: they are no part of a build's fingerprint.
    """

    cpu_seconds: float = Field(default=BASE, gt=0)
    wall_seconds: float = Field(default=1800.0, gt=0)
    memory_mib: int = Field(default=6144, ge=512)
    growth_mib: int = Field(default=1024, ge=1)
    megapixels: float = Field(default=80.0, gt=0)
    frames: int = Field(default=5_000_000, ge=1)
    hours: float = Field(default=24.0, gt=0)

    @property
    def bounds(self) -> Bounds:
        """The limits that a file is probed with."""
        return Bounds(pixels=int(self.megapixels * 1e6), frames=self.frames, seconds=self.hours * 3600)

    def allowed(self, work: Work) -> Allowed:
        """What a job may use: under the default limits at least ``work.seconds`` of CPU, in any case at most ``MOST``
        times the configured seconds.

        >>> LimitsConfig().allowed(Work(seconds=20)).cpu_seconds
        300.0
        >>> LimitsConfig(cpu_seconds=600).allowed(Work(seconds=3000)).cpu_seconds
        6000.0
        """
        grown = _between(work.seconds / BASE)
        reading = work.bytes / _SLOWEST / self.wall_seconds
        return Allowed(
            cpu_seconds=self.cpu_seconds * grown,
            wall_seconds=self.wall_seconds * _between(max(grown, reading)),
            memory_mib=self.memory_mib,
        )

    def remedy(self, key: str) -> str:
        """The options that raise the limit ``key`` and process again what it has ended."""
        times = 2 if key == "memory_mib" else 4
        value = max(times * getattr(self, key), LimitsConfig.model_fields[key].default)
        return f"--set limits.{key}={value:.12g} --retry failed"


def _between(times: float) -> float:
    return min(max(times, 1.0), MOST)
