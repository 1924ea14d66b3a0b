"""Distillation (Hinton et al. 2015): a student learns the answers of a trained run or ensemble beside the labels.

B: pictures of a batch. U: units of it (pictures, or clips of the student).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from semblance.manifests.errors import UsageError
from semblance.training import losses
from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.records import Batch
from semblance.training.regimes import registry
from semblance.training.regimes.base import Chance, Regime, RegimeConfig, Stage, Step


class DistilConfig(RegimeConfig):
    """Learn from a teacher and from labels: ``soft`` x the soft loss + ``hard`` x the recipe's loss.

    ``teacher``: the folder of a run or ensemble. ``temperature``: what both logits are divided by in the soft loss.
    """

    kind: Literal["distil"] = "distil"
    teacher: str | None = None
    temperature: float = Field(default=4.0, gt=0)
    soft: float = Field(default=0.7, ge=0)
    hard: float = Field(default=0.3, ge=0)

    @property
    def sources(self) -> tuple[str, ...]:
        return () if self.teacher is None else (self.teacher,)

    @property
    def terms(self) -> tuple[str, ...]:
        weighted = f"{self.soft:g} soft at temperature {self.temperature:g} + {self.hard:g} hard"
        return f"teacher {self.teacher}", weighted

    @model_validator(mode="after")
    def _something_is_learned(self) -> DistilConfig:
        if self.soft == self.hard == 0:
            raise ValueError("regime.soft and regime.hard are both 0, so nothing would be learned")
        return self


@registry.register(DistilConfig)
class Distil(Regime):
    """The weighted sum of the soft loss and the recipe's loss.

    The teacher answers the very pictures that the student sees, augmented and mixed, in eval mode. So the soft target
    of a mixed picture is the teacher's answer to the mixture, while labels are mixed as in any run. A clip of the
    student has the mean of the teacher's logits for its pictures.
    """

    def __init__(self, config: DistilConfig, _: Model, loss: Loss) -> None:
        super().__init__(config, loss)
        if config.teacher is None:
            raise UsageError(
                "The recipe has no teacher; name the folder of a run or ensemble with --set regime.teacher=DIR."
            )
        self.teacher = config.teacher
        self.temperature, self.soft, self.hard = config.temperature, config.soft, config.hard
        self._ask: Callable[[Tensor], Tensor] | None = None

    def begin(self, model: Model, stage: Stage) -> None:
        """Load the teacher; raises UsageError if it is none, or scores clips."""
        del model
        self._ask = stage.score(self.teacher)

    def forward(self, model: Model, batch: Batch, chance: Chance) -> Step:
        del chance
        assert self._ask is not None, "begin comes first"
        output = model(batch.image_BCHW)
        hard = self.loss(output, batch.by_unit(model.members))["loss"]
        student_U = output.logit_B.float()
        teacher_U = self._ask(batch.image_BCHW).view(-1, model.members).mean(1)
        soft = losses.soft_loss(student_U, teacher_U, self.temperature)
        agreement = ((student_U.detach() > 0) == (teacher_U > 0)).float().mean()
        total = self.soft * soft + self.hard * hard
        parts = {"loss": total.detach(), "soft": soft.detach(), "hard": hard.detach(), "agreement": agreement}
        return Step(loss=total, parts=parts)
