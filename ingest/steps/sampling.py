"""Which frames of a video are wanted, and their decoding: the first step of a video's way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Literal, Self

from pydantic import Field, model_validator

from semblance.manifests.config import Config
from semblance.manifests.records import Frame
from semblance.quality import video


class SamplingConfig(Config):
    """Which frames are wanted.

    ``even``: ``n`` spread over the whole length. ``first``: the first ``n``. ``every``: each ``k``-th.
    ``fps``: ``fps`` frames a second of video time. ``clips``: ``clips`` runs of ``length`` frames, ``stride``
    apart, the runs spread over the whole length. ``list``: the indices that the table at path ``table``
    (CSV or Parquet with columns ``video_id`` and ``frame_index``) names.
    """

    mode: Literal["even", "first", "every", "fps", "clips", "list"] = "even"
    n: int = Field(default=32, ge=1)
    k: int = Field(default=10, ge=1)
    fps: float = Field(default=1.0, gt=0)
    clips: int = Field(default=4, ge=1)
    length: int = Field(default=8, ge=1)
    stride: int = Field(default=1, ge=1)
    table: str | None = None

    @model_validator(mode="after")
    def _list_has_table(self) -> Self:
        if (self.mode == "list") != (self.table is not None):
            raise ValueError("sampling.table goes with sampling.mode=list, and the other way round")
        return self

    def expected(self, frames: int = 300, fps: float = 30.0) -> int:
        """How many frames a video of ``frames`` gives: for the plan's size estimate."""
        return self.n if self.mode == "list" else len(wanted(frames, fps, self))


class DecodeConfig(Config):
    """Which decoder is asked first (the other one is the fallback), and what it may leave out for speed.

    ``skip``: ``none``, every wanted frame exactly; in H.264, frames that are neither wanted nor needed by another are
    not decoded. ``nonref``: nor are wanted ones that no other needs, ``nonkey``: key frames alone are; then the frame
    nearest in time stands in for each wanted one, and a video gives fewer where one is nearest to several. Fakes that
    their original guides give every wanted frame all the same, since each needs its partner: set ``guide.use`` to
    false for the full gain. decord decodes all.
    """

    decoder: video.DecoderName = video.DEFAULT_DECODER
    skip: video.Skip = "none"


def wanted(total: int, fps: float | None, config: SamplingConfig, listed: Sequence[int] = ()) -> list[int]:
    """Sorted frame indices in ``[0, total)``; a short video gives what it has.

    ``fps`` is the video's own rate; unknown, it counts as 30.
    """
    match config.mode:
        case "even":
            return spread(total, config.n)
        case "first":
            return list(range(min(config.n, total)))
        case "every":
            return list(range(0, total, config.k))
        case "fps":
            return at_rate(total, fps or 30.0, config.fps)
        case "clips":
            return runs(total, config.clips, config.length, config.stride)
        case "list":
            return sorted({index for index in listed if 0 <= index < total})


def spread(total: int, n: int) -> list[int]:
    """``min(n, total)`` different indices: the middles of as many equal parts of ``[0, total)``."""
    n = min(n, total)
    return [(2 * i + 1) * total // (2 * n) for i in range(n)]


def at_rate(total: int, fps: float, rate: float) -> list[int]:
    """The frame nearest to each multiple of ``1 / rate`` seconds; every frame where ``rate >= fps``."""
    step = max(Fraction(fps) / Fraction(rate), Fraction(1))
    count = int((total - 1) / step) + 1 if total > 0 else 0
    return sorted({min(round(i * step), total - 1) for i in range(count)})


def runs(total: int, clips: int, length: int, stride: int) -> list[int]:
    """Runs of ``length`` frames ``stride`` apart, their starts spread evenly; runs may overlap.

    A video shorter than one run gives the part of it that it has.
    """
    span = (length - 1) * stride + 1
    starts = spread(max(total - span + 1, min(total, 1)), clips)
    return sorted({index for start in starts for index in range(start, start + span, stride) if index < total})


def decode(path: str, indices: Sequence[int], decoder: video.DecoderName, skip: video.Skip = "none") -> Iterator[Frame]:
    """The frames with these indices, in order, upright; those that cannot be decoded are left out.

    With ``skip``, those nearest to them that the codec need not leave out.
    """
    return video.frames(path, indices, decoder=decoder, skip=skip)
