"""A fast step: nothing in it waits for the device, its layout, overflow of 16 bits, and what is compiled."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor

from semblance.manifests.errors import NotANumberError, SemblanceError
from semblance.training import losses, models, optim, recipes
from semblance.training.loop import machine as machines
from semblance.training.loop.ledger import LOSSES_IN_A_ROW, SKIPS_IN_A_ROW, Ledger
from semblance.training.loop.machine import Machine
from semblance.training.loop.module import DetectorModule
from semblance.training.models.base import Head
from semblance.training.runs import checkpoint, folder
from semblance.training.runs.folder import RunDir
from tests.training import dispatch, golden, runs

pytestmark = pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning")  # as in test_fit.py

SMALL = {
    "resnet50_small": ("model.arch=test_resnet",),
    "efficientnet_b4_small": ("model.arch=test_efficientnet",),
    "f3net_small": ("model.width=0.1", "model.size=64"),
}


def lines(run: Path) -> list[dict[str, Any]]:
    return folder.read_lines(RunDir(run).steps)


class Count(Callback):
    """Counts the operations and waits of every step from its batch to its end, but for those that pull."""

    def __init__(self) -> None:
        self.counts: list[dispatch.Counter] = []
        self._now: dispatch.Counter | None = None

    def on_train_batch_start(self, _: Any, __: Any, ___: Any, batch_idx: int) -> None:
        if 1 <= batch_idx <= 4:  # of six
            self._now = dispatch.Counter()
            self._now.__enter__()

    def on_train_batch_end(self, *_: Any) -> None:
        if self._now is not None:
            self._now.__exit__(None, None, None)
            self.counts.append(self._now)
            self._now = None


@pytest.mark.parametrize("name", SMALL)
def test_a_step_waits_for_nothing(ffpp: Path, tmp_path: Path, name: str) -> None:
    """Forward, backward, optimiser, schedule and average, in Lightning's own loop."""
    torch.set_num_threads(1)
    seen = Count()
    few = ("epochs=1", "ema_decay=0.9", "augment.size=64", "data.batch_size=4", "data.draws=24")
    warmup = ("schedule.warmup_epochs=0",) if name.startswith("resnet") else ()
    recipe = recipes.load(name, (*SMALL[name], *warmup, *few))
    from semblance.training.loop.fit import FitOptions, fit

    options = FitOptions(machine=Machine(accelerator="cpu", workers=0), tracking=None, callbacks=[seen])
    fit([str(ffpp)], recipe, RunDir(tmp_path / "run"), options, say=lambda _: None)
    assert len(seen.counts) == 4
    for count in seen.counts:
        assert {name: n for name, n in count.names.items() if name.startswith(dispatch.WAITS)} == {}
        assert count.waits == 0
        assert count.operations > 100


def test_losses_are_pulled_together_and_each_step_has_its_line(ffpp: Path, tmp_path: Path) -> None:
    """However many steps are pulled together, the lines and weights are the same."""
    results = []
    for every in (1, 3, 100):
        run = tmp_path / str(every)
        runs.train([str(ffpp)], run, "epochs=2", "accumulate=2", "data.batch_size=4", log_every=every, save_every=99)
        results.append((lines(run), checkpoint.load(RunDir(run).last)["model"]))
    (first, weights), *others = results
    assert [line["step"] for line in first] == list(range(1, len(first) + 1))
    for line, other in others:
        assert line == first
        assert all(torch.equal(weights[name], other[name]) for name in weights)


def parts(loss: float, bce: float = 1.0) -> dict[str, Tensor]:
    return {"loss": torch.tensor(loss), "bce": torch.tensor(bce)}


def test_the_ledger_names_the_first_bad_step_and_batch() -> None:
    ledger = Ledger()
    for step, figures in enumerate(((1.0, 2.0), (3.0, math.nan), (math.nan, math.nan))):
        for place, figure in enumerate(figures):
            ledger.add(parts(figure), (f"s{step}b{place}",))
        ledger.close(step, 7)
    with pytest.raises(NotANumberError) as caught:
        ledger.pull()
    assert (caught.value.step, caught.value.epoch, caught.value.sample_ids) == (1, 7, ("s1b1",))


def test_the_ledger_gives_means() -> None:
    ledger = Ledger()
    assert ledger.pull() == []
    for figure in (1.0, 2.0):
        ledger.add(parts(figure, figure * 2), ("a",))
    ledger.close(4, 1, lr=0.5)
    assert ledger
    assert ledger.pull() == [{"step": 5, "epoch": 1, "loss": 1.5, "bce": 3.0, "lr": 0.5}]
    assert not ledger


def _rank(rank: int, folder: Path, answers: Any) -> None:
    """One of two ranks: the second has a loss that is not a number in step 1, and was asked to stop before."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    ledger = Ledger()
    told: list[Any] = []
    ledger.ranks = 2
    for step in range(3):
        ledger.add(parts(math.nan if (rank, step) == (1, 1) else float(rank + step)), (f"r{rank}s{step}",))
        ledger.close(step, 0)
        try:
            told.append(([row["loss"] for row in ledger.pull(asked=rank == 1)], ledger.asked))
        except NotANumberError as error:
            told.append((error.step, error.sample_ids))
    answers.put((rank, told))
    torch.distributed.destroy_process_group()


def test_ranks_share_means_errors_and_the_wish_to_stop(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    ranks = [context.Process(target=_rank, args=(rank, tmp_path, answers)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    found = dict(answers.get(timeout=60) for _ in ranks)
    for process in ranks:
        process.join()
    assert found[0] == found[1] == [([0.5], 0.5), (1, ("r1s1",)), ([2.5], 0.5)]


def test_an_update_that_is_not_a_number_is_not_saved(ffpp: Path, tmp_path: Path) -> None:
    """Its loss is finite, but its gradient is not. Its checkpoint could never be resumed."""

    class Break(Callback):
        def on_before_optimizer_step(self, _: Any, module: DetectorModule, __: Any) -> None:  # type: ignore[override]
            if module.step == 7:
                next(module.model.parameters()).grad.fill_(float("inf"))

    run, few = tmp_path / "run", ("epochs=2", "clip_norm=null")
    with pytest.raises(SemblanceError, match=r"The update of step 7 \(epoch 1\) is not a number"):
        runs.train([str(ffpp)], run, *few, callbacks=[Break()], save_every=4, log_every=4)
    state = checkpoint.load(RunDir(run).last)
    assert state["step"] == 7
    assert all(torch.isfinite(value).all() for value in state["model"].values())
    assert json.loads((run / "failure.json").read_text())["step"] == 7
    assert len(lines(run)) <= 7
    runs.train([str(ffpp)], run, *few, resume=True)
    assert [line["step"] for line in lines(run)] == list(range(1, 15))


class Scaled(Callback):
    """16 bits' gradient scaler on a CPU, and gradients or losses that overflow at some steps."""

    def __init__(self, bad_loss: tuple[int, ...] = (), bad_gradient: tuple[int, ...] = ()) -> None:
        self.bad_loss, self.bad_gradient = bad_loss, bad_gradient
        self.weights: dict[int, dict[str, Tensor]] = {}
        self.scales: list[float] = []

    def setup(self, trainer: Any, *_: Any, **__: Any) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8, growth_interval=1000)
        trainer.strategy.precision_plugin = MixedPrecision("16-mixed", "cpu", scaler)

    def on_train_batch_start(self, trainer: Any, module: DetectorModule, batch: Any, __: int) -> None:  # type: ignore[override]
        self.scales.append(float(trainer.precision_plugin.scaler.get_scale()))
        self.weights[module.step] = {name: value.clone() for name, value in module.state_dict().items()}
        if module.step in self.bad_loss:
            batch.image_BCHW.fill_(float("inf"))

    def on_after_backward(self, _: Any, module: DetectorModule) -> None:  # type: ignore[override]
        if module.step in self.bad_gradient:
            next(module.model.parameters()).grad.fill_(float("inf"))


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b4", "f3net"])
def test_the_plan_s_recipes_train_in_bfloat16(ffpp: Path, tmp_path: Path, name: str) -> None:
    """As `precision: mixed` is on a GPU that has it: clipping, optimiser and average included."""
    few = ("precision=bf16-mixed", "clip_norm=1.0", "loss.centre.weight=0", "accumulate=1", "optimiser.lr=0.001")
    ended = runs.train([str(ffpp)], tmp_path / "run", *few, "epochs=2", "data.draws=16", name=name)
    assert ended.steps == 4
    assert all(
        torch.isfinite(value).all() for value in checkpoint.load(RunDir(tmp_path / "run").last)["model"].values()
    )


FP16 = ("epochs=2", "ema_decay=0.9", "optimiser.lr=0.001")


def test_a_step_that_overflows_16_bits_leaves_no_trace(ffpp: Path, tmp_path: Path) -> None:
    """A bad loss and a bad gradient: weights, statistics, average and schedule stay; the scale falls."""
    run, bad = tmp_path / "run", Scaled(bad_loss=(4,), bad_gradient=(9,))
    runs.train([str(ffpp)], run, *FP16, callbacks=[bad])
    rows = lines(run)
    assert [row["step"] for row in rows] == list(range(1, 15))
    skipped = [row["step"] for row in rows if row.get("skipped")]
    assert skipped == [5, 10]
    assert rows[4]["loss"] is None
    assert rows[9]["loss"] is not None
    for step in (4, 9):
        before, after = bad.weights[step], bad.weights[step + 1]
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert bad.scales[step + 1] == bad.scales[step] / 2
    assert rows[4]["lr"] == rows[3]["lr"]
    assert rows[5]["lr"] != rows[4]["lr"]
    state = checkpoint.load(RunDir(run).last)
    assert all(torch.isfinite(value).all() for value in state["average"].values())
    assert state["updates"] == 12
    assert state["scaler"]["scale"] == bad.scales[-1]


def test_a_loss_that_overflows_again_and_again_ends_the_run(ffpp: Path, tmp_path: Path) -> None:
    run, bad = tmp_path / "run", Scaled(bad_loss=tuple(range(2, 14)))
    last = 2 + LOSSES_IN_A_ROW - 1
    with pytest.raises(SemblanceError, match=rf"The loss of step {last} \(epoch 1\) is not a number"):
        runs.train([str(ffpp)], run, *FP16, callbacks=[bad], save_every=3)
    assert all(torch.isfinite(value).all() for value in checkpoint.load(RunDir(run).last)["model"].values())


def test_gradients_that_never_fit_end_the_run() -> None:
    ledger = Ledger()
    ledger.scaled = True
    for step in range(SKIPS_IN_A_ROW):
        ledger.add(parts(1.0), ("a",))
        ledger.close(step, 0, skipped=True)
    with pytest.raises(SemblanceError, match="overflow 16 bits at any scale"):
        ledger.pull()


def test_pictures_and_weights_are_channels_last(ffpp: Path, tmp_path: Path) -> None:
    class Look(Callback):
        def on_before_optimizer_step(self, _: Any, module: DetectorModule, __: Any) -> None:  # type: ignore[override]
            for parameter in module.model.parameters():
                assert parameter.grad is not None
                assert parameter.grad.stride() == parameter.stride()

        def on_train_batch_start(self, _: Any, module: DetectorModule, batch: Any, __: int) -> None:  # type: ignore[override]
            assert batch.image_BCHW.is_contiguous(memory_format=torch.channels_last)
            assert module.model.get_parameter("body.3.weight").is_contiguous(memory_format=torch.channels_last)

    runs.train(
        [str(ffpp)], tmp_path / "run", "epochs=1", "schedule.warmup_epochs=0", "data.draws=16", callbacks=[Look()]
    )


@pytest.mark.parametrize("name", ["resnet50_small", "efficientnet_b4_small"])
def test_a_model_is_one_graph(name: str) -> None:
    """No break: ``fullgraph`` raises at one. A compiled model computes the same and keeps the names of its weights."""
    recipe = recipes.load(name, SMALL[name])
    model = models.build(recipe.model, pretrained=False).eval()
    names, image_BCHW = list(model.state_dict()), torch.rand(2, 3, 64, 64)
    expected = model(image_BCHW).logit_B
    torch.compiler.reset()
    model.compile(fullgraph=True, backend="eager")
    assert torch.allclose(model(image_BCHW).logit_B, expected, atol=1e-6)
    model.train()
    model(image_BCHW).logit_B.sum().backward()
    assert list(model.state_dict()) == names
    torch.compiler.reset()


def test_a_compiled_run_saves_plain_weights(ffpp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--compile`` compiles the model and its average, once each; names in checkpoints are as ever."""
    compiled: list[Any] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: compiled.append(type(self)))
    few = ("epochs=1", "schedule.warmup_epochs=0", "data.draws=16", "ema_decay=0.9")
    runs.train([str(ffpp)], tmp_path / "a", *few, compile=True)
    assert compiled == [runs.Tiny, runs.Tiny]
    runs.train([str(ffpp)], tmp_path / "b", *few)
    assert compiled == [runs.Tiny, runs.Tiny]
    ours, theirs = (checkpoint.load(RunDir(tmp_path / name).last) for name in "ab")
    assert ours["model"].keys() == theirs["model"].keys() == runs.Tiny().state_dict().keys()


def test_the_figures_do_not_depend_on_the_batch_of_validation(ffpp: Path, tmp_path: Path) -> None:
    figures = []
    for batch in (1, 7, None):
        run = tmp_path / str(batch)
        runs.train([str(ffpp)], run, "epochs=1", "schedule.warmup_epochs=0", "data.draws=16", val_batch=batch)
        figures += folder.read_lines(RunDir(run).epochs)
    assert all(one == pytest.approx(figures[0], rel=1e-5) for one in figures)


def test_scores_are_not_rounded_to_half_precision() -> None:
    """Of 4,096 different embeddings, bf16 leaves a third; equal ones count half in an AUC."""
    torch.manual_seed(0)
    head = Head(32, 0.0)
    embedding_BD = torch.randn(4096, 32).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        logit_B = head(embedding_BD)
        rounded_B = torch.nn.functional.linear(embedding_BD, head.linear.weight, head.linear.bias)
    assert logit_B.dtype == torch.float32
    assert len(logit_B.unique()) > 4000 > 1500 > len(rounded_B.unique())


def test_the_switches_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """TF32 unless deterministic, in a way that Lightning's own look at it survives."""
    before = torch.get_float32_matmul_precision()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    try:
        Machine(deterministic=True).apply()
        assert torch.get_float32_matmul_precision() == before
        Machine().apply()
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.set_float32_matmul_precision(before)


V2 = {"proc/self/cgroup": "0::/job/step\n"}
V1 = {"proc/self/cgroup": "5:memory:/a\n4:cpu,cpuacct:/docker/x\n"}
QUOTAS: list[tuple[dict[str, str], int]] = [
    ({}, 64),
    (V2, 64),
    (V2 | {"sys/fs/cgroup/job/step/cpu.max": "max 100000\n", "sys/fs/cgroup/job/cpu.max": "350000 100000\n"}, 3),
    (V2 | {"sys/fs/cgroup/job/step/cpu.max": "50000 100000\n"}, 1),
    ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "800000 100000\n"}, 8),
    (V2 | {"sys/fs/cgroup/job/cpu.max": "9900000 100000\n"}, 64),
    (V2 | {"sys/fs/cgroup/job/cpu.max": "nonsense\n"}, 64),
    (
        V1
        | {
            "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "600000\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n",
        },
        6,
    ),
    (V1 | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 2),
    (V1 | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 64),
]


@pytest.mark.parametrize(("files", "expected"), QUOTAS)
def test_workers_respect_the_quota_of_a_cgroup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert machines.cores(tmp_path) == expected


def test_the_plan_s_models_step_in_few_operations() -> None:
    """Optimiser and average of EfficientNet-B4, once 7,106 and 723 operations."""
    recipe = recipes.load("efficientnet_b4", golden.SETTINGS["efficientnet_b4"])
    with torch.device("meta"):
        model = models.build(recipe.model, pretrained=False)
        loss = losses.build(recipe.loss, model)
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in (*model.parameters(), *loss.parameters())]
    optimiser = optim.optimiser(recipe.optimiser, parameters)
    for parameter in parameters:
        parameter.grad = torch.ones(1)
    optimiser.step()
    with dispatch.Counter() as counted:
        optimiser.step()
    assert counted.operations < 20
