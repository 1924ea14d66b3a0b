"""Where a run computes, how fast, and what that means on the machine that it is on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from semblance.manifests.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where a run computes and how fast. Nothing here decides what is learned, but for rounding and the batch norms,
    which see a device's part of a batch.

    ``devices``: GPUs, or processes on CPUs; None takes all GPUs, or one process. ``workers``: loader processes per
    device; None leaves one core to the training itself. ``deterministic``: only algorithms that repeat exactly on a
    GPU. ``powersgd``: the rank of the matrices that replace gradients between ranks, after ``powersgd_after`` steps;
    a run that is resumed with it is close to the original, but not equal (see ``training/loop/powersgd.py``).

    On a GPU, unless ``deterministic``, products of 32-bit matrices may use TF32 (10 bits of mantissa; F3-Net's DCT does
    not), and cuDNN tries which of its algorithms is fastest. ``compile``: torch.compile of the model, which takes
    minutes at the start. Pictures and convolutions are in channels_last on every device.

    The host waits for the device every ``log_every`` steps, before a checkpoint, after an epoch and nowhere else; with
    a gradient scaler (``16-mixed``) in every step, since it asks whether to skip it. So the device has the next steps
    queued while the host reads batches. A device that still waits, waits for the loader: give it more ``workers``.
    """

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int | None = None
    nodes: int = 1
    workers: int | None = None
    prefetch: int = 2  # batches that each loader process makes in advance
    deterministic: bool = False
    compile: bool = False
    powersgd: int | None = None
    powersgd_after: int = 1000
    save_every: int = 500  # optimiser steps between two checkpoints inside an epoch
    log_every: int = 10  # steps between two looks at the losses, for which the host waits for the device
    val_batch: int | None = None  # units on each device in validation; None: four times a training batch

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
        ranks = self.devices or max(torch.cuda.device_count(), 1)
        return min(max(cores() // ranks - 1, 1), 16)

    def apply(self) -> None:
        """Set torch's switches for speed, which hold for the whole process."""
        if self.on_gpu and not self.deterministic:
            torch.set_float32_matmul_precision("high")  # Lightning reads it, which torch refuses after newer switches


def cores(root: Path = Path("/")) -> int:
    """The cores that this process may use: those of its affinity, or fewer by the quota of a cgroup above it.

    ``root``: the folder of ``proc`` and ``sys``. Containers and batch systems set quotas, by cgroups of version 1 or 2.
    """
    return max(int(min([len(os.sched_getaffinity(0)), *_quotas(root)])), 1)


def _quotas(root: Path) -> Iterator[float]:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    top = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        first = "cpu" in controllers.split(",")
        if controllers and not first:
            continue
        for base in (top / "cpu", top / controllers) if first else (top,):
            for folder in (base / path.lstrip("/"), *(base / path.lstrip("/")).parents):
                if folder.is_relative_to(base):
                    yield from _quota(folder)


def _quota(folder: Path) -> Iterator[float]:
    """The cores that one cgroup allows, if it limits them."""
    with contextlib.suppress(OSError, ValueError):
        limit, period = (folder / "cpu.max").read_text().split()
        yield int(limit) / int(period)  # a limit of "max" is none
    with contextlib.suppress(OSError, ValueError):
        limit, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if int(limit) > 0:
            yield int(limit) / int(period)


def per_rank(batch_size: int, ranks: int) -> int:
    """The units of a batch that each of ``ranks`` devices takes; raises UsageError if they cannot share it equally."""
    if batch_size % ranks:
        near = max(batch_size // ranks, 1) * ranks
        raise UsageError(
            f"A batch of {batch_size} units cannot be shared by {ranks} devices; use --set data.batch_size={near}, or "
            "another number of --devices."
        )
    return batch_size // ranks
