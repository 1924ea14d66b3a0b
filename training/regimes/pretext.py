"""What the pretext tasks share: learning from pictures alone, and numbers drawn for each picture.

B: pictures of a batch. Q: questions asked about them. K: possible answers. D: features of an embedding.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from semblance.manifests.errors import UsageError
from semblance.manifests.ids import digest
from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.records import Batch
from semblance.training.regimes.base import Chance, Regime, RegimeConfig, Stage, Step

GREY: Final = 0.5  # of pixels that are hidden


class PretextConfig(RegimeConfig):
    """What all pretext tasks have in common: they learn from pictures alone."""

    labelled: ClassVar[bool] = False


def guess(classes: int) -> str:
    """What a guess is worth, for the terms of a task."""
    return f"a guess is right in {100 / classes:.1f} % and has a loss of {math.log(classes):.3f}"


class Pretext(Regime):
    """A task that pictures pose themselves. What it draws for a picture depends on seed, epoch and the picture alone.

    So the number of devices changes nothing. A picture that is drawn twice in an epoch is asked about alike.
    """

    def __init__(self, config: PretextConfig, model: Model, loss: Loss) -> None:
        super().__init__(config, loss)
        _check(model, config.kind)
        self.seed = 0

    def begin(self, model: Model, stage: Stage) -> None:
        del model
        self.seed = stage.seed

    def draw(self, names: Sequence[str], epoch: int, count: int) -> Tensor:
        """``count`` numbers uniform in [0, 1) for each of the names, (B, count) in float64 on the host."""
        rows = [
            np.random.default_rng(int(digest(self.config.kind, self.seed, epoch, name)[:16], 16)).random(count)
            for name in names
        ]
        return torch.from_numpy(np.stack(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Pictures (B, 3, H, W) as the model sees them, and the answers to the Q questions about them, int64 (Q,).

    ``fair_Q``: False where nobody could tell; None if all can be answered.
    """

    image_BCHW: Tensor
    answer_Q: Tensor
    fair_Q: Tensor | None = None


class Classes(Pretext):
    """A pretext task with K possible answers: cross-entropy of what ``head`` makes of the embeddings.

    Parts: ``loss``, ``accuracy`` and, where questions can be unfair, ``fair``, the share of those that are not. An
    unfair question counts as a guess: it has the loss log K and the accuracy 1 / K, and no gradient. So all parts are
    means over all questions, however these are divided into batches.
    """

    head: nn.Module
    classes: int

    @abstractmethod
    def ask(self, batch: Batch, epoch: int) -> Questions:
        """The questions about a batch."""

    def answer(self, model: Model, image_BCHW: Tensor) -> Tensor:
        """The logits of the answers, float32 (Q, K)."""
        embedding_BD = model(image_BCHW).embedding_BD
        with torch.autocast(embedding_BD.device.type, enabled=False):
            logit_QK: Tensor = self.head(embedding_BD.float())
        return logit_QK

    def forward(self, model: Model, batch: Batch, chance: Chance) -> Step:
        asked = self.ask(batch, chance.epoch)
        logit_QK = self.answer(model, asked.image_BCHW)
        loss_Q = F.cross_entropy(logit_QK, asked.answer_Q, reduction="none")
        right_Q = (logit_QK.argmax(1) == asked.answer_Q).float()
        parts = {}
        if asked.fair_Q is not None:
            loss_Q = torch.where(asked.fair_Q, loss_Q, math.log(self.classes))
            right_Q = torch.where(asked.fair_Q, right_Q, 1 / self.classes)
            parts["fair"] = asked.fair_Q.float().mean()
        loss = loss_Q.mean()
        return Step(loss=loss, parts={"loss": loss.detach(), "accuracy": right_Q.mean(), **parts})


def _check(model: Model, kind: str) -> None:
    """Raise UsageError for a model of clips, and for one whose head alone is trained, which no pretext task trains."""
    if model.members > 1:
        raise UsageError(
            f"The regime {kind} trains models of single pictures, not one of clips of {model.members}; choose another "
            "model.kind."
        )
    if not any(one.requires_grad for name, one in model.named_parameters() if not name.startswith("head.")):
        raise UsageError(
            f"The regime {kind} trains all of a model but its head, and this model trains its head alone; set "
            "model.trainable=all."
        )
