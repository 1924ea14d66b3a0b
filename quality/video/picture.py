"""A decoded frame as the picture that a player shows: upright, square pixels, true colours, time from 0."""

from __future__ import annotations

from typing import Any

from semblance.manifests.records import Frame
from semblance.quality.video.colour import Converter
from semblance.quality.video.geometry import Geometry, aspect_of, orientation_of
from semblance.quality.video.glances import Glances


class Player:
    """Shows the frames of one opened stream. ``start``: the time of its first shown frame, in the stream's unit;
    ``glances`` keeps what is seen of the frames that are not shown.
    """

    def __init__(self, stream: Any, start: int | None = None, glances: Glances | None = None) -> None:
        self._aspect = aspect_of(stream)
        self._converter = Converter()
        self._glances = glances
        self._laid: Geometry | None = None  # of the first frame
        self.start = start

    def see(self, frame: Any) -> None:
        """Look at a decoded frame, wanted or not, before it is shown."""
        if self._glances is not None:
            if self._laid is None:
                self._laid = self._geometry(frame)
            self._glances.see(frame, self._laid)

    def forget(self) -> None:
        """Drop what was seen: the frame seen last was shown before."""
        if self._glances is not None:
            self._glances.take()

    def upright(self, index: int, frame: Any) -> Frame:
        """The frame with index ``index``; raises VideoError where its colours cannot be converted."""
        glances, cut = self._glances.take() if self._glances is not None else ((), None)
        image = self._geometry(frame).apply(self._converter.rgb(frame))
        return Frame(index=index, time_s=self._time(frame), image=image, glances=glances, cut=cut)

    def _geometry(self, frame: Any) -> Geometry:
        return Geometry(aspect=self._aspect, orientation=orientation_of(frame))

    def _time(self, frame: Any) -> float | None:
        if frame.pts is None or frame.time_base is None:
            return None
        return float((frame.pts - (self.start or 0)) * frame.time_base)
