"""What a training step costs beside its arithmetic: ``python -m tests.benchmarks.step`` writes ``STEP.md`` beside it.

Operations are counted below autograd, so a GPU would start about one kernel for each, and several for those on lists of
tensors. A wait is an operation whose result the host needs: there a GPU must first finish all that it was asked before.
Times are of one thread on a CPU: of the optimiser and the average alone, and of whole steps, fed by the loader with one
process, against the same steps on tensors that are already there. Rounds alternate; medians count.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import cv2
import torch
from timm.optim.rmsprop_tf import RMSpropTF
from torch import Tensor, nn
from torch.optim import Adam, AdamW
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from semblance.training import augment, losses, models, optim, recipes
from semblance.training.data import query
from semblance.training.data.loader import EpochConfig, Loader, Transfer, as_floats
from semblance.training.data.worker import SampleTransform
from semblance.training.loop.ledger import Ledger
from semblance.training.records import Batch
from tests.benchmarks import loader as builds
from tests.training import dispatch

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("STEP.md")
PLAN: Final = ("resnet50", "efficientnet_b4", "f3net")
SIDE: Final = 112
BATCH: Final = 4
ROUNDS: Final = 5
STEPS: Final = 6  # of a round


class Training:
    """A step as ``training fit`` makes it, without Lightning's loop."""

    def __init__(self, name: str) -> None:
        self.recipe = recipes.load(name, ("model.pretrained=none", f"augment.size={SIDE}"))
        torch.manual_seed(0)
        self.model = models.build(self.recipe.model, pretrained=False).to(memory_format=torch.channels_last).train()
        self.loss = losses.build(self.recipe.loss, self.model).train()
        self.parameters: list[nn.Parameter] = [*self.model.parameters(), *self.loss.parameters()]
        self.optimiser = optim.optimiser(self.recipe.optimiser, self.parameters)
        self.average = optim.Average(self.model, 0.999)
        self.ledger = Ledger()

    def step(self, batch: Batch, counter: AbstractContextManager[Any] | None = None) -> None:
        """``counter`` sees all but the making of the batch."""
        self.optimiser.zero_grad()
        batch = augment.mix(as_floats(batch), self.recipe.augment, torch.Generator().manual_seed(1))
        with counter or nullcontext():
            parts = self.loss(self.model(batch.image_BCHW), batch)
            self.ledger.add(parts, batch.sample_ids)
            parts["loss"].backward()
            self.finish()
            self.ledger.close(0, 0)

    def finish(self) -> None:
        """The optimiser's step and the average."""
        optim.align_gradients(self.optimiser)
        self.optimiser.step()
        self.average.update_parameters(self.model)


class OneByOne:
    """Optimiser and average as torch and timm have them for a CPU: a loop over tensors."""

    def __init__(self, training: Training) -> None:
        config: Any = training.recipe.optimiser
        kind: Any = {"rmsprop_tf": RMSpropTF, "adamw": AdamW, "adam": Adam}[config.kind]
        self.optimiser = kind(training.parameters, **config.model_dump(exclude={"kind"}), foreach=False)
        self.average = AveragedModel(training.model, multi_avg_fn=get_ema_multi_avg_fn(0.999), use_buffers=True)
        self.model = training.model

    def finish(self) -> None:
        self.optimiser.step()
        self.average.update_parameters(self.model)


def random_batch(size: int = BATCH) -> Batch:
    """uint8 pictures in the order of the loader's."""
    names = tuple(map(str, range(size)))
    image_BCHW = torch.randint(0, 256, (size, SIDE, SIDE, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    target_B: Tensor = torch.arange(size).remainder(2).float()
    none = (0,) * size
    return Batch(image_BCHW=image_BCHW, target_B=target_B, sample_ids=names, video_ids=names, tracks=none, persons=none)


def counts(name: str) -> str:
    """The row of a model of the plan."""
    training, batch = Training(name), random_batch()
    for _ in range(2):
        whole = dispatch.Counter()
        training.step(batch, whole)
    loop = OneByOne(training)
    loop.finish()
    counted, seconds = [], []
    for finish in (loop.finish, training.finish):
        with dispatch.Counter() as count:
            finish()
        counted.append(count)
    for finish in (loop.finish, training.finish):
        seconds.append(_median(finish))
    before, after = counted
    cells = (
        name,
        f"{len(training.parameters)}",
        f"{before.operations:,} ({before.waits:,})",
        f"{after.operations:,} ({after.waits})",
        f"{seconds[0] / seconds[1]:.1f}",
        f"{whole.operations:,} ({whole.waits})",
    )
    return "| " + " | ".join(cells) + " |"


def fed(name: str, out: str) -> str:
    """The row of a small model: how long a step on the loader's batches takes, against one on tensors at hand."""
    training = Training(name)
    transform = SampleTransform(image=augment.build(training.recipe.augment))
    loader = Loader(
        query.select([out], "train"),
        batch=BATCH,
        config=EpochConfig(draws=BATCH * STEPS * (ROUNDS + 2)),
        workers=1,
        transform=transform,
        size=SIDE,
        transfer=Transfer(as_bytes=True),
    )
    batches = iter(loader)
    ready = random_batch()
    training.step(next(batches))
    real, bare = [], []
    for _ in range(ROUNDS):
        real.append(_seconds(training, itertools.islice(batches, STEPS)))
        bare.append(_seconds(training, itertools.repeat(ready, STEPS)))
    ours, theirs = statistics.median(real), statistics.median(bare)
    return f"| {name} | {theirs / STEPS * 1000:.0f} ms | {ours / STEPS * 1000:.0f} ms | {ours / theirs:.2f} |"


def _seconds(training: Training, batches: Iterator[Batch]) -> float:
    start = time.perf_counter()
    for batch in batches:
        training.step(batch)
    training.ledger.pull()
    return time.perf_counter() - start


def _median(work: Callable[[], None]) -> float:
    """CPU seconds."""
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return statistics.median(found)


INTRODUCTION: Final = """# A training step

Made by `python -m tests.benchmarks.step` on one thread of a CPU, batches of 4 at 112 px. Operations, and in brackets
those for whose result a GPU would make the host wait. *One by one*: torch's and timm's own loops over tensors, and
torch's `AveragedModel`; *together*: ours. *A whole step*: forward, loss, backward, optimiser and average.

| model | tensors | optimiser and average, one by one | together | their CPU times' ratio | a whole step |
|---|---|---|---|---|---|
"""
FED: Final = """
A step on the loader's batches (one process, all augmentation) against the same step on a tensor at hand: above 1, the
loader is what is waited for, or takes the processor from the step.

| model | a tensor at hand | the loader's batches | ratio |
|---|---|---|---|
"""


def main() -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    page = INTRODUCTION
    with tempfile.TemporaryDirectory() as folder:
        for line in map(counts, PLAN):
            print(line, flush=True)
            page += line + "\n"
        page += FED
        out = builds.invent(Path(folder))
        for name in PLAN:
            line = fed(f"{name}_small", out)
            print(line, flush=True)
            page += line + "\n"
    TABLE.write_text(page)
    print(f"{TABLE.relative_to(REPOSITORY)} is written")


if __name__ == "__main__":
    main()
