"""What a video may cost: seconds, memory, and the size that a file may claim."""

from __future__ import annotations

from pydantic import Field

from semblance.manifests.config import Config
from semblance.quality.video import Bounds


class LimitsConfig(Config):
    """What one video may be and cost.

    CPU seconds, wall seconds and resident memory in MiB end its work where they are passed. ``megapixels`` a frame,
    ``frames`` and ``hours`` are what the file may claim or have: more is refused before a frame is decoded (8K has
    33 megapixels). A child that holds ``growth_mib`` more than after its first video is replaced by a new one, since
    its decoder leaks.
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
        """What a file may claim to be."""
        return Bounds(pixels=int(self.megapixels * 1e6), frames=self.frames, seconds=self.hours * 3600)

    def times(self, n: float) -> LimitsConfig:
        """``n`` times the seconds, the same memory."""
        return self.model_copy(update={"cpu_seconds": self.cpu_seconds * n, "wall_seconds": self.wall_seconds * n})
