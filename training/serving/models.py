"""The models that answer: the champion, perhaps a challenger beside it, and who gets which."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from semblance.ingest.recipe import Recipe
from semblance.training.inference.predictor import Predictor
from semblance.training.rollout import assign
from semblance.training.serving.answers import Served


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """A model in memory. ``recipe``: how faces are found and cut for it, with the service's limits."""

    served: Served
    predictor: Predictor
    recipe: Recipe
    device: str

    def as_role(self, role: Literal["champion", "challenger"]) -> Loaded:
        """The same model in another role, such as a challenger that is promoted."""
        return replace(self, served=self.served.model_copy(update={"role": role}))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lineup:
    """Who answers at one moment; replaced as a whole."""

    champion: Loaded
    challenger: Loaded | None = None
    share: float = 0.0
    rollout: str = ""

    @property
    def models(self) -> tuple[Loaded, ...]:
        return (self.champion,) if self.challenger is None else (self.champion, self.challenger)

    def of(self, subject: str) -> Loaded:
        """The model for a subject: the same one on every server, for as long as the roll-out lasts."""
        if self.challenger is not None and assign.challenged(self.rollout, subject, self.share):
            return self.challenger
        return self.champion


@dataclass(slots=True, kw_only=True, eq=False)
class Models:
    """Holds the lineup; ``registry_up``: whether the registry answered last time, None without one."""

    lineup: Lineup
    registry_up: bool | None = None
    notes: list[str] = field(default_factory=list)
