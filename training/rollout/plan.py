"""What a roll-out is to show, how it goes about it, and what ends it: a YAML file."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from semblance.manifests.config import Config, parse, read_file

DAYS: Final = 14  # two weeks at least: a week's rhythm twice
Outcome = Literal["accuracy", "latency", "satisfaction", "errors"]
Share = Annotated[float, Field(gt=0, lt=1)]
Margin = Annotated[float, Field(ge=0, lt=1)]


class Goal(Config):
    """What must be shown before a promotion: better (``superior``), or ``not_worse`` by more than ``margin``.

    Every outcome is in [0, 1] and higher is better, so a margin of 0.02 is two points of accuracy.
    """

    want: Literal["superior", "not_worse"] = "not_worse"
    margin: Margin = 0.02

    @property
    def least(self) -> float:
        """The difference, challenger minus champion, that must be exceeded."""
        return -self.margin if self.want == "not_worse" else 0.0


class GoalsConfig(Config):
    """None: nothing needs to be shown of it. Latency's margin is a share of its limit."""

    accuracy: Goal | None = Goal()
    latency: Goal | None = Goal(margin=0.05)
    satisfaction: Goal | None = None

    def asked(self) -> dict[Outcome, Goal]:
        """The goals that there are."""
        goals: dict[Outcome, Goal | None] = {
            "accuracy": self.accuracy,
            "latency": self.latency,
            "satisfaction": self.satisfaction,
        }
        return {outcome: goal for outcome, goal in goals.items() if goal is not None}


class GuardrailsConfig(Config):
    """Rolled back at once where the challenger is shown to be worse by more than this. None: not watched.

    ``alpha``: the probability of a rollback without such a reason, all guardrails together, however often one looks.
    """

    accuracy: Margin | None = 0.0
    latency: Margin | None = 0.05
    satisfaction: Margin | None = 0.0
    errors: Margin | None = 0.0
    alpha: float = Field(default=0.05, gt=0, le=0.2)

    def watched(self) -> dict[Outcome, float]:
        """The guardrails that there are, with their margins."""
        margins: dict[Outcome, float | None] = {
            "accuracy": self.accuracy,
            "latency": self.latency,
            "satisfaction": self.satisfaction,
            "errors": self.errors,
        }
        return {outcome: margin for outcome, margin in margins.items() if margin is not None}


class FloorsConfig(Config):
    """Rolled back at once where the challenger's own mean is shown to be below this. None: not watched.

    Without a champion beside it (``blue_green``), there is nothing else to compare with. ``errors``: the share of
    requests that do not fail. They share the guardrails' ``alpha``.
    """

    accuracy: float | None = Field(default=None, gt=0, lt=1)
    latency: float | None = Field(default=None, gt=0, lt=1)
    satisfaction: float | None = Field(default=None, gt=0, lt=1)
    errors: float | None = Field(default=None, gt=0, lt=1)

    def watched(self) -> dict[Outcome, float]:
        """The floors that there are."""
        floors: dict[Outcome, float | None] = {
            "accuracy": self.accuracy,
            "latency": self.latency,
            "satisfaction": self.satisfaction,
            "errors": self.errors,
        }
        return {outcome: floor for outcome, floor in floors.items() if floor is not None}


class Step(Config):
    """A share of a canary, kept for ``hours`` and until the challenger had ``requests``, whichever is later."""

    share: Share
    hours: float = Field(default=24.0, gt=0)
    requests: int = Field(default=100, ge=0)


class LatencyConfig(Config):
    """How a latency becomes an outcome in [0, 1]: ``clipped`` is 1 - latency / limit, at least 0; ``share`` is 1 within
    the limit and 0 over it. Limits in seconds, for a video and for a face crop.
    """

    measure: Literal["clipped", "share"] = "clipped"
    video_s: float = Field(default=2.0, gt=0)
    crop_s: float = Field(default=0.5, gt=0)


class RolloutConfig(Config):
    """The whole.

    ``mode``: ``ab`` keeps one ``share`` of subjects; ``canary`` climbs ``steps``; ``blue_green`` lets the challenger
    answer all at once, with the champion kept loaded. ``alpha``: the probability that a challenger is promoted that
    does not meet a goal, however often one looks. ``accuracy``: of verdicts (uncertain counts half), or 1 - Brier score
    of the probability. ``subjects``: of each arm, at least, before a promotion. ``max_days``: rolled back if nothing is
    shown by then.
    """

    mode: Literal["ab", "canary", "blue_green"] = "ab"
    share: Share = 0.1
    steps: tuple[Step, ...] = (
        Step(share=0.01),
        Step(share=0.05),
        Step(share=0.1),
        Step(share=0.25),
        Step(share=0.5),
    )
    min_days: float = Field(default=float(DAYS))
    max_days: float | None = None
    alpha: float = Field(default=0.05, gt=0, le=0.2)
    accuracy: Literal["verdict", "brier"] = "verdict"
    subjects: int = Field(default=100, ge=1)
    latency: LatencyConfig = LatencyConfig()
    goals: GoalsConfig = GoalsConfig()
    guardrails: GuardrailsConfig = GuardrailsConfig()
    floors: FloorsConfig = FloorsConfig()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_days < DAYS:
            raise ValueError(f"min_days is at least {DAYS}, not {self.min_days:g}; shorter weeks are not weeks")
        if self.max_days is not None and self.max_days <= self.min_days:
            raise ValueError(f"max_days ({self.max_days:g}) must be more than min_days ({self.min_days:g})")
        shares = [step.share for step in self.steps]
        if self.mode == "canary" and (not shares or shares != sorted(set(shares))):
            raise ValueError("steps of a canary need ascending shares")
        if self.mode == "blue_green" and not self.floors.watched():
            raise ValueError("blue_green has no champion to compare with; set at least one of floors, such as errors")
        if self.mode != "blue_green" and not self.goals.asked():
            raise ValueError("set at least one of goals, so that there is a reason to promote")
        return self

    def share_at(self, step: int) -> float:
        """The challenger's share of subjects in a step, from 0; 1 for ``blue_green``."""
        if self.mode == "blue_green":
            return 1.0
        return self.steps[step].share if self.mode == "canary" else self.share

    @property
    def last(self) -> int:
        """The number of the last step."""
        return len(self.steps) - 1 if self.mode == "canary" else 0


def read(file: str) -> RolloutConfig:
    """The plan in a YAML or JSON file; raises UsageError with the first fault."""
    return parse(RolloutConfig, read_file(file, "plan of a roll-out"), file, "plan of a roll-out")
