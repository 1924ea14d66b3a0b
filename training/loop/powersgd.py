"""What ranks tell each other after a step: gradients as matrices of a low rank instead of whole."""

from __future__ import annotations

from typing import Any, Final

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook

_FIRST: Final = 2  # torch rearranges its buckets after the first step


class PowerSGD(Callback):
    """Gradients compressed to matrices of ``rank`` (Vogels et al. 2019), whole for the first ``after`` of the run's
    optimiser's steps; ``step`` of them were done before.

    Lightning itself would register the hook on GPUs alone. What compression loses is added to the next step's
    gradients; that remainder is each rank's own and is not in the checkpoint, so a resumed run is near, not equal.
    """

    def __init__(self, rank: int, *, after: int, step: int = 0) -> None:
        self.state = powerSGD_hook.PowerSGDState(
            None, matrix_approximation_rank=rank, start_powerSGD_iter=max(after - step, _FIRST)
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del pl_module
        model: Any = trainer.strategy.model  # torch's DistributedDataParallel around the task
        model.register_comm_hook(self.state, powerSGD_hook.powerSGD_hook)
