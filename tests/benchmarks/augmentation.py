"""CPU time of augmentation: in the workers alone, and in the workers and on the device, in turns in one process.

Called by ``python -m tests.benchmarks.loader``, which writes LOADER.md.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch

from semblance.quality.resize import to_square
from semblance.training import augment, recipes
from semblance.training.augment import mixing
from semblance.training.data import query, reader
from semblance.training.data.loader import as_floats
from semblance.training.data.shards import Shard
from semblance.training.data.worker import SampleTable, SampleTransform
from semblance.training.records import Batch
from tests.benchmarks import measure

RECIPES: Final = ("resnet50", "efficientnet_b4", "f3net")
PICTURES, BATCH, ROUNDS = 960, 32, 5
# Milliseconds a picture on the machine of the first measurement, all in the workers and what was wished of them with a
# device; only their ratio can be compared with another machine's.
BEFORE: Final = {"resnet50": (3.88, 1.7), "efficientnet_b4": (6.27, 2.8), "f3net": (5.78, 2.3)}
Stored = tuple[str, reader.Members, Shard, float]  # name, members, shard, target
Row = tuple[str, str, str, str]  # what, figure, wished, remark


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One recipe's augmentation in one of its two forms."""

    transform: SampleTransform
    config: augment.AugmentConfig


def demo(folder: Path) -> str:
    """The build of the demo collection: real landmarks, 224 px, some 20 kB a picture."""
    data, out = folder / "data", folder / "out"
    measure.seconds("ingest", "demo", "--dataset", "dfdc", "--to", str(data))
    build = ("--root", str(data), "--out", str(out), "--recipe", str(data / "recipe.yaml"))
    measure.seconds("ingest", "build", "--dataset", "dfdc", *build)
    return str(out)


def rows(out: str) -> Iterator[Row]:
    """Milliseconds of CPU a picture for decoding and for each of the plan's recipes, on one thread."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    stored = _stored(out)
    size = statistics.fmean(len(members["jpg"]) for _, members, _, _ in stored) / 1e3
    forms = {(name, on): _form(name, on) for name in RECIPES for on in ("workers", "device")}
    timed: dict[str, Callable[[], object]] = {"decode": partial(_worked, stored, SampleTransform(), 224)}
    for (name, on), form in forms.items():
        timed[f"{name} {on}"] = partial(_worked, stored, form.transform, form.config.size)
        if on == "device":
            batches = _batches(stored, form)
            timed[f"{name} batches"] = partial(_augmented, batches, form.config)
            timed[f"{name} floats"] = partial(_floats, batches)
    cost = _interleaved(timed)
    about = f"{len(stored)} crops of 224 px, {size:.0f} kB on average; medians of {ROUNDS} rounds in turns"
    yield "decoding alone", f"{cost['decode']:.2f} ms", "", about
    for name in RECIPES:
        yield from _recipe_rows(name, cost)
    yield _mixing_row()


def _recipe_rows(name: str, cost: dict[str, float]) -> Iterator[Row]:
    whole, part = cost[f"{name} workers"], cost[f"{name} device"]
    before, wished = BEFORE[name]
    yield f"{name}, all in the workers", f"{whole:.2f} ms", "", f"{1e3 / whole:.0f} pictures a second and thread"
    ratio = f"at most {wished / before:.2f} of the line above"
    yield (
        f"{name}, on a device: what the workers do",
        f"{part:.2f} ms ({part / whole:.2f})",
        ratio,
        f"{1e3 / part:.0f} pictures a second and thread",
    )
    device = cost[f"{name} batches"] - cost[f"{name} floats"]
    yield f"{name}, on a device: the rest, on a CPU", f"{device:.2f} ms", "", "one thread; no GPU has been measured"


def _mixing_row() -> Row:
    """What CutMix and MixUp draw on the host; the masks and the blending of pixels are the device's."""
    config = recipes.load("resnet50").augment

    def drawn() -> None:
        for seed in range(200):
            mixing.draw(BATCH, 224, 224, config, np.random.default_rng(seed))

    took = _median(drawn) / 200 * 1e3
    remark = f"{BATCH} pictures of 224 px; 1.5 ms and 6.4 MB to send when the host made masks, 768 bytes now"
    return "CutMix and MixUp, drawn on the host for a step", f"{took:.2f} ms", "about 0.1 ms", remark


def _form(name: str, on: str) -> Form:
    config = recipes.load(name, [f"augment.on={on}"]).augment
    forges = config.self_blend.p > 0
    transform = SampleTransform(
        image=augment.build(config),
        forge=augment.forge(config) if forges else None,
        landmarks=forges or config.policy.p > 0,
        draws=augment.Draws(config) if on == "device" else None,
    )
    return Form(transform=transform, config=config)


def _stored(out: str) -> list[Stored]:
    """Encoded pictures of the train split, with their targets."""
    selection = query.select([out], "train")
    table = SampleTable(selection)
    targets = dict(zip(table.sample_P.to_pylist(), table.target_P.tolist(), strict=True))
    found = [
        (name, members, shard, targets[name])
        for shard in selection.shards
        for name, members in reader.read(shard)
        if name in targets
    ]
    return found[:PICTURES]


def _worked(stored: Sequence[Stored], transform: SampleTransform, size: int) -> None:
    """What a worker does to pictures."""
    for name, members, shard, target in stored:
        image, _ = transform.apply(name, members, shard, f"0-0-0-{name}", target)
        to_square(image, size)
        if transform.draws is not None:
            transform.draws(f"0-0-0-{name}")


def _batches(stored: Sequence[Stored], form: Form) -> list[Batch]:
    """All pictures, as they come from the workers; the encoders do not matter here."""
    assert form.transform.draws is not None
    made = []
    for first in range(0, len(stored), BATCH):
        part = stored[first : first + BATCH]
        images = np.stack([to_square(reader.picture(*one[:3]), form.config.size) for one in part])
        draws = np.stack([form.transform.draws(f"0-0-0-{one[0]}") for one in part])
        bytes_BCHW = torch.from_numpy(images).permute(0, 3, 1, 2)
        names, numbers = tuple(one[0] for one in part), (0,) * len(part)
        made.append(
            Batch(
                image_BCHW=bytes_BCHW,
                target_B=torch.zeros(len(part)),
                draws_BK=torch.from_numpy(draws),
                sample_ids=names,
                video_ids=names,
                tracks=numbers,
                persons=numbers,
            )
        )
    return made


def _floats(batches: Sequence[Batch]) -> None:
    for batch in batches:
        as_floats(batch)


def _augmented(batches: Sequence[Batch], config: augment.AugmentConfig) -> None:
    for batch in batches:
        augment.on_device(batch, config)


def _interleaved(timed: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The median of each, in milliseconds of CPU a picture."""
    spent: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(ROUNDS):
        for name, work in timed.items():
            start = time.process_time()
            work()
            spent[name].append((time.process_time() - start) / PICTURES * 1e3)
    return {name: statistics.median(values) for name, values in spent.items()}


def _median(work: Callable[[], object]) -> float:
    spent = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return statistics.median(spent)
