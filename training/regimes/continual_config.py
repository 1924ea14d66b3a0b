"""The settings of continual learning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from semblance.manifests.config import Config
from semblance.training.regimes.base import RegimeConfig


class EwcConfig(Config):
    """Elastic weight consolidation: adds ``weight`` / 2 x sum of F (w - w*)^2; the plan's weight is 400.

    w*: the weights that the run starts from. F: the Fisher information of the run before, over ``samples`` pictures of
    its train split, chosen as the memory's are, plus the F that it carries itself.
    """

    weight: float = Field(default=0.0, ge=0)
    samples: int = Field(default=1000, ge=1)


class MemoryConfig(Config):
    """At most ``size`` pictures of all tasks together, kept as rows of manifests.

    ``replay``: every step also learns from ``batch`` pictures of it, over all devices, in one batch with the new ones.
    """

    size: int = Field(default=1000, ge=1)
    replay: bool = False
    batch: int = Field(default=32, ge=1)


class LwfConfig(Config):
    """Learning without forgetting: the logits of the run before, on the new pictures, are a soft target.

    Adds ``weight`` x T^2 x the divergence of the two-class probabilities at ``temperature`` T; the authors' T is 2.
    """

    weight: float = Field(default=0.0, ge=0)
    temperature: float = Field(default=2.0, gt=0)


class ContinualConfig(RegimeConfig):
    """Learn a task after others. ``after``: the run before, which ``model.pretrained`` must name too.

    Without ``after`` it is the first task, learned as by ``supervised``. ``norms``: what becomes of the statistics of
    batch norm, which EWC does not protect; None freezes them where EWC has a weight and trains them elsewhere.
    ``builds``: where old builds are now, if they have moved.
    """

    kind: Literal["continual"] = "continual"
    after: str | None = None
    ewc: EwcConfig = EwcConfig()
    memory: MemoryConfig = MemoryConfig()
    lwf: LwfConfig = LwfConfig()
    norms: Literal["frozen", "trained"] | None = None
    builds: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        return () if self.after is None else (self.after,)

    @property
    def starts_from(self) -> str | None:
        return self.after

    @property
    def frozen_norms(self) -> bool:
        return self.after is not None and (self.norms == "frozen" or (self.norms is None and self.ewc.weight > 0))

    @property
    def terms(self) -> tuple[str, ...]:
        if self.after is None:
            return ("the first task: there is no run before it",)
        parts = {
            f"EWC {self.ewc.weight:g}": self.ewc.weight > 0,
            f"replay of at most {self.memory.size} pictures": self.memory.replay,
            f"LwF {self.lwf.weight:g} at temperature {self.lwf.temperature:g}": self.lwf.weight > 0,
        }
        means = ", ".join(name for name, on in parts.items() if on) or "nothing against forgetting"
        norms = "frozen" if self.frozen_norms else "trained"
        return (f"after {self.after}, with {means}", f"statistics of batch norm are {norms}")

    @model_validator(mode="after")
    def _a_run(self) -> ContinualConfig:
        if self.after in ("", "none", "imagenet"):
            raise ValueError(f"after is {self.after!r}, which is not the folder of a run; null is the first task")
        return self
