"""What the events say so far: figures of both versions, how sure they are, and what makes them doubtful."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from semblance.training.rollout import history, sequential
from semblance.training.rollout.history import History
from semblance.training.rollout.plan import Outcome, RolloutConfig

ALARM: Final = 0.01  # probability of a false alarm of each check of the draw
_OUTCOMES: Final[tuple[Outcome, ...]] = ("accuracy", "latency", "satisfaction", "errors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """Subjects with a known outcome, and their mean outcome; not a number for none."""

    champion: int
    challenger: int
    champion_mean: float
    challenger_mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One outcome.

    ``effect``: challenger minus champion, with its interval ``low`` to ``high`` (each end at the plan's alpha, at any
    look). ``shown``: log of the evidence for the goal, now. ``harm`` and ``floor``: the highest log of the evidence so
    far that the challenger is worse than the guardrail allows, or below its floor. None: not asked for.
    """

    arms: Arms
    effect: float
    low: float
    high: float
    shown: float | None
    harm: float | None
    floor: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The whole. ``step_requests``: of the challenger since the step began. ``alarms``: why figures are doubtful."""

    figures: Mapping[Outcome, Figure]
    champion: int  # subjects, by their first request
    challenger: int
    requests: int
    step_requests: int
    unknown: int  # feedback for ids that no request has
    alarms: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON takes it; what is not a number is null."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)), parse_constant=lambda _: None)
        return values


def weigh(past: History, plan: RolloutConfig, step_since: datetime) -> Evidence:
    """The evidence of a history."""
    known: dict[Outcome, pl.DataFrame] = {name: history.outcomes(past, name, plan) for name in _OUTCOMES}
    first = history.subjects(past)
    return Evidence(
        figures={name: _figure(name, rows, plan) for name, rows in known.items()},
        champion=first.filter(pl.col("arm") == 0).height,
        challenger=first.filter(pl.col("arm") == 1).height,
        requests=past.requests.height,
        step_requests=history.challenger_requests(past, step_since),
        unknown=past.unknown,
        alarms=tuple(
            alarm
            for what, rows in (
                ("subjects", first),
                ("subjects with a label", known["accuracy"]),
                ("subjects who said whether they were satisfied", known["satisfaction"]),
            )
            if (alarm := _alarm(what, rows)) is not None
        ),
    )


def _figure(name: Outcome, rows: pl.DataFrame, plan: RolloutConfig) -> Figure:
    drawn = _drawn(rows)
    share, value = drawn["share"].to_numpy(), drawn["outcome"].to_numpy()
    terms = sequential.compared(drawn["arm"].to_numpy(), share, value)
    sums = sequential.Sums.of(terms)
    low, high = sums.interval(plan.alpha)
    goal, margin = plan.goals.asked().get(name), plan.guardrails.watched().get(name)
    return Figure(
        arms=_arms(rows),
        effect=sums.effect,
        low=low,
        high=high,
        shown=None if goal is None else sums.evidence(goal.least, "above"),
        harm=None if margin is None else _highest(terms, -margin),
        floor=_below(rows, plan.floors.watched().get(name)),
    )


def _below(rows: pl.DataFrame, floor: float | None) -> float | None:
    """Of the challenger alone."""
    if floor is None:
        return None
    values = rows.filter(pl.col("arm") == 1)["outcome"].to_numpy()
    return _highest(sequential.against(values, floor), 0.0)


def _highest(terms: sequential.Terms, effect: float) -> float:
    """Of all looks: what was once shown stays so, however rarely one looks."""
    return float(sequential.evidence(terms, effect, "below").max(initial=0.0))


def _arms(rows: pl.DataFrame) -> Arms:
    def one(arm: int) -> tuple[int, float]:
        values = rows.filter(pl.col("arm") == arm)["outcome"]
        return len(values), math.nan if values.is_empty() else float(values.mean())  # type: ignore[arg-type]

    (champion, champion_mean), (challenger, challenger_mean) = one(0), one(1)
    return Arms(champion=champion, challenger=challenger, champion_mean=champion_mean, challenger_mean=challenger_mean)


def _drawn(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows whose arm was a draw at all: not those of ``blue_green``."""
    return rows.filter(pl.col("share").is_between(0, 1, closed="none"))


def _alarm(what: str, rows: pl.DataFrame) -> str | None:
    """A sample-ratio mismatch, sequentially and at any share: the arms are not in the ratio that they were drawn in.

    Of subjects with an outcome, it also shows outcomes that come more often, or sooner, for one arm.
    """
    drawn = _drawn(rows)
    terms = sequential.drawn(drawn["arm"].to_numpy(), drawn["share"].to_numpy())
    strongest = max(
        float(sequential.evidence(terms, 0.0, direction).max(initial=0.0)) for direction in ("above", "below")
    )
    if strongest < -math.log(ALARM / 2):
        return None
    expected = float(drawn["share"].mean())  # type: ignore[arg-type]
    found = float(drawn["arm"].mean())  # type: ignore[arg-type]
    return (
        f"The challenger has {found:.1%} of the {what} where {expected:.1%} were drawn, which is no chance "
        f"(probability below {ALARM:g}): the arms cannot be compared before the reason is found."
    )
