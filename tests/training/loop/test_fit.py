"""The training loop: learning, resumption, several ranks, the run folder, and errors."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Callback
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training import losses
from semblance.training.cli import app
from semblance.training.data import loader, query, splits
from semblance.training.guard import seen
from semblance.training.loop import fit, origins
from semblance.training.loop.callbacks import RunRecorder
from semblance.training.loop.fit import FitOptions
from semblance.training.loop.machine import per_rank
from semblance.training.loop.module import DetectorModule
from semblance.training.loop.tracked import Tracking
from semblance.training.metrics import aggregate
from semblance.training.runs import checkpoint
from semblance.training.runs import folder as rundir
from semblance.training.runs.folder import RunDir
from tests.conftest import HANG, REPOSITORY
from tests.training import builds, runs
from tests.training.runs import StopBefore, StoppedError, same

pytestmark = [
    # torch 2.15 warns of more workers than cores: here they are two on any machine
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning:torch.utils.data.dataloader"),
    # lightning 2.6 asks torch 2.15 for a tree in a way that this deprecates
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]


def lines(run: Path) -> list[dict[str, Any]]:
    return rundir.read_lines(RunDir(run).steps)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(RunDir(run).last)["model"]


def child(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tests/training/runs.py in another process."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.runs", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG, check=False)


# Accumulation, an average of the weights, a schedule by step, clipping, mixing: all that has a state.
EVERYTHING = ("accumulate=2", "ema_decay=0.9", "data.batch_size=4")


@pytest.fixture(scope="module")
def uninterrupted(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "uninterrupted"
    runs.train([str(ffpp)], run, *EVERYTHING, workers=2)
    return run


def test_killed_and_resumed_equals_undisturbed(ffpp: Path, uninterrupted: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of the second epoch, three steps after a checkpoint."""
    run = tmp_path / "killed"
    done = child("killed", str(run), str(ffpp), *EVERYTHING)
    assert done.returncode == -9, done.stderr
    state = checkpoint.load(RunDir(run).last)
    assert (state["step"], state["place"]["epoch"]) == (9, 1)
    assert state["place"]["position"] > 0
    before = lines(run)
    assert len(before) > 9
    with RunDir(run).steps.open("a") as file:
        file.write('{"step": 12, "torn')
    messages: list[str] = []
    ended = runs.train([str(ffpp)], run, *EVERYTHING, workers=2, resume=True, say=messages.append)
    assert "resuming at step 9, epoch 2" in " ".join(messages)
    assert ended.worked
    assert lines(run) == lines(uninterrupted)
    assert lines(run)[: len(before)] == before[: len(lines(run))]
    assert rundir.read_lines(RunDir(run).epochs) == rundir.read_lines(RunDir(uninterrupted).epochs)
    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = (checkpoint.load(each / "checkpoints" / name) for each in (run, uninterrupted))
        assert same(ours, theirs)
    again = runs.train([str(ffpp)], run, *EVERYTHING, workers=2, resume=True)
    assert (again.worked, again.steps, again.best_auc) == (False, ended.steps, ended.best_auc)


@pytest.mark.parametrize(
    ("name", "few"),
    [
        ("efficientnet_b4", ("optimiser.lr=0.001",)),
        ("f3net", ("schedule.patience=0", "optimiser.lr=0.1", "augment.on=workers")),
    ],
)
def test_other_schedules_resume_exactly(ffpp: Path, tmp_path: Path, name: str, few: tuple[str, ...]) -> None:
    """By epoch (RMSprop) and by val loss (Adam), stopped at the end of an epoch and inside the next."""
    few = ("epochs=4", "precision=32-true", "loss.centre.weight=0", "accumulate=1", *few)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    runs.train([str(ffpp)], whole, *few, name=name)
    for step in (14, 24):
        with pytest.raises(StoppedError):
            runs.train([str(ffpp)], parts, *few, name=name, callbacks=[StopBefore(step)], resume=step > 14)
    runs.train([str(ffpp)], parts, *few, name=name, resume=True)
    assert lines(parts) == lines(whole)
    assert same(*(checkpoint.load(RunDir(each).last) for each in (parts, whole)))
    rates = [line["lr"] for line in lines(whole)]
    assert rates[0] > rates[-1]


# Each epoch is one step on all data: 60 units in one process, or 30 in each of two that communicate by gloo.
WHOLE = ("data.draws=60", "augment.cutmix.p=0", "augment.mixup.p=0", "epochs=4")


@pytest.fixture(scope="module")
def ranks(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    done = child("ranks", str(folder / "ranks"), str(ffpp), *WHOLE, "data.batch_size=60")
    assert done.returncode == 0, done.stderr
    return folder / "ranks"


def by_rank(run: Path) -> list[dict[str, Any]]:
    """What each rank wrote at the end: its weights and compression rates."""
    return [torch.load(run.with_name(f"{run.name}-rank{rank}.pt"), weights_only=True) for rank in (0, 1)]


def test_two_ranks_equal_one(ffpp: Path, ranks: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    runs.train([str(ffpp)], alone, *WHOLE, "data.batch_size=60", build=runs.plain)
    ours, theirs = lines(ranks), lines(alone)
    assert len(ours) == len(theirs) == 4
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    assert same(*(part["model"] for part in by_rank(ranks)))
    one, two = weights(alone), weights(ranks)
    assert all(torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-4) for name in one)
    for a, b in zip(*(rundir.read_lines(RunDir(run).epochs) for run in (ranks, alone)), strict=True):
        assert a == pytest.approx(b, rel=1e-3)


def test_a_run_goes_on_with_another_number_of_devices(ffpp: Path, tmp_path: Path) -> None:
    """Two of four epochs on one device, two on two: the schedule and what is learned are those of one device."""
    few = (*WHOLE, "data.batch_size=20", "schedule.warmup_epochs=1")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    runs.train([str(ffpp)], whole, *few, build=runs.plain)
    with pytest.raises(StoppedError):
        runs.train([str(ffpp)], parts, *few, build=runs.plain, callbacks=[StopBefore(6)])
    done = child("resumed", str(parts), str(ffpp), *few)
    assert done.returncode == 0, done.stderr
    ours, theirs = lines(parts), lines(whole)
    assert [row["lr"] for row in ours] == [row["lr"] for row in theirs]
    assert len({row["lr"] for row in ours}) > 9
    assert (
        [row["epoch"] for row in ours]
        == [row["epoch"] for row in theirs]
        == [epoch for epoch in range(4) for _ in "abc"]
    )
    with pytest.raises(UsageError, match=r"20 units cannot be shared by 3 devices; use --set data\.batch_size=18"):
        per_rank(20, 3)


def test_two_ranks_stop_together_at_a_signal(ffpp: Path, tmp_path: Path) -> None:
    """SIGTERM to one of them in step 6: both stop after step 8, when losses are fetched, and save it."""
    run, few = tmp_path / "run", ("data.draws=60", "data.batch_size=6", "epochs=2", "schedule.warmup_epochs=1")
    done = child("signalled", str(run), str(ffpp), *few)
    assert done.returncode != 0
    assert "KeyboardInterrupt" in done.stderr, done.stderr
    state = checkpoint.load(RunDir(run).last)
    assert (state["step"], state["place"]["epoch"], state["place"]["position"]) == (8, 0, 8)
    assert [line["step"] for line in lines(run)] == list(range(1, 9))


class Gradients(Callback):
    """Keeps the batches of every step, the weights before it, and its gradients."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.steps: list[tuple[list[Any], dict[str, Any], list[torch.Tensor]]] = []

    def on_train_batch_start(self, _: Any, __: Any, batch: Any, ___: int) -> None:
        self.batches.append(batch)

    def on_before_optimizer_step(self, _: Any, task: DetectorModule, __: Any) -> None:  # type: ignore[override]
        gradients = [parameter.grad.clone() for parameter in task.model.parameters()]
        before = {name: value.clone() for name, value in task.model.state_dict().items()}
        self.steps.append((self.batches, before, gradients))
        self.batches = []


def test_the_last_step_of_an_epoch_has_a_whole_gradient(ffpp: Path, tmp_path: Path) -> None:
    """Five batches, two a step: the gradient of the last step, with one batch, is that batch's."""
    seen = Gradients()
    few = ("data.draws=20", "data.batch_size=4", "accumulate=2", "augment.cutmix.p=0", "augment.mixup.p=0", "epochs=2")
    runs.train([str(ffpp)], tmp_path / "run", *few, "clip_norm=null", build=runs.plain, callbacks=[seen])
    assert [len(batches) for batches, _, _ in seen.steps] == [2, 2, 1, 2, 2, 1]
    model = runs.plain(None, pretrained=False)
    loss = losses.build(runs.recipe(*few).loss, model)
    for batches, before, gradients in seen.steps:
        model.load_state_dict(before)
        total = sum(loss(model(batch.image_BCHW), batch)["loss"] for batch in batches) / len(batches)
        expected = torch.autograd.grad(total, list(model.parameters()))
        for ours, theirs in zip(gradients, expected, strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-7)


def test_compressed_gradients_keep_ranks_equal(ffpp: Path, ranks: Path, tmp_path: Path) -> None:
    """PowerSGD of rank 1: two uncompressed steps equal those without it, and two compressed ones are close to them."""
    run = tmp_path / "powersgd"
    done = child("powersgd", str(run), str(ffpp), *WHOLE, "data.batch_size=60")
    assert done.returncode == 0, done.stderr
    one, two = by_rank(run)
    assert same(one["model"], two["model"])
    assert one["rates"] == two["rates"]
    assert one["rates"][0] > 1.5  # numbers before and after; biases are never compressed
    ours, theirs = ([line["loss"] for line in lines(each)] for each in (run, ranks))
    assert ours[:3] == theirs[:3]
    assert ours[3] != theirs[3]
    assert ours == pytest.approx(theirs, rel=0.02)
    assert not same(one["model"], by_rank(ranks)[0]["model"])


def test_the_files_of_a_run(ffpp: Path, dfdc: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    messages: list[str] = []
    few = ("epochs=5", "data.draws=24", "ema_decay=0.9")
    ended = runs.train([str(ffpp)], run, *few, others=[str(dfdc)], say=messages.append)
    epochs = rundir.read_lines(RunDir(run).epochs)
    assert [row["epoch"] for row in epochs] == [0, 1, 2, 3, 4]
    assert [line["step"] for line in lines(run)] == list(range(1, 16))
    assert ["other/auc_video/dfdc" in row for row in epochs] == [False, False, False, False, True]
    best = max(epochs, key=lambda row: (row["val/auc_video"], -row["val/loss"]))
    kept = checkpoint.load(RunDir(run).best)
    assert (kept["epoch"], kept["figures"]["val/auc_video"]) == (best["epoch"], ended.best_auc)
    assert kept["average"] is not None
    datasets = json.loads((run / "datasets.json").read_text())
    assert [(one["name"], one["role"]) for one in datasets] == [("ffpp", "train"), ("dfdc", "other")]
    assert datasets[0]["methods"] == ["Deepfakes", "FaceSwap", "pristine"]
    assert datasets[0]["fingerprint"] == json.loads((ffpp / "dataset.json").read_text())["fingerprint"]
    assert "have no face label" in messages[0]
    # what it has seen: all of it in the folder, and all but the samples in the checkpoint
    used = query.select([str(ffpp)], "train"), query.select([str(ffpp)], "val", unlabelled=True)
    whole, inside = seen.read(run / seen.FILE), seen.of_state(kept["seen"])
    assert whole is not None
    assert inside is not None
    assert inside.ids.equals(whole.ids.filter(pl.col("kind") != seen.SAMPLE))
    for role, selection in zip(seen.ROLES, used, strict=True):
        for kind, column in ((seen.SAMPLE, "sample_id"), ("video", "video_id"), ("family", "family_id")):
            count = whole.ids.filter(role=role, kind=kind).height
            assert count == selection.pictures[column].n_unique()
    # a run that begins with these weights has seen all that, whatever it is trained on itself
    after = fit._isolated(
        runs.recipe(f"model.pretrained={run}"), splits.gather([str(dfdc)], [], runs.recipe().data), FitOptions(), None
    )
    assert after.seen is not None
    assert inside.ids.join(after.seen.ids, on=inside.ids.columns, how="anti", nulls_equal=True).is_empty()
    learned = origins.with_weights(runs.recipe(f"model.pretrained={run}"), after, None).datasets
    assert [(one["name"], one["role"]) for one in learned] == [("dfdc", "train"), ("ffpp", "weights")]
    assert (
        origins.with_weights(runs.recipe(), after, {"datasets": list(learned)}).datasets == learned
    )  # as when resumed
    splits.check_same(after.datasets, learned, "")
    unknown = origins.seen_by_weights(runs.recipe("model.pretrained=weights.pth"))
    assert unknown is not None
    assert unknown.notes == ("what the weights in weights.pth were trained on is not known",)
    # the figures, recomputed from the best weights by other means
    model = runs.Tiny()
    model.load_state_dict(kept["average"])
    model.eval()
    chosen = query.select([str(ffpp)], "val", unlabelled=True)
    rows = []
    with torch.no_grad():
        for batch in loader.Loader(chosen, batch=16, size=32):
            rows += list(zip(batch.sample_ids, model(batch.image_BCHW).logit_B.tolist(), strict=True))
    table = chosen.pictures.join(pl.DataFrame(rows, schema=["sample_id", "logit"], orient="row"), on="sample_id")
    known = table.filter(pl.col("target").is_not_null())
    assert kept["figures"]["val/auc_frame"] == pytest.approx(roc_auc_score(known["target"], known["logit"]))
    by_video: dict[str, tuple[int, float]] = {}
    for (video, _), part in table.group_by("video_id", "person"):
        label, value = int(part["label"][0]), float(np.mean(part["logit"].to_numpy()))
        by_video[str(video)] = label, max(value, by_video.get(str(video), (0, -np.inf))[1])
    labels, values = zip(*by_video.values(), strict=True)
    assert kept["figures"]["val/auc_video"] == pytest.approx(roc_auc_score(labels, values))


def test_a_run_goes_on_with_what_it_was_allowed(tmp_path: Path) -> None:
    """Two builds, one of which trains on the other's val: refused, allowed once, told in run.json, and resumed."""
    outs = [builds.make(tmp_path / name, builds.Plan(families=2)) for name in ("one", "two")]
    for file in (outs[1] / "plan.parquet", *outs[1].glob("manifests/*/*.parquet")):
        table = pl.read_parquet(file)
        if "split" in table.columns:
            table.with_columns(pl.col("split").replace({"train": "val", "val": "train"})).write_parquet(file)
    named, run, few = [str(out) for out in outs], tmp_path / "run", ("epochs=3", "data.draws=8")
    with pytest.raises(SemblanceError, match=r"videos of val of .* in train of .* too .*--allow-leaks"):
        runs.train(named, run, *few)
    assert not run.exists()
    with pytest.raises(StoppedError):
        runs.train(named, run, *few, allow_leaks=True, callbacks=[StopBefore(2)])
    terms = json.loads((run / "run.json").read_text())["terms"]
    assert any(line.startswith("warning: allowed with --allow-leaks: ") for line in terms)
    assert runs.train(named, run, *few, resume=True).epochs == 3
    kept = seen.of_state(checkpoint.load(RunDir(run).best)["seen"])
    assert kept is not None
    assert all(note.startswith("allowed with --allow-leaks: ") for note in kept.notes)


def test_a_trained_model_is_loaded(dfdc: Path, tmp_path: Path) -> None:
    from semblance.training import models

    run = tmp_path / "run"
    few = ("model.arch=test_resnet", "epochs=2", "data.draws=16")
    runs.train([str(dfdc)], run, *few, build=models.build)
    trained = checkpoint.trained(RunDir(run).best)
    assert trained.recipe == RunDir(run).recipe()
    assert not trained.model.training
    batch = next(iter(loader.Loader(query.select([str(dfdc)], "val"), batch=4, size=32)))
    assert trained.model(batch.image_BCHW).logit_B.shape == (len(batch.sample_ids),)
    assert trained.datasets[0]["dataset"] == "dfdc"


def test_early_stopping_is_reported(ffpp: Path, tmp_path: Path) -> None:
    few = ("epochs=30", "early_stop=2", "optimiser.lr=1.0e-12", "data.draws=16", "schedule.warmup_epochs=0")
    messages: list[str] = []
    ended = runs.train([str(ffpp)], tmp_path / "run", *few, build=runs.plain, say=messages.append)
    assert ended.stopped
    assert ended.epochs == ended.best_epoch + 3 < 30
    assert "stopped" in messages[-1]
    assert not runs.train([str(ffpp)], tmp_path / "run", *few, build=runs.plain, resume=True).worked


def test_it_learns(tmp_path: Path) -> None:
    """The checkerboard in the middle of fakes is learned within a few epochs, and found in unseen families."""
    out = builds.make(tmp_path / "out", builds.Plan(families=12, per_shard=4))
    few = ("epochs=8", "augment.p=0.3", "augment.cutmix.p=0", "augment.mixup.p=0", "data.draws=160")
    ended = runs.train([str(out)], tmp_path / "run", *few)
    assert ended.best_auc is not None
    assert ended.best_auc > 0.9


def test_a_loss_that_is_not_finite_stops_the_run(ffpp: Path, tmp_path: Path) -> None:
    class Break(Callback):
        def on_train_batch_start(self, _: Any, task: DetectorModule, *__: Any) -> None:  # type: ignore[override]
            if task.step == 9:
                with torch.no_grad():
                    next(task.model.parameters()).fill_(float("nan"))

    run = tmp_path / "run"
    with pytest.raises(SemblanceError, match=r"The loss of step 9 \(epoch 1\) is not a number for the samples ffpp-"):
        runs.train([str(ffpp)], run, callbacks=[Break()], save_every=4)
    failure = json.loads((run / "failure.json").read_text())
    assert (failure["step"], len(failure["sample_ids"])) == (9, 8)
    assert all(torch.isfinite(value).all() for value in weights(run).values())
    runs.train([str(ffpp)], run, resume=True)


class Signal(Callback):
    def __init__(self, step: int, number: int) -> None:
        self.step, self.number = step, number

    def on_train_batch_start(self, _: Any, task: DetectorModule, *__: Any) -> None:  # type: ignore[override]
        if task.step == self.step:
            os.kill(os.getpid(), self.number)


def test_a_run_ended_by_a_signal_can_be_resumed(ffpp: Path, tmp_path: Path) -> None:
    """SIGTERM, as a cluster sends it, saves the current step; after SIGINT the last checkpoint counts."""
    run, outs = tmp_path / "run", [str(ffpp)]
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            runs.train(outs, run, callbacks=[Signal(10, signal.SIGTERM)], save_every=99)
        assert checkpoint.load(RunDir(run).last)["step"] == 11
        with pytest.raises(KeyboardInterrupt):
            runs.train(outs, run, callbacks=[Signal(13, signal.SIGINT)], save_every=99, resume=True)
    finally:
        signal.signal(signal.SIGINT, before)
    runs.train(outs, run, resume=True)
    whole = tmp_path / "whole"
    runs.train(outs, whole)
    assert lines(run) == lines(whole)


def test_invalid_input_is_reported_before_a_run_is_created(ffpp: Path, tmp_path: Path) -> None:
    run, outs = tmp_path / "run", [str(ffpp)]
    cases: list[tuple[tuple[str, ...], str]] = [
        (("data.query=blur < 0",), "Split train .* is empty"),
        (("data.query=label = 1",), "no real ones"),
        (("data.query=split = 'train' OR label = 0",), "Split val .* one class only"),
        (("data.split_column=split_method",), "is empty under column split_method"),
        (("data.mix={dfdc: 1}",), "but not ffpp"),
        (("data.draws=0",), "wrong value for 'data.draws'"),
    ]
    for few, words in cases:
        with pytest.raises(SemblanceError, match=words):
            runs.train(outs, run, *few)
        assert not run.exists()
    out = tmp_path / "out"
    shutil.copytree(ffpp, out)
    next((out / "shards" / "val").glob("*.tar")).unlink()
    with pytest.raises(SemblanceError, match="is missing"):
        runs.train([str(out)], run)
    (out / "dataset.json").unlink()
    with pytest.raises(SemblanceError, match="is not finished"):
        runs.train([str(out)], run)
    assert not run.exists()


def test_resuming_with_other_settings_is_refused(ffpp: Path, dfdc: Path, uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    with pytest.raises(UsageError, match="is not empty"):
        runs.train([str(ffpp)], run, *EVERYTHING)
    with pytest.raises(SemblanceError, match=r"another recipe .*optimiser.lr: 0.01 -> 0.02"):
        runs.train([str(ffpp)], run, *EVERYTHING, "optimiser.lr=0.02", resume=True)
    with pytest.raises(
        SemblanceError, match=r"dfdc.* has the fingerprint dfdc-4-3, but .*last.ckpt was not trained with it"
    ):
        runs.train([str(dfdc)], run, *EVERYTHING, resume=True)
    out = tmp_path / "out"
    shutil.copytree(ffpp, out)
    description = json.loads((out / "dataset.json").read_text())
    (out / "dataset.json").write_text(json.dumps(description | {"fingerprint": "another"}))
    with pytest.raises(SemblanceError, match="has the fingerprint another"):
        runs.train([str(out)], run, *EVERYTHING, resume=True)
    with pytest.raises(UsageError, match="is not a run"):
        runs.train([str(ffpp)], tmp_path / "nothing", resume=True)


def test_every_damaged_byte_of_a_checkpoint_is_found(uninterrupted: Path, tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    whole = RunDir(uninterrupted).last.read_bytes()
    for harm in (whole[: len(whole) // 2], whole[:-9], b"", b"nonsense" * 99):
        file.write_bytes(harm)
        with pytest.raises(SemblanceError, match="is damaged"):
            checkpoint.load(file)
    found, original = 0, checkpoint.load(RunDir(uninterrupted).last)
    for place in range(64, len(whole), len(whole) // 24):
        flipped = bytearray(whole)
        flipped[place] ^= 4
        file.write_bytes(flipped)
        try:
            state = checkpoint.load(file)
        except SemblanceError:
            found += 1
        else:  # a byte of padding, which carries no data
            assert same(state, original)
    assert found > 12
    torch.save({"format": 99}, file)
    with pytest.raises(SemblanceError, match="format of checkpoint"):
        checkpoint.load(file)
    with pytest.raises(SemblanceError, match="does not exist"):
        checkpoint.load(tmp_path / "none.ckpt")


def test_a_failed_write_keeps_the_previous_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    checkpoint.save(file, {"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # a disk that is full, but for 4 KiB
    try:
        with pytest.raises(SemblanceError, match=r"last\.ckpt cannot be written .*--resume"):
            checkpoint.save(file, {"step": 2, "model": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.load(file, weights_only=True)["step"] == 1
    assert list(tmp_path.iterdir()) == [file]


class Interrupted(io.BytesIO):
    """A file that is interrupted after some bytes."""

    def write(self, data: Any) -> int:
        written = super().write(data)
        if self.tell() > 4096:
            raise KeyboardInterrupt
        return written


def test_an_interruption_of_a_write_is_not_called_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "semblance.training.runs.checkpoint.storage.writing", lambda *_: contextlib.nullcontext(Interrupted())
    )
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path / "last.ckpt", {"step": 2, "model": torch.zeros(10_000)})


@given(rows=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2), st.floats(-9, 9)), min_size=1, max_size=50))
@settings(max_examples=30)
def test_scores_of_persons_and_videos(rows: list[tuple[int, int, float]]) -> None:
    table = pl.DataFrame(
        [(f"v{video}", person, logit) for video, person, logit in rows],
        schema={"video_id": pl.String, "person": pl.Int16, "logit": pl.Float64},
        orient="row",
    )
    groups: dict[str, dict[int, list[float]]] = {}
    for video, person, logit in rows:
        groups.setdefault(f"v{video}", {}).setdefault(person, []).append(logit)
    expected = {video: max(float(np.mean(part)) for part in parts.values()) for video, parts in groups.items()}
    assert dict(aggregate.videos(table).select("video_id", "logit").iter_rows()) == pytest.approx(expected)
    assert aggregate.persons(table)["pictures"].sum() == len(rows)


def test_auc_equals_sklearn_and_is_none_with_one_class() -> None:
    labels, values = pl.Series([0, 1, None, 1, 0]), pl.Series([0.1, 0.4, 0.9, 0.3, 0.35])
    assert aggregate.auc(labels, values) == roc_auc_score([0, 1, 1, 0], [0.1, 0.4, 0.3, 0.35])
    assert aggregate.auc(pl.Series([1, 1, None]), pl.Series([0.1, 0.2, 0.3])) is None


def test_the_command(ffpp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the recipe to MLflow's store, and every kind of wrong usage."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    torch.set_num_threads(1)
    run = tmp_path / "run"
    words = ["fit", "--data", str(ffpp), "--recipe", "resnet50_small", "--run", str(run), "--workers", "0"]
    few = ["model.arch=test_resnet", "augment.size=32", "data.draws=24", "epochs=2", "data.batch_size=8"]
    for setting in few:
        words += ["--set", setting]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "finished after 2 epochs, 6 steps; best val AUC by video" in done.output
    done = CliRunner().invoke(app, ["fit", "--run", str(run), "--resume"])
    assert "was already finished after 2 epochs" in done.output
    store = sqlite3.connect(tmp_path / "mlflow.db")
    try:
        steps = store.execute("SELECT step, value FROM metrics WHERE key = 'train/loss' ORDER BY step").fetchall()
        tags = dict(store.execute("SELECT key, value FROM tags").fetchall())
        parameters = dict(store.execute("SELECT key, value FROM params").fetchall())
    finally:
        store.close()
    assert steps == [(line["step"], line["loss"]) for line in lines(run)]
    assert tags["fingerprint/ffpp"] == json.loads((ffpp / "dataset.json").read_text())["fingerprint"]
    assert parameters["model.arch"] == "test_resnet"
    for wrong, code, sentence in (
        (["--run", str(run)], 2, "Choose a --recipe"),
        (["--run", str(run), "--recipe", "resnet50"], 2, "Name at least one build"),
        (["--run", str(run), "--recipe", "nope", "--data", str(ffpp)], 2, "Unknown recipe 'nope'"),
        (["--run", str(run), "--resume", "--set", "epochs=9"], 2, "its own recipe"),
        (["--run", str(tmp_path / "no"), "--resume"], 2, "is not a run"),
        (["--run", str(run), "--recipe", "resnet50_small", "--data", str(ffpp)], 2, "is not empty"),
    ):
        done = CliRunner().invoke(app, ["fit", *wrong])
        assert (done.exit_code, sentence in done.output) == (code, True), done.output
        assert done.output.count("\n") == 1


def test_weights_and_biases_offline(ffpp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it is installed, its file holds every loss; else the run is refused before its folder is created."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    run, few = tmp_path / "run", ("epochs=2", "data.draws=16")
    if importlib.util.find_spec("wandb") is None:
        with pytest.raises(UsageError, match="needs the package wandb"):
            runs.train([str(ffpp)], run, *few, tracking=Tracking(address="wandb"))
        assert not run.exists()
        return
    runs.train([str(ffpp)], run, *few, tracking=Tracking(address="wandb"))
    (file,) = (run / "wandb").glob("offline-run-*/*.wandb")
    written = file.read_bytes()
    assert json.loads((run / "run.json").read_text())["tracking"]["run_id"] in file.name
    for name in ("train/loss", "val/auc_video", "optimiser.lr", "fingerprint/ffpp"):
        assert name.encode() in written
    assert all(str(line["loss"]).encode() in written for line in lines(run))


def test_a_recorder_is_restored(tmp_path: Path) -> None:
    recorder = RunRecorder(RunDir(tmp_path), save_every=1, say=print)
    recorder.restore({"best": [0.9, -0.1], "best_epoch": 3, "stopped": True})
    assert (recorder.best, recorder.best_epoch, recorder.stopped) == ((0.9, -0.1), 3, True)
