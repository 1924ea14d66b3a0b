"""The definition of a measure and its gate: all that other modules need to know about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, Generic, Literal, TypeVar

from semblance.manifests.records import PURE, Measures

View = TypeVar("View")  # what a measure is taken of: a face, a crop, a frame, or a crop beside its original's
Limit = float | tuple[float, float] | None  # of a recipe; None: the gate is off
Failure = tuple[str, float, float]  # reason, measured value, limit

# Where the audits may use a measure:
#   acquisition  how the video was made: if it separates real from fake, the collection has a shortcut
#   face         the face's own pixels: may be evidence of the forgery, so only a baseline
#   framing      where the face lies in its frame: compared between builds, seen by no classifier
#   label        there because of the label or of the pairing: no classifier may see it
#   identity     who or which picture it is: no classifier may see it, and it is not compared between builds
Role = Literal["acquisition", "face", "framing", "label", "identity"]

_UNITS: Final[dict[str, str]] = {field.name: field.metadata["unit"] for field in fields(Measures)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A limit on a measure. ``below`` is the reason of a smaller value, ``above`` of a larger one; with both, the
    limit is the pair (lowest, highest).
    """

    key: str  # in the recipe: gates.<key>
    place: int  # gates are judged in this order, and the first failed one is a row's ``reason``
    default: Limit
    below: str | None = None
    above: str | None = None
    extreme: str  # the kept faces nearest to the limit, as the report heads them

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(reason for reason in (self.below, self.above) if reason is not None)

    def bounds(self, limit: Limit) -> tuple[float | None, float | None]:
        """(lowest, highest) value that passes; None if there is no limit on that end."""
        if limit is None:
            return None, None
        if isinstance(limit, (tuple, list)):
            return limit[0], limit[1]
        return (limit, None) if self.below is not None else (None, limit)

    def failures(self, value: float | None, limit: Limit) -> Iterator[Failure]:
        """The reason with value and limit if ``value`` fails; an unknown value (None) never does."""
        low, high = self.bounds(limit)
        if value is None:
            return
        if self.below is not None and low is not None and value < low:
            yield self.below, value, low
        if self.above is not None and high is not None and value > high:
            yield self.above, value, high


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure(Generic[View]):
    """One number of a face. ``function`` computes it and holds its formula; None is unknown.

    A measure that is recorded is a field of ``manifests.records.Measures``, which gives it its column with type, unit
    and meaning. Other measures are computed from columns by the SQL expression ``sql``.
    """

    name: str
    function: Callable[[View], float | int | None]
    source: str  # of the formula
    role: Role
    title: str | None = None  # of its distribution in the report; None: it is not drawn
    gate: Gate | None = None
    logarithmic: bool = False  # the axis of its distribution
    step: float = 0.01  # width of the bins of a linear axis
    sql: str | None = None  # over the columns of samples and rejects; None: the column of its own name
    derived_unit: str = ""  # of a measure that is not recorded

    @property
    def recorded(self) -> bool:
        """Whether it is a field of ``Measures``."""
        return self.name in _UNITS

    @property
    def unit(self) -> str:
        """The unit of its column; empty for a pure number."""
        unit = _UNITS.get(self.name, self.derived_unit)
        return "" if unit == PURE else unit

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reject reasons of its gate."""
        return () if self.gate is None else self.gate.reasons

    @property
    def expression(self) -> str:
        """The SQL expression that computes it from the columns of samples and rejects."""
        return self.name if self.sql is None else self.sql

    def limits(self, gates: Any) -> tuple[float | None, float | None]:
        """(lowest, highest) value that passes the ``gates`` of a recipe, a mapping; None: no limit."""
        return (None, None) if self.gate is None else self.gate.bounds(gates.get(self.gate.key))
