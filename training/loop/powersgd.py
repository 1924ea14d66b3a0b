"""PowerSGD: ranks exchange low-rank matrices instead of full gradients."""

from __future__ import annotations

from typing import Any, Final

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook

_FIRST: Final = 2  # torch rearranges its gradient buckets after the first step


class PowerSGD(Callback):
    """Gradients compressed to matrices of ``rank`` (Vogels et al. 2019).

    The first ``after`` optimiser steps of the run are not compressed; ``step`` of them are already done. Lightning
    itself registers the hook on GPUs only. What compression loses is added to the next step's gradients. Each rank
    has its own remainder, and it is not in the checkpoint: a resumed run is close to the original, but not equal.
    """

    def __init__(self, rank: int, *, after: int, step: int = 0) -> None:
        self.state = powerSGD_hook.PowerSGDState(
            None, matrix_approximation_rank=rank, start_powerSGD_iter=max(after - step, _FIRST)
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del pl_module
        model: Any = trainer.strategy.model  # torch's DistributedDataParallel around the module
        model.register_comm_hook(self.state, powerSGD_hook.powerSGD_hook)
