"""The cost of inference: time, memory, energy and floating-point operations per crop."""

from __future__ import annotations

import math
import resource
import statistics
import time
from dataclasses import dataclass
from typing import Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from semblance.training import models
from semblance.training.evaluation import energy
from semblance.training.inference import precision
from semblance.training.inference.member import forward
from semblance.training.inference.precision import device
from semblance.training.inference.predictor import Predictor
from semblance.training.models import ModelConfig

BATCH: Final = 32
REPEATS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost per crop of one run, an ensemble with all its members, mirror images included.

    ``alone_ms``, ``batch_ms``: milliseconds per crop, alone and in a batch of 32; the median of five runs after a
    warm-up. ``gflop``: torch's count of convolutions and matrix products, a multiplication and an addition being two
    operations. A clip model is asked for whole clips; its figures are per crop too. ``memory_mib``: the peak memory of
    the process so far, or of the GPU during the measurement. ``energy_j``: joules per crop in a batch, None without a
    counter. ``metered``: the counter's name, or why there is none.
    """

    model: str
    device: str
    alone_ms: float
    batch_ms: float
    gflop: float
    memory_mib: float
    energy_j: float | None
    metered: str


def measure(predictor: Predictor) -> Cost:
    """Measure a predictor on the device that inference uses."""
    where = device()
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    counters = energy.find(where)
    least = math.lcm(*(member.clip for member in predictor.members))
    most = -(-BATCH // least) * least
    with torch.no_grad():  # operations cannot be counted in inference mode where weights are parametrized (torch 2.15)
        alone, many = (_seconds(predictor, where, batch) for batch in (least, most))
        counter = FlopCounterMode(display=False)
        with counter:
            _run(predictor, where, least)
        joules = None if isinstance(counters, str) else energy.measure(counters, lambda: _run(predictor, where, most))
    if where.type == "cuda":
        memory, name = torch.cuda.max_memory_allocated() / 2**20, torch.cuda.get_device_name()
    else:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        name = f"CPU, {torch.get_num_threads()} threads"
    return Cost(
        model=predictor.name,
        device=name,
        alone_ms=alone * 1e3 / least,
        batch_ms=many * 1e3 / most,
        gflop=counter.get_total_flops() / 1e9 / least,
        memory_mib=memory,
        energy_j=None if joules is None else joules / most,
        metered=counters if isinstance(counters, str) else ", ".join(counter.name for counter in counters),
    )


def gflop(config: ModelConfig, size: int) -> float:
    """torch's count for one picture of ``size`` px, as in ``Cost.gflop``, of a model that takes single pictures.

    Its weights are whatever the memory holds, which operations do not depend on.
    """
    with torch.device("meta"):
        model = models.build(config, pretrained=False)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.to_empty(device="cpu").eval()(torch.zeros(1, 3, size, size))
    return float(counter.get_total_flops()) / 1e9


def _seconds(predictor: Predictor, where: torch.device, batch: int) -> float:
    _run(predictor, where, batch)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        _run(predictor, where, batch)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _run(predictor: Predictor, where: torch.device, batch: int) -> None:
    for member in predictor.members:
        precision.place(member.trained.model, where)
        forward(member, torch.full((batch, 3, member.size, member.size), 0.5, device=where))
    if where.type == "cuda":
        torch.cuda.synchronize()
