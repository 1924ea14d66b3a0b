"""The interface of regimes: how a batch becomes a loss, and what rides beside the model in the run's checkpoints.

B: pictures of a batch. U: units of it (pictures, clips, pairs, views), whose pictures are adjacent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from semblance.manifests.config import Config
from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.records import Batch

if TYPE_CHECKING:
    from semblance.training.data.query import Selection
    from semblance.training.data.splits import TrainingData


class RegimeConfig(Config):
    """What all regimes have in common. ``kind``: the name of the regime, a constant of each subclass.

    ``labelled``: it learns from labels, so both classes must be there, val is scored by the model's logit, and the best
    epoch is that of the highest AUC by video. A regime that is not learns from pictures alone: val is cut into units
    and augmented as train is, in the same way after every epoch, and the best epoch is that of the regime's lowest
    loss there.
    """

    labelled: ClassVar[bool] = True
    kind: str

    @property
    def clip(self) -> int | None:
        """Faces of the clips that it learns from, which must not be augmented face by face; None: any units do."""
        return None

    @property
    def sources(self) -> tuple[str, ...]:
        """Runs that this one learns from besides its own weights: teachers, or the run before it."""
        return ()

    def check_epochs(self, epochs: int) -> None:
        """Raise ValueError if a run of ``epochs`` is too short for this configuration. Here: none is."""

    @property
    def starts_from(self) -> str | None:
        """The run whose weights the model must start from, by ``model.pretrained``; None: any."""
        return None

    @property
    def terms(self) -> tuple[str, ...]:
        """What a user should know before the run begins, in sentences without a full stop."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a regime makes of a batch.

    ``loss``: the number whose gradient is followed. ``parts``: named numbers for the run's metrics, without gradients,
    among them ``loss`` itself. They are the same names in every step.
    """

    loss: Tensor
    parts: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """Where a step stands in its run, and the randomness it may use, which depends on that place alone.

    ``generator`` is of the host, seeded with ``seed``, and has already drawn what mixing needs; torch's own generators
    were seeded too. ``progress``: share of the run's batches that are done, from 0 to 1.
    """

    seed: int
    generator: torch.Generator
    epoch: int
    progress: float


class Draw(Protocol):
    """Endless batches of a selection, augmented as those of train but not mixed.

    Classes and methods are balanced where both classes are there.
    ``batch``: units over all ranks, of which each takes its share. ``start``: how many batches were taken before.
    """

    def __call__(self, selection: Selection, *, batch: int, seed: int, start: int = 0) -> Iterator[Batch]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a run has when it begins or resumes, for a regime that needs more than batches.

    ``read``: the pictures of a selection once, all of them on every rank, in order of their shards and not augmented,
    as float batches on the model's device. ``score``: the combined raw logit of a trained run or ensemble for pictures
    (B, 3, H, W) in [0, 1], in eval mode, (B,), without gradients. ``state``: the dictionary of a run's best checkpoint.
    ``resumed``: the regime's own state was loaded.
    """

    data: TrainingData
    seed: int
    size: int  # side of the pictures in px
    epochs: int
    read: Callable[[Selection], Iterator[Batch]]
    draw: Draw
    score: Callable[[str], Callable[[Tensor], Tensor]]
    state: Callable[[str], Mapping[str, Any]]
    resumed: bool


class Regime(nn.Module, ABC):
    """How a model learns: ``forward`` turns a batch into a ``Step``.

    Its parameters are optimised with the model's, and its ``state_dict`` is kept in both checkpoints of a run under
    ``regime``: heads, queues, Fisher information, a momentum encoder. All parameters exist from the start; tensors that
    ``begin`` makes are buffers. What can be had again (a teacher) is kept out of its state. In eval mode ``forward``
    changes nothing: it judges val where a regime is not ``labelled``.
    """

    def __init__(self, config: RegimeConfig, loss: Loss) -> None:
        super().__init__()
        self.config = config
        self._loss = (loss,)  # not a part of the regime: a run keeps it under its own name

    @property
    def loss(self) -> Loss:
        """The recipe's loss, with which labels are learned."""
        return self._loss[0]

    def begin(self, model: Model, stage: Stage) -> None:
        """Called once before the first step of a new or resumed run, with the model on its device. Here: nothing."""

    @abstractmethod
    def forward(self, model: Model, batch: Batch, chance: Chance) -> Step:
        """The loss of a batch, which is augmented and mixed already, and its parts."""

    def unmixed(self, sample_ids: Sequence[str], epoch: int) -> Sequence[int]:
        """Places of a batch whose pictures CutMix and MixUp leave as they are. Here: none."""
        del sample_ids, epoch
        return ()

    def stepped(self, model: Model) -> None:
        """Called after every optimiser step that was not skipped. Here: nothing."""

    def judge(self, model: Model, epoch: int) -> Mapping[str, float]:
        """Further figures of val after an epoch (0 is the first), as ``val/NAME``. Here: none.

        Called on every rank, with the model that is validated, in eval mode.
        """
        del model, epoch
        return {}

    def __call__(self, model: Model, batch: Batch, chance: Chance) -> Step:
        step: Step = super().__call__(model, batch, chance)
        return step
