"""The losses of the last steps, kept on the device until they are pulled together, so that no step waits for it.

N: batches since the last pull, P: parts of the loss, and the loss itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor

from semblance.manifests.errors import NotANumberError, SemblanceError

# With scaled 16-bit gradients a step whose numbers overflow is skipped. The scale moves no loss, so a loss that is not
# finite ten times in a row will not become so. The scale itself falls from 2^16 to the least 16-bit number in 40 steps.
LOSSES_IN_A_ROW: Final = 10
SKIPS_IN_A_ROW: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    step: int  # optimiser steps before it
    epoch: int
    skipped: bool
    names: list[tuple[str, ...]]  # the samples of each of its batches, on this rank
    rest: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """The losses of batches, then of whole steps. ``pull`` is the one place where a run waits for its device.

    ``scaled``: gradients are scaled, so overflows are skipped and do not end the run at once.
    """

    def __init__(self) -> None:
        self.ranks, self.scaled = 1, False
        self.asked = 0.0  # share of the ranks that were asked to stop, at the last pull
        self._columns: tuple[str, ...] = ()
        self._values: list[Tensor] = []  # (P,) of every batch
        self._open: list[tuple[str, ...]] = []
        self._steps: list[_Step] = []
        self._bad = self._skips = 0  # in a row

    def __bool__(self) -> bool:
        """Whether steps wait to be pulled."""
        return bool(self._steps)

    def add(self, parts: Mapping[str, Tensor], names: tuple[str, ...]) -> None:
        """Keep the losses of a batch with the samples ``names``."""
        self._columns = tuple(parts)
        self._values.append(torch.stack([part.detach() for part in parts.values()]).double())
        self._open.append(names)

    def close(self, step: int, epoch: int, *, skipped: bool = False, **rest: Any) -> None:
        """End a step with the batches since the last one. ``step`` counts those before it; ``rest`` joins its row."""
        self._steps.append(_Step(step=step, epoch=epoch, skipped=skipped, names=self._open, rest=rest))
        self._open = []

    def pull(self, weights: Sequence[Tensor] = (), *, asked: bool = False) -> list[dict[str, Any]]:
        """The rows of the steps since the last pull, losses as means over batches and ranks. All ranks pull together.

        ``asked``: whether this rank was asked to stop, which then all know.

        Raises NotANumberError, on all ranks, for the first step whose loss is not a finite number on one of them, or
        for the last step if one of ``weights`` is not. A figure that is not finite is None, where it is allowed.
        """
        steps, self._steps = self._steps, []
        values, self._values = self._values, []
        if not steps:
            return []
        own_NP = torch.stack(values)
        sound = torch.stack(torch._foreach_norm(list(weights))).isfinite().all() if weights else own_NP.new_ones(())
        rest = torch.stack([own_NP.new_full((), asked), sound.double()])
        sent = torch.cat([own_NP.flatten(), rest])
        mean = sent
        if self.ranks > 1:
            mean = sent.clone()
            dist.all_reduce(mean)
            mean /= self.ranks
        own, told = torch.stack([sent, mean]).tolist()
        self.asked = told[-2]
        width, rows, place = len(self._columns), [], 0
        for step in steps:
            here = [slice((place + i) * width, (place + i + 1) * width) for i in range(len(step.names))]
            place += len(step.names)
            loss = self._columns.index("loss")
            self._judge(step, [own[part][loss] for part in here], [told[part][loss] for part in here])
            figures = [sum(column) / len(here) for column in zip(*(told[part] for part in here), strict=True)]
            rows.append(self._row(step, figures))
        if told[-1] < 1 and not steps[-1].skipped:
            raise self._error(steps[-1], steps[-1].names, "update")
        return rows

    def _judge(self, step: _Step, own: list[float], told: list[float]) -> None:
        """Raise the error of a step, if it ends the run. ``own`` and ``told``: the loss of each of its batches."""
        bad = not all(map(math.isfinite, told))
        self._bad = self._bad + 1 if bad else 0
        self._skips = self._skips + 1 if step.skipped else 0
        if bad and (not self.scaled or self._bad >= LOSSES_IN_A_ROW):
            names = [names for names, loss in zip(step.names, own, strict=True) if not math.isfinite(loss)]
            raise self._error(step, names, "loss")
        if self._skips >= SKIPS_IN_A_ROW:
            raise SemblanceError(
                f"The gradients of the last {SKIPS_IN_A_ROW} steps, up to step {step.step} (epoch {step.epoch}), "
                "overflow 16 bits at any scale; start a new run with --set precision=bf16-mixed or 32-true."
            )

    def _row(self, step: _Step, figures: list[float]) -> dict[str, Any]:
        named = {
            name: value if math.isfinite(value) else None for name, value in zip(self._columns, figures, strict=True)
        }
        skipped = {"skipped": True} if step.skipped else {}
        return {"step": step.step + 1, "epoch": step.epoch, **named, **step.rest, **skipped}

    def _error(self, step: _Step, names: Sequence[tuple[str, ...]], what: str) -> NotANumberError:
        mine = tuple(name for group in names for name in group)
        by_rank: list[tuple[str, ...]] = [mine]
        if self.ranks > 1:
            by_rank = [()] * self.ranks
            dist.all_gather_object(by_rank, mine)
        return NotANumberError(step.step, step.epoch, tuple(name for group in by_rank for name in group), what)
