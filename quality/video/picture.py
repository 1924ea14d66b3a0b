"""A decoded frame as the picture that a player shows: upright, square pixels, true colours, time from 0."""

from __future__ import annotations

from typing import Any

from semblance.manifests.records import Frame
from semblance.quality.video.colour import Converter
from semblance.quality.video.geometry import Geometry, aspect_of, orientation_of


class Player:
    """Shows the frames of one opened stream. ``start``: the time of its first shown frame, in the stream's unit."""

    def __init__(self, stream: Any, start: int | None = None) -> None:
        self._aspect = aspect_of(stream)
        self._converter = Converter()
        self.start = start

    def upright(self, index: int, frame: Any) -> Frame:
        """The frame with index ``index``; raises VideoError where its colours cannot be converted."""
        geometry = Geometry(aspect=self._aspect, orientation=orientation_of(frame))
        return Frame(index=index, time_s=self._time(frame), image=geometry.apply(self._converter.rgb(frame)))

    def _time(self, frame: Any) -> float | None:
        if frame.pts is None or frame.time_base is None:
            return None
        return float((frame.pts - (self.start or 0)) * frame.time_base)
