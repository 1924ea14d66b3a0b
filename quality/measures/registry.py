"""Every measure, listed once: gates, recipe keys, reject reasons, the report and the audits follow from this list.

A new measure is a field of ``manifests.records.Measures`` (its column) and an entry in ``faces``, ``crops``, ``frames``
or ``pairs`` (its function, gate, title and role); nothing else has to change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from semblance.manifests.records import Face, Measures
from semblance.quality.measures import crops, faces, frames, pairs
from semblance.quality.measures.measure import Gate, Measure, Role

ALL: Final[tuple[Measure[Any], ...]] = (*faces.MEASURES, *crops.MEASURES, *frames.MEASURES, *pairs.MEASURES)
PAIR: Final = "pair"  # the reject reason of a guided face whose original's was rejected
_PAIRS_KEY: Final = "gates.pairs"


def _gated() -> Iterator[tuple[Measure[Any], Gate]]:
    for measure in ALL:
        if measure.gate is not None:
            yield measure, measure.gate


GATED: Final = tuple(sorted(_gated(), key=lambda both: both[1].place))  # in the order of judgement
DRAWN: Final = tuple(measure for measure in ALL if measure.title is not None)  # distributions of the report
COMPARED: Final = tuple(measure.name for measure in ALL if measure.role != "identity" and measure.sql is None)
_KEYS: Final = {reason: f"gates.{gate.key}" for _, gate in GATED for reason in gate.reasons} | {
    PAIR: _PAIRS_KEY,
    "doubtful": "track.sure",
}


def with_role(*roles: Role) -> tuple[str, ...]:
    """Names of the measures with one of these roles that are columns."""
    return tuple(measure.name for measure in ALL if measure.role in roles and measure.sql is None)


def recipe_key(reason: str | None) -> str | None:
    """The recipe's dotted key of the gate that rejects by ``reason``; None if no gate does."""
    return None if reason is None else _KEYS.get(reason)


def value(measure: Measure[Any], face: Face | None, measures: Measures) -> float | None:
    """The value of a measure of one face; None if unknown."""
    if measure.recorded:
        known: float | None = getattr(measures, measure.name)
        return known
    return None if face is None else measure.function(face)
