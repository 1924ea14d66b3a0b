"""Where a run computes, how fast, and what that means on the machine that it is on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where a run computes and how fast. Nothing here decides what is learned, but for rounding and the batch norms,
    which see a device's part of a batch.

    ``devices``: GPUs, or processes on CPUs; None takes all GPUs, or one process. ``workers``: loader processes per
    device; None leaves one core to the training itself. ``deterministic``: only algorithms that repeat exactly on a
    GPU. ``powersgd``: the rank of the matrices that replace gradients between ranks, after ``powersgd_after`` steps;
    a run that is resumed with it is close to the original, but not equal (see ``training/loop/powersgd.py``).
    """

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int | None = None
    nodes: int = 1
    workers: int | None = None
    deterministic: bool = False
    powersgd: int | None = None
    powersgd_after: int = 1000
    save_every: int = 500  # optimiser steps between two checkpoints inside an epoch

    @property
    def on_gpu(self) -> bool:
        return self.accelerator != "cpu" and torch.cuda.is_available()

    @property
    def devices_per_node(self) -> int:
        return self.devices or (torch.cuda.device_count() if self.on_gpu else 1)

    @property
    def ranks(self) -> int:
        return self.devices_per_node * self.nodes

    def precision(self, wished: str) -> str:
        """Lightning's precision for the recipe's: ``mixed`` is the better of what the device can do."""
        if wished == "mixed" and self.on_gpu:
            return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
        return "32-true" if wished in ("mixed", "16-mixed") and not self.on_gpu else wished

    @property
    def device(self) -> str:
        """What a run computes on, in words."""
        name = torch.cuda.get_device_name() if self.on_gpu else "the CPU"
        return name if self.ranks == 1 else f"{self.ranks} x {name}"

    def loader_workers(self, state: Mapping[str, Any] | None) -> int:
        """Loader processes per rank: as configured, else as in the checkpoint ``state``, else by the free cores.

        The order inside an epoch depends on this number, so a resumed run keeps it.
        """
        if self.workers is not None:
            return self.workers
        if state is not None:
            return int(state["place"]["workers"])
        cores = len(os.sched_getaffinity(0))
        ranks = self.devices or max(torch.cuda.device_count(), 1)
        return min(max(cores // ranks - 1, 1), 16)
