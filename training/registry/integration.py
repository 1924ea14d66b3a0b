"""Whether a fetched package does here what it did where it was made: its answers, OpenVINO's graphs, its time."""

from __future__ import annotations

import math
import statistics
import time
from typing import Final

import polars as pl

from semblance.training.export import features
from semblance.training.inference.predictor import Predictor
from semblance.training.registry import reference
from semblance.training.registry.gates import Integration, Judged, within
from semblance.training.registry.records import Package

_REPEATS: Final = 5


def judge(gates: Integration, package: Package) -> list[Judged]:
    """Every gate of integration on a verified package."""
    predictor = package.predictor
    off = reference.difference(predictor, package.folder / reference.FILE)
    found = [within("largest difference of a logit from the run's", off, at_most=gates.answers)]
    for member, file in zip(predictor.members, package.features, strict=True):
        if file is not None:
            away = features.difference(member, file, reference.pictures())
            gate = f"largest difference of OpenVINO's features of {member.name} from torch's"
            found.append(within(gate, away, at_most=gates.features))
    if gates.latency_ms is not None:
        gate = "milliseconds for one crop" if _clip(predictor) == 1 else "milliseconds for a crop of one clip"
        found.append(within(gate, latency_ms(predictor), at_most=gates.latency_ms))
    return found


def latency_ms(predictor: Predictor) -> float:
    """The median of five, after a warm-up; of a clip model for each crop of a clip."""
    count = _clip(predictor)
    images = (reference.pictures() * count)[:count]
    rows = [
        {"sample_id": str(place), "video_id": "reference", "person": 0, "track": 0, "frame_index": place}
        for place in range(count)
    ]
    faces = pl.DataFrame(rows)
    times = []
    for _ in range(_REPEATS + 1):
        start = time.perf_counter()
        predictor.logits(images, faces)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]) * 1e3 / count


def _clip(predictor: Predictor) -> int:
    return math.lcm(*(member.clip for member in predictor.members))
