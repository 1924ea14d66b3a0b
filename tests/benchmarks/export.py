"""Exported runs against torch, and Monte-Carlo dropout against one prediction: ``python -m tests.benchmarks.export``.

The plan's three models in full size with random weights, each alone on one thread; milliseconds of processor time a
picture. Runtimes take turns in every round; medians count. Writes EXPORT.md.
"""

from __future__ import annotations

import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from semblance.training import models, recipes
from semblance.training.export import FORMATS, graph
from semblance.training.inference import mc_dropout
from semblance.training.inference.member import Member, forward
from semblance.training.inference.predictor import Predictor
from semblance.training.runs.checkpoint import Trained

NAMES: Final = ("resnet50", "efficientnet_b4", "f3net")
RUNTIMES: Final = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "torchscript": "TorchScript"}
BATCHES: Final = (1, 8)
ROUNDS: Final = 3
PASSES: Final = 100
PAGE: Final = Path(__file__).with_name("EXPORT.md")
_HEAD: Final = """\
# Exports: latency, and the cost of uncertainty

Made by `python -m tests.benchmarks.export` on {machine}. The plan's models in full size with random weights, one
thread, milliseconds of processor time a picture; runtimes take turns in each of {rounds} rounds, and medians count.
*Mirrored*: EfficientNet-B4's recipe asks for the mirror image too, so each of its pictures is two. In brackets: torch's
time divided by it.

| model | batch | torch | {runtimes} |
|---|---|---|{rule}|
"""
_PASSES: Final = """
Uncertainty of a batch of 8 pictures by {passes} passes of Monte-Carlo dropout, against the prediction alone. Before,
F3-Net ran as a whole in each pass: {passes} times its prediction.

| model | prediction, ms a picture | with {passes} passes | times |
|---|---|---|---|
"""


def random_run(name: str) -> Predictor:
    """A run of a recipe without training."""
    recipe = recipes.load(name, ["model.pretrained=none"])
    torch.manual_seed(0)
    trained = Trained(model=models.build(recipe.model).eval(), recipe=recipe, datasets=[], epoch=0, step=0, figures={})
    member = Member(name=name, sha256=name, file=Path(), trained=trained, mirror=recipe.tta == "mirror")
    return Predictor(name=name, path=Path(), members=(member,), weights=(1.0,))


def asks(one: Predictor, folder: Path) -> dict[str, Callable[[Any], Any]]:
    """By runtime: what answers bytes (B, 3, S, S) with logits."""
    (member,) = one.members

    def torch_itself(bytes_BCSS: Any) -> Any:
        with torch.inference_mode():
            return forward(member, torch.from_numpy(bytes_BCSS).float() / 255)["logit"].numpy()

    found: dict[str, Callable[[Any], Any]] = {"torch": torch_itself}
    for name in RUNTIMES:
        file = folder / f"{one.name}{FORMATS[name].suffix}"
        FORMATS[name].write(one, file)
        ask = FORMATS[name].read(file, one)
        found[name] = lambda bytes_BCSS, ask=ask: ask({member.size: bytes_BCSS})  # type: ignore[misc]
    return found


def spent(work: Callable[[], object]) -> float:
    """Seconds of processor time of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def latency_rows(one: Predictor, folder: Path) -> list[str]:
    rows, answers = [], asks(one, folder)
    (size,) = graph.sizes(one)
    for batch in BATCHES:
        pictures = np.random.default_rng(0).integers(0, 256, (batch, 3, size, size), np.uint8)
        for ask in answers.values():
            ask(pictures)
        seconds: dict[str, list[float]] = {name: [] for name in answers}
        for _ in range(ROUNDS):
            for name, ask in answers.items():
                seconds[name].append(spent(partial(ask, pictures)))
        ms = {name: statistics.median(times) * 1e3 / batch for name, times in seconds.items()}
        cells = [f"{ms[name]:.0f} ({ms['torch'] / ms[name]:.1f})" for name in RUNTIMES]
        what = f"{one.name}, {size} px{', mirrored' if one.members[0].mirror else ''}"
        rows.append(f"| {what} | {batch} | {ms['torch']:.0f} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    return rows


def passes_row(one: Predictor) -> str:
    (member,) = one.members
    image = torch.rand(8, 3, member.size, member.size)
    with torch.inference_mode():
        alone = statistics.median(spent(lambda: forward(member, image)) for _ in range(ROUNDS)) / 8
        drawn = mc_dropout.forward(PASSES)
        many = statistics.median(spent(lambda: drawn(member, image)) for _ in range(ROUNDS)) / 8
    row = f"| {one.name} | {alone * 1e3:.0f} | {many * 1e3:.0f} | {many / alone:.2f} |"
    print(row, flush=True)
    return row


def machine() -> str:
    """The processor's name and the version of torch."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())
    return f"one core ({model}), torch {torch.__version__}"


def main() -> None:
    torch.set_num_threads(1)
    latency: list[str] = []
    uncertain: list[str] = []
    for name in NAMES:
        one = random_run(name)
        with tempfile.TemporaryDirectory() as folder:
            latency += latency_rows(one, Path(folder))
        if mc_dropout.has_dropout(one):
            uncertain.append(passes_row(one))
    head = _HEAD.format(
        machine=machine(), rounds=ROUNDS, runtimes=" | ".join(RUNTIMES.values()), rule="|".join(["---"] * len(RUNTIMES))
    )
    page = head + "\n".join(latency) + "\n" + _PASSES.format(passes=PASSES) + "\n".join(uncertain) + "\n"
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
