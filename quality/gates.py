"""Verdicts: which faces are kept, and all reasons for rejecting the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import create_model, model_validator

from semblance.manifests.config import Config
from semblance.manifests.records import Face, Measures, Verdict
from semblance.quality.measures import registry
from semblance.quality.measures.measure import Failure


def _keys() -> dict[str, Any]:
    """Recipe key -> type and default of each gate: confidence, min_face, brightness, ..."""
    kinds: dict[int, Any] = {1: float | None, 2: tuple[float, float] | None}
    return {gate.key: (kinds[len(gate.reasons)], gate.default) for _, gate in registry.GATED}


_Limits: Any = create_model("_Limits", __base__=Config, **_keys())


class GatesConfig(_Limits):  # type: ignore[misc]  # its keys are known at run time
    """Limits of the gates; a gate set to null is off. The defaults are the training plan's.

    ``pairs: together``: a guided face takes its original's verdict, since blur and brightness would
    otherwise select by label; ``own`` judges each alone. ``mode: mark`` stores rejected crops too.
    """

    pairs: Literal["together", "own"] = "together"
    mode: Literal["drop", "mark"] = "drop"

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for _, gate in registry.GATED:
            low, high = gate.bounds(getattr(self, gate.key))
            if low is not None and high is not None and low > high:
                raise ValueError(f"gates.{gate.key} must be (lowest, highest)")
        return self


def judge(face: Face | None, measures: Measures, config: GatesConfig, original: Verdict | None = None) -> Verdict:
    """The verdict on one face; ``original`` is that of the same face in the original video, if guided; ``face``
    is None where a dataset's authors cut it out, so that its box and confidence are unknown.

    Reasons are in the order of the gates (confidence, small, dark, bright, face_ratio, blur), then pair. A null measure
    is never judged. Where ``pair`` is the only reason, value and limit are those of the original's first reason.
    """
    own = list(_failures(face, measures, config))
    if original is not None and config.pairs == "together":
        if original.keep:
            return Verdict()
        reasons = (*(reason for reason, _, _ in own), registry.PAIR)
        measured, limit = own[0][1:] if own else (original.measured, original.limit)
        return Verdict(reasons=reasons, measured=measured, limit=limit)
    if not own:
        return Verdict()
    return Verdict(reasons=tuple(reason for reason, _, _ in own), measured=own[0][1], limit=own[0][2])


def _failures(face: Face | None, measures: Measures, config: GatesConfig) -> Iterator[Failure]:
    for measure, gate in registry.GATED:
        yield from gate.failures(registry.value(measure, face, measures), getattr(config, gate.key))
