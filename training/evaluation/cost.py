"""What an answer costs: time, memory and energy for a crop, and floating-point operations."""

from __future__ import annotations

import resource
import statistics
import time
from dataclasses import dataclass
from typing import Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from semblance.training.evaluation import energy
from semblance.training.inference import predictor as judges_of
from semblance.training.inference.predictor import Predictor

BATCH: Final = 32
_TIMES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Milliseconds a crop alone and in a batch of 32, the median of five after a first one; GFLOP a crop, where a
    multiplication and an addition are two, as torch counts convolutions and matrix products (other operations are not
    counted); the process's largest memory so far in MiB, or the GPU's while it answered; joules a crop in that batch,
    or None where no counter tells, ``metered`` saying by what, or why not.
    """

    model: str
    device: str
    alone_ms: float
    batch_ms: float
    gflop: float
    memory_mib: float
    energy_j: float | None
    metered: str


def measure(one: Predictor) -> Cost:
    """One judge with all its members."""
    where = judges_of.device()
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    counters = energy.find(where)
    with torch.inference_mode():
        alone, many = (_seconds(one, where, batch) for batch in (1, BATCH))
        counter = FlopCounterMode(display=False)
        with counter:
            _answer(one, where, 1)
        joules = None if isinstance(counters, str) else energy.measure(counters, lambda: _answer(one, where, BATCH))
    if where.type == "cuda":
        memory, name = torch.cuda.max_memory_allocated() / 2**20, torch.cuda.get_device_name()
    else:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        name = f"processor, {torch.get_num_threads()} threads"
    return Cost(
        model=one.name,
        device=name,
        alone_ms=alone * 1e3,
        batch_ms=many * 1e3 / BATCH,
        gflop=counter.get_total_flops() / 1e9,
        memory_mib=memory,
        energy_j=None if joules is None else joules / BATCH,
        metered=counters if isinstance(counters, str) else ", ".join(counter.name for counter in counters),
    )


def _seconds(one: Predictor, where: torch.device, batch: int) -> float:
    _answer(one, where, batch)
    taken = []
    for _ in range(_TIMES):
        start = time.perf_counter()
        _answer(one, where, batch)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _answer(one: Predictor, where: torch.device, batch: int) -> None:
    for member in one.members:
        model = member.trained.model.to(where)
        model(torch.full((batch, 3, member.size, member.size), 0.5, device=where))
    if where.type == "cuda":
        torch.cuda.synchronize()
