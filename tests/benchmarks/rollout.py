"""How often roll-outs err, and how soon they see: ``python -m tests.benchmarks.rollout`` writes ``ROLLOUT.md``.

Some eight minutes of one core. Every run has its own seed, so that the table can be made again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

from scipy import stats

from semblance.training.rollout import simulate
from semblance.training.rollout.plan import RolloutConfig
from semblance.training.rollout.simulate import Run, Traffic

TABLE = Path(__file__).with_name("ROLLOUT.md")
NULL_RUNS: Final = 10_000
NULL_PER_DAY: Final = 250
POWER_RUNS: Final = 500
NO_GUARDRAILS: Final = {"accuracy": None, "latency": None, "satisfaction": None, "errors": None}
ACCURACY: Final[dict[str, Any]] = {
    "goals": {"accuracy": {"want": "superior"}, "latency": None},
    "guardrails": NO_GUARDRAILS | {"accuracy": 0.0},
}
NOT_WORSE: Final = ACCURACY | {"goals": {"accuracy": {"margin": 0.02}, "latency": None}}
LATENCY: Final = {
    "goals": {"accuracy": None, "latency": {"margin": 0.05}},
    "guardrails": NO_GUARDRAILS | {"latency": 0.0},
}
STEPS: Final = tuple({"share": share, "hours": 48, "requests": 20} for share in (0.01, 0.05, 0.1, 0.25, 0.5))
CANARY: Final = ACCURACY | {"mode": "canary", "steps": STEPS}
HALF: Final = ACCURACY | {"share": 0.5}
DRIFT: Final = {"accuracy": 0.95, "drift": 0.15}
NULLS: Final[tuple[tuple[str, dict[str, Any], dict[str, Any]], ...]] = (
    ("90/10, labels at once", ACCURACY, {"delay_days": 0}),
    ("90/10, labels 3 days late on average", ACCURACY, {"delay_days": 3}),
    ("90/10, both get worse together, from 95 % to 80 %", ACCURACY, {"delay_days": 0, **DRIFT}),
    ("canary from 1 % to 50 %", CANARY, {"delay_days": 0}),
    ("canary, labels late, both get worse", CANARY, {"delay_days": 3, **DRIFT}),
    ("50/50, labels at once", HALF, {"delay_days": 0}),
    ("90/10, 2 points worse, and the goal is not to be more than that", NOT_WORSE, {"effect": -0.02}),
)
POWERS: Final[tuple[tuple[str, dict[str, Any], dict[str, Any]], ...]] = (
    *(
        (f"accuracy {100 * effect:+.0f} points, {how}, goal: better", plan, {"effect": effect, "per_day": per_day})
        for per_day, effects in ((500, (0.01, 0.02, 0.05)), (2000, (0.01, 0.02)))
        for how, plan in (("90/10", ACCURACY), ("50/50", HALF))
        for effect in effects
    ),
    ("accuracy the same, 90/10, goal: not worse by 2 points", NOT_WORSE, {"per_day": 500}),
    ("accuracy the same, 90/10, goal: not worse by 2 points", NOT_WORSE, {"per_day": 2000}),
    *(
        (f"accuracy {100 * one:+.0f} points, 90/10", ACCURACY, {"effect": one, "per_day": 500})
        for one in (-0.02, -0.05)
    ),
    ("accuracy -40 points (broken), 90/10", ACCURACY, {"effect": -0.4, "per_day": 500}),
    ("accuracy -5 points, canary", CANARY, {"effect": -0.05, "per_day": 500}),
    ("latency +20 %, 90/10", LATENCY, {"slower": 1.2, "per_day": 500}),
)


TORN: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("alike, 2 days", {"delay_days": 2}),
    ("0.5 days for the challenger, 3 for the champion", {"delay_days": 3, "challenger_delay_days": 0.5}),
    ("3 days for the challenger, 0.5 for the champion", {"delay_days": 0.5, "challenger_delay_days": 3}),
)


def of(plan: dict[str, Any], traffic: dict[str, Any], days: int, count: int) -> list[Run]:
    """The runs of one row."""
    imagined = Traffic.model_validate({"per_day": NULL_PER_DAY, "days": days, **traffic})
    return list(simulate.runs(RolloutConfig.model_validate(plan), imagined, count))


def rate(hits: int, count: int) -> str:
    """A share with the upper end of its exact 95 % interval (Clopper and Pearson 1934)."""
    upper = 1.0 if hits == count else float(stats.beta.ppf(0.975, hits + 1, count - hits))
    return f"{hits / count:.1%} (at most {upper:.1%})"


def null_row(name: str, plan: dict[str, Any], traffic: dict[str, Any], count: int = NULL_RUNS) -> str:
    """How often something is found that is not there. The boundary of a goal is no harm: no rollback is then wrong."""
    runs = of(plan, traffic, 28, count)
    wrong = "effect" not in traffic
    cells = (
        name,
        rate(sum(math.isfinite(run.shown) for run in runs), count),
        rate(sum(math.isfinite(run.promotion) for run in runs), count),
        f"{sum(math.isfinite(run.naive_shown) for run in runs) / count:.1%}",
        rate(sum(math.isfinite(run.rollback) for run in runs), count) if wrong else "-",
        f"{sum(math.isfinite(run.naive_rollback) for run in runs) / count:.1%}" if wrong else "-",
    )
    return f"| {' | '.join(cells)} |"


def power_row(name: str, plan: dict[str, Any], traffic: dict[str, Any], count: int = POWER_RUNS) -> str:
    """What becomes of it within 56 days, and when."""
    runs = of(plan, traffic, 56, count)
    promoted = [run.promotion for run in runs if run.promoted]
    back = [run.rollback for run in runs if run.rolled_back]
    naive_up = [run.naive_promotion for run in runs if run.naive_promotion < run.naive_rollback]
    naive_down = [run.naive_rollback for run in runs if run.naive_rollback <= run.naive_promotion < math.inf]
    naive_down += [run.naive_rollback for run in runs if run.naive_rollback < run.naive_promotion == math.inf]
    cells = (name, f"{traffic['per_day']:,}", *(_when(days, count) for days in (promoted, back, naive_up, naive_down)))
    return f"| {' | '.join(cells)} |"


def torn_row(name: str, traffic: dict[str, Any], count: int = POWER_RUNS) -> str:
    """Labels whose time depends on the version, which a comparison cannot stand: is it seen, and in time?"""
    runs = of(ACCURACY, DRIFT | traffic, 28, count)
    wrong = sum(min(run.shown, run.rollback) < run.alarm for run in runs)
    return f"| {name} | {sum(math.isfinite(run.alarm) for run in runs) / count:.1%} | {wrong / count:.1%} |"


def _when(days: list[float], count: int) -> str:
    return f"{len(days) / count:.0%}, day {median(days):.1f}" if days else "0%"


def lines() -> Iterator[str]:
    """The page, line by line."""
    yield HEAD
    for null in NULLS:
        yield null_row(*null)
    yield MIDDLE
    for power in POWERS:
        yield power_row(*power)
    yield END
    for torn in TORN:
        yield torn_row(*torn)


HEAD: Final = f"""# Roll-outs, simulated

Made by `python -m tests.benchmarks.rollout`. Each run is a stream of new subjects whose labels arrive one by one; the
sequential test is looked at after every label, the naive one (a two-sample z test at the same level, 5 %, from 30
subjects of each arm on) once a day. The champion is right in 90 % of cases unless a row says otherwise. Simulated
traffic is not traffic: outcomes are drawn independently, and nobody's subjects come in crowds.

## Nothing to find

{NULL_RUNS:,} runs of 28 days with {NULL_PER_DAY} labelled subjects a day. Both versions are equally good, so every
promotion for being better, and every rollback for being worse, is an error. *Shown*: at any look; *promoted*: two
weeks at least after the start. In brackets: the upper end of the exact 95 % interval.

| situation | shown better | promoted | naive: better | rolled back | naive: rolled back |
|---|---|---|---|---|---|"""
MIDDLE: Final = f"""
The test may err in 5 % of cases, over any time. It errs less often within four weeks: that is what a promise for any
number of looks costs. The naive test errs several times as often as it says. In a canary whose share rises while
both get worse, it compares the new version's hard days with the old one's easy ones, and nearly always rolls back.

## Something to find

{POWER_RUNS:,} runs of at most 56 days each: how many, and the median day. A promotion is never before day 14. *Naive*
is sooner because it errs as above.

| truth | labelled subjects a day | promoted | rolled back | naive: promoted | naive: rolled back |
|---|---|---|---|---|---|"""

END: Final = f"""
## Labels that come sooner for one version

The comparison assumes that the time of a label does not depend on the version. {POWER_RUNS:,} runs of 28 days with
{NULL_PER_DAY} subjects a day at 90/10; both versions are equally good and get worse together, from 95 % to 80 %.
*Alarm*: the versions of subjects with a label are not as they were drawn, so nothing is promoted. *Wrong before*:
shown better, or rolled back, before there was an alarm.

| delay of labels, on average | alarm | wrong before |
|---|---|---|"""


def main() -> None:
    started, page = time.process_time(), ""
    for line in lines():
        print(line, flush=True)
        page += line + "\n"
    TABLE.write_text(page)
    print(f"{TABLE.name} is written after {time.process_time() - started:.0f} s of one core")


if __name__ == "__main__":
    main()
