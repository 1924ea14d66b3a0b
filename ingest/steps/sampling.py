"""Which frames of a video are sampled: pure functions of its length and frame rate."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, Self

from pydantic import Field, model_validator

from semblance.manifests.config import Config
from semblance.quality import video


class SamplingConfig(Config):
    """Which frames are sampled.

    ``even``: ``n`` frames spread over the whole length. ``first``: the first ``n``. ``every``: each ``k``-th.
    ``fps``: ``fps`` frames per second of video time. ``clips``: ``clips`` clips of ``length`` frames, ``stride``
    frames apart, spread over the whole length. ``list``: the indices in the table at path ``table``, a CSV or
    Parquet file with columns ``video_id`` and ``frame_index``.
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
            raise ValueError("sampling.table and sampling.mode=list need each other")
        return self

    def expected(self, frames: int = 300, fps: float = 30.0) -> int:
        """The number of frames sampled from a typical video, for the plan's estimate of shard sizes."""
        return self.n if self.mode == "list" else len(wanted(frames, fps, self))


class DecodeConfig(Config):
    """Which decoder is tried first (the other one is the fallback), which frames it may skip for speed, and how HDR and
    interlaced videos become pictures.

    ``skip``: with ``none``, every wanted frame is decoded exactly; in H.264, frames that are neither wanted nor
    referenced are skipped. ``nonref`` also skips wanted frames that no other frame references, and ``nonkey`` decodes
    key frames only. Each wanted frame is then replaced by the nearest decoded one, so a video may yield fewer frames.
    Guided fakes still decode every wanted frame, since each needs its partner: set ``guide.use`` to false for the full
    gain in speed. decord decodes every frame.

    ``hdr``: ``tonemap`` converts PQ and HLG to SDR: light up to 0.8 of diffuse white (203 nits) keeps its exact colour,
    highlights up to 1000 nits are compressed above. ``refuse`` leaves such videos out, with the status hdr.
    ``deinterlace``: whether the missing lines of interlaced frames are computed (ffmpeg's bwdif), so that moving faces
    have no combs; the number of frames stays. It needs every frame, so it excludes ``skip``.
    """

    decoder: video.DecoderName = video.DEFAULT_DECODER
    skip: video.Skip = "none"
    hdr: Literal["tonemap", "refuse"] = "tonemap"
    deinterlace: bool = False

    @model_validator(mode="after")
    def _deinterlace_needs_neighbours(self) -> Self:
        if self.deinterlace and self.skip != "none":
            raise ValueError("decode.deinterlace=true needs decode.skip=none")
        return self


def wanted(total: int, fps: float | None, config: SamplingConfig, listed: Sequence[int] = ()) -> list[int]:
    """Sorted frame indices in ``[0, total)``, fewer where the video is too short.

    ``fps`` is the frame rate of the video; 30 is assumed where it is unknown. ``listed``: the indices of mode ``list``.
    """
    match config.mode:
        case "even":
            return evenly(total, config.n)
        case "first":
            return list(range(min(config.n, total)))
        case "every":
            return list(range(0, total, config.k))
        case "fps":
            return at_rate(total, fps or 30.0, config.fps)
        case "clips":
            return clip_frames(total, config.clips, config.length, config.stride)
        case "list":
            return sorted({index for index in listed if 0 <= index < total})


def evenly(total: int, n: int) -> list[int]:
    """``min(n, total)`` distinct indices: the midpoints of that many equal parts of ``[0, total)``.

    >>> evenly(10, 4)
    [1, 3, 6, 8]
    >>> evenly(3, 8)
    [0, 1, 2]
    """
    n = min(n, total)
    return [(2 * i + 1) * total // (2 * n) for i in range(n)]


def at_rate(total: int, fps: float, rate: float) -> list[int]:
    """The frame nearest to each multiple of ``1 / rate`` seconds; every frame if ``rate >= fps``.

    >>> at_rate(total=100, fps=25.0, rate=1.0)
    [0, 25, 50, 75]
    """
    step = max(Fraction(fps) / Fraction(rate), Fraction(1))
    count = int((total - 1) / step) + 1 if total > 0 else 0
    return sorted({min(round(i * step), total - 1) for i in range(count)})


def clip_frames(total: int, clips: int, length: int, stride: int) -> list[int]:
    """Clips of ``length`` frames, ``stride`` frames apart, with evenly spread starts; clips may overlap.

    A video that is shorter than one clip yields the start of that clip.

    >>> clip_frames(total=20, clips=2, length=3, stride=2)
    [4, 6, 8, 12, 14, 16]
    """
    span = (length - 1) * stride + 1
    starts = evenly(max(total - span + 1, min(total, 1)), clips)
    return sorted({index for start in starts for index in range(start, start + span, stride) if index < total})
