"""Limits for one video: seconds, memory, and the size that a file may declare."""

from __future__ import annotations

from pydantic import Field

from semblance.manifests.config import Config
from semblance.quality.video import Bounds


class LimitsConfig(Config):
    """The largest video that is accepted, and the resources that it may use.

    A video is stopped when it exceeds its CPU seconds, wall-clock seconds or resident memory in MiB. ``megapixels``
    per frame, ``frames`` and ``hours`` limit what the file declares or contains: a larger one is refused before any
    frame is decoded (8K has 33 megapixels). A child process that uses ``growth_mib`` more than after its first video
    is replaced, since its decoder leaks memory.
    """

    cpu_seconds: float = Field(default=900.0, gt=0)
    wall_seconds: float = Field(default=3600.0, gt=0)
    memory_mib: int = Field(default=6144, ge=512)
    growth_mib: int = Field(default=1024, ge=1)
    megapixels: float = Field(default=80.0, gt=0)
    frames: int = Field(default=5_000_000, ge=1)
    hours: float = Field(default=24.0, gt=0)

    @property
    def bounds(self) -> Bounds:
        """The limits that a file is probed with."""
        return Bounds(pixels=int(self.megapixels * 1e6), frames=self.frames, seconds=self.hours * 3600)

    def times(self, n: float) -> LimitsConfig:
        """These limits with ``n`` times the seconds and the same memory."""
        return self.model_copy(update={"cpu_seconds": self.cpu_seconds * n, "wall_seconds": self.wall_seconds * n})
