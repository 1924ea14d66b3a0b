"""What a roll-out keeps in the registry, so that any process can go on with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self, get_args

from semblance.manifests.config import parse
from semblance.manifests.errors import SemblanceError
from semblance.training.rollout.decide import Position
from semblance.training.rollout.plan import RolloutConfig

Phase = Literal["running", "promoting", "rolling_back", "stopping"]
_LONGEST: Final = 1000  # characters of the reasons: registries limit the size of what they keep


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A roll-out of ``challenger`` beside ``champion`` (semantic versions of ``model``).

    ``events``: the folder where the services write. ``phase``: anything but ``running`` was decided at ``decided``, for
    ``reasons``, and is finished by whoever finds it.
    """

    id: str
    model: str
    champion: str
    challenger: str
    events: str
    plan: RolloutConfig
    position: Position
    phase: Phase = "running"
    decided: datetime | None = None
    reasons: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Of subjects that the challenger answers; none while it is taken back."""
        return 0.0 if self.phase in ("rolling_back", "stopping") else self.plan.share_at(self.position.step)

    def advanced(self, now: datetime) -> Self:
        """In the next step, from now on."""
        step = Position(started=self.position.started, step=self.position.step + 1, since=now)
        return dataclasses.replace(self, position=step)

    def ending(self, phase: Phase, now: datetime, reasons: tuple[str, ...]) -> Self:
        """Decided, and not yet done."""
        kept = " ".join(reasons)[:_LONGEST]
        return dataclasses.replace(self, phase=phase, decided=now, reasons=(kept,))

    def mapping(self) -> dict[str, Any]:
        """As JSON takes it, with the keys ``id`` and ``share`` that the registry needs."""
        return {
            "id": self.id,
            "share": self.share,
            "champion": self.champion,
            "challenger": self.challenger,
            "events": self.events,
            "plan": self.plan.model_dump(mode="json"),
            "started": self.position.started.isoformat(),
            "step": self.position.step,
            "since": self.position.since.isoformat(),
            "phase": self.phase,
            "decided": None if self.decided is None else self.decided.isoformat(),
            "reasons": list(self.reasons),
        }

    @classmethod
    def of(cls, model: str, kept: Mapping[str, Any]) -> Self:
        """Raises SemblanceError for what no roll-out of this program wrote."""
        try:
            decided, phase = kept["decided"], kept["phase"]
            if phase not in get_args(Phase):
                raise ValueError(f"unknown phase {phase!r}")
            return cls(
                id=str(kept["id"]),
                model=model,
                champion=str(kept["champion"]),
                challenger=str(kept["challenger"]),
                events=str(kept["events"]),
                plan=parse(RolloutConfig, kept["plan"], model, "stored plan of"),
                position=Position(started=moment(kept["started"]), step=int(kept["step"]), since=moment(kept["since"])),
                phase=phase,
                decided=None if decided is None else moment(decided),
                reasons=tuple(map(str, kept["reasons"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SemblanceError(
                f"What the registry keeps of the roll-out of {model} cannot be read ({error!r}); end it with "
                f"`training rollout rollback {model}`."
            ) from error


def moment(text: str) -> datetime:
    """A time of ISO 8601, UTC unless it says otherwise; raises ValueError."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
