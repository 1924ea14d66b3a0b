"""Verdicts: which faces are kept, and every reason why the others are not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import model_validator

from semblance.manifests.config import Config
from semblance.manifests.records import Face, Measures, Verdict

Failure = tuple[str, float, float]  # reason, measured, limit


class GatesConfig(Config):
    """Limits of the gates; a gate set to null is off. The defaults are the training plan's.

    ``pairs: together``: a guided face takes its original's verdict, since blur and brightness would
    otherwise select by label; ``own`` judges each alone. ``mode: mark`` stores rejected crops too.
    """

    confidence: float | None = 0.95
    min_face: float | None = 80.0  # px, the longer side of the box
    brightness: tuple[float, float] | None = (0.3, 0.9)
    face_ratio: float | None = 0.6
    blur: float | None = 50.0
    pairs: Literal["together", "own"] = "together"
    mode: Literal["drop", "mark"] = "drop"

    @model_validator(mode="after")
    def _brightness_is_a_range(self) -> Self:
        if self.brightness is not None and self.brightness[0] > self.brightness[1]:
            raise ValueError("gates.brightness must be (lowest, highest)")
        return self


def judge(face: Face | None, measures: Measures, config: GatesConfig, original: Verdict | None = None) -> Verdict:
    """The verdict on one face; ``original`` is that of the same face in the original video, if guided; ``face``
    is None where a dataset's authors cut it out, so that its box and confidence are unknown.

    Reasons stand in the order confidence, small, dark, bright, face_ratio, blur, pair. A null measure is
    never judged. Where only ``pair`` speaks, value and limit are those of the original's first reason.
    """
    own = list(_failures(face, measures, config))
    if original is not None and config.pairs == "together":
        if original.keep:
            return Verdict()
        reasons = (*(reason for reason, _, _ in own), "pair")
        measured, limit = own[0][1:] if own else (original.measured, original.limit)
        return Verdict(reasons=reasons, measured=measured, limit=limit)
    if not own:
        return Verdict()
    return Verdict(reasons=tuple(reason for reason, _, _ in own), measured=own[0][1], limit=own[0][2])


def _failures(face: Face | None, measures: Measures, config: GatesConfig) -> Iterator[Failure]:
    low, high = config.brightness if config.brightness is not None else (None, None)
    if face is not None:
        x0, y0, x1, y1 = face.box
        yield from _under("confidence", face.confidence, config.confidence)
        yield from _under("small", max(x1 - x0, y1 - y0), config.min_face)
    yield from _under("dark", measures.brightness, low)
    if measures.brightness is not None and high is not None and measures.brightness > high:
        yield "bright", measures.brightness, high
    yield from _under("face_ratio", measures.face_ratio, config.face_ratio)
    yield from _under("blur", measures.blur, config.blur)


def _under(reason: str, value: float | None, limit: float | None) -> Iterator[Failure]:
    if value is not None and limit is not None and value < limit:
        yield reason, value, limit
