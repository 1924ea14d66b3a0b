"""How long a run takes for real crops, in torch and as exported files: on one CPU thread, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from semblance.manifests.records import Image
from semblance.quality.resize import to_square
from semblance.training.evaluation.cost import REPEATS
from semblance.training.export import graph
from semblance.training.export.registry import FORMATS, Pictures
from semblance.training.inference import member
from semblance.training.inference.predictor import Predictor

TORCH: Final = "torch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds per crop from its bytes to the logit, alone and in a batch: medians after a warm-up."""

    alone_ms: float
    batch_ms: float


def measure(
    predictor: Predictor, files: Mapping[str, Path], images: Sequence[Image], batch: int = 16
) -> dict[str, Latency]:
    """By runtime: torch, and that of each exported file by its format's name.

    ``images``: square crops, repeated to fill the batch. The runtimes take turns, so that other work on the machine
    slows all of them. ``predictor`` scores single pictures; it is left on the CPU.
    """
    asks: dict[str, Callable[[Pictures], Any]] = {TORCH: partial(_torch, predictor)}
    asks |= {name: FORMATS.find(name).read(file, predictor) for name, file in files.items()}
    for one in predictor.members:
        one.trained.model.cpu()
    found: dict[str, list[float]] = {name: [] for name in asks}
    with _one_thread():
        for count in (1, batch):
            pictures = {size: _bytes(images, size, count) for size in graph.sizes(predictor)}
            seconds = _in_turns({name: partial(ask, pictures) for name, ask in asks.items()})
            for name, values in seconds.items():
                found[name].append(values * 1e3 / count)
    return {name: Latency(alone_ms=alone, batch_ms=many) for name, (alone, many) in found.items()}


def _in_turns(works: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """The median seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(REPEATS + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if number:  # the first one warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def _torch(predictor: Predictor, pictures: Pictures) -> Any:
    with torch.inference_mode():
        logits = [
            member.forward(one, torch.from_numpy(pictures[one.size]).to(torch.float32) / 255)["logit"]
            for one in predictor.members
        ]
        return predictor.combine(logits).numpy()


def _bytes(images: Sequence[Image], size: int, count: int) -> Any:
    """uint8 (count, 3, size, size)."""
    every = np.stack([to_square(image, size).transpose(2, 0, 1) for image in images])
    return np.resize(every, (count, *every.shape[1:]))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
