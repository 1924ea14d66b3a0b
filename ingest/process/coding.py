"""What the decoded frames tell of how a video was encoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from semblance.manifests.records import Frame, Properties


@dataclass(slots=True)
class CodingNotes:
    """Notes on the frames of one video; of frames that come again, the last stays."""

    _interlaced: bool | None = None
    _qp: dict[int, tuple[float, float]] = field(default_factory=dict)

    def noting(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield ``frames`` unchanged."""
        for frame in frames:
            if frame.interlaced is not None:
                self._interlaced = bool(self._interlaced or frame.interlaced)
            if frame.qp_mean is not None and frame.qp_spread is not None:
                self._qp[frame.index] = (frame.qp_mean, frame.qp_spread)
            yield frame

    def added_to(self, properties: Properties) -> Properties:
        """``properties`` with what the frames showed beyond the first one: interlacing, and the quantiser's mean and
        standard deviation over all blocks of all noted frames.
        """
        if self._interlaced:
            properties = replace(properties, interlaced=True)
        if not self._qp:
            return properties
        means, spreads = np.array([self._qp[index] for index in sorted(self._qp)]).T
        spread = float(np.sqrt(np.mean(spreads**2) + means.var()))
        return replace(properties, qp_mean=float(means.mean()), qp_spread=spread)
