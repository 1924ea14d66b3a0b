"""A training run from its recipe to its checkpoints: checked first, then Lightning's loop, resumed exactly."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.strategies import DDPStrategy

from semblance.manifests.config import flatten
from semblance.manifests.errors import SemblanceError
from semblance.training import models
from semblance.training.data import sampling, splits
from semblance.training.loop.callbacks import Keeper
from semblance.training.loop.module import DetectorModule
from semblance.training.loop.powersgd import PowerSGD
from semblance.training.models import Model
from semblance.training.recipes.base import TrainingRecipe
from semblance.training.runs import checkpoint, folder
from semblance.training.runs import tracking as trackers
from semblance.training.runs.folder import RunDir
from semblance.training.runs.tracking import Tracker


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where and how fast: nothing here decides what is learned, but for rounding.

    ``devices``: GPUs, or processes on CPUs; None takes all GPUs, or one process. ``workers``: loader processes for
    each; None leaves a core to the training itself. ``deterministic``: only algorithms that repeat exactly on a GPU.
    ``powersgd``: the rank of the matrices that ranks send instead of gradients, after ``powersgd_after`` steps
    (training/gradients.py): a resumed run with it is near, not equal.
    """

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int | None = None
    nodes: int = 1
    workers: int | None = None
    deterministic: bool = False
    powersgd: int | None = None
    powersgd_after: int = 1000
    save_every: int = 500  # optimiser's steps
    progress: bool = False  # Lightning's bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """How a run ended."""

    run: RunDir
    epochs: int
    steps: int
    best_epoch: int
    best_auc: float | None  # by video, on val
    stopped: bool  # early
    worked: bool  # False: it was finished already
    rank: int = 0


def fit(
    outs: Sequence[str],
    recipe: TrainingRecipe,
    run: RunDir,
    *,
    others: Sequence[str] = (),
    resume: bool = False,
    machine: Machine | None = None,
    tracking: str | None = "sqlite",
    say: Callable[[str], None] = print,
    build: Callable[..., Model] = models.build,
    callbacks: Sequence[Callback] = (),
) -> Fitted:
    """Train ``recipe`` on the train sides of the builds ``outs`` into ``run``, selecting on their val sides.

    ``others`` are builds whose val side is judged every five epochs and never selected on. ``tracking``: ``sqlite`` in
    the run folder, an MLflow address, ``wandb``, or None. With ``resume`` the run goes on from its last checkpoint, and
    what comes equals what would have come. Under several ranks every one calls this alike.

    Raises UsageError and SemblanceError for all that the user can mend, before the first step where it can be known.
    """
    machine = machine or Machine()
    _quiet()
    first = not _launched()
    if first:
        run.check(recipe, resume=resume)
        trackers.check(tracking)
    state = checkpoint.load(run.last) if resume and run.last.exists() else None
    stuff = splits.gather([out.rstrip("/") for out in outs], [out.rstrip("/") for out in others], recipe.data)
    if state is not None:
        splits.check_same(stuff.datasets, state["datasets"], str(run.last))
    if state is not None and (state["place"]["epoch"] >= recipe.epochs or state["progress"]["stopped"]):
        return _finished(run, state)
    workers = _workers(machine, state)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model = build(recipe.model, pretrained=state is None)
        task = DetectorModule(recipe, stuff, model, workers=workers, resume=state)
    keeper = Keeper(run, every=machine.save_every, say=say)
    added = [*callbacks]
    if machine.powersgd is not None and _ranks(machine) > 1:
        done = state["step"] if state else 0
        added.append(PowerSGD(machine.powersgd, after=machine.powersgd_after, step=done))
    trainer = _trainer(recipe, machine, run, say if first else lambda _: None, [keeper, *added])
    tracker = None
    if first:
        run.begin(recipe, stuff.datasets, state["step"] if state else 0)
        say(f"train: {stuff.train.counts}")
        say(f"an epoch: {sampling.describe(stuff.train.units, recipe.data)}")
        for name, chosen in (*stuff.val.items(), *stuff.others.items()):
            say(f"val of {name}: {chosen.counts}")
        tracker = keeper.tracker = _note(run, recipe, stuff, tracking, trainer, workers)
    if state is not None:
        keeper.restore(state["progress"])
        _go_on(trainer, state)
        if trainer.is_global_zero:
            place = state["place"]
            say(f"going on from step {state['step']}, epoch {place['epoch'] + 1}, batch {place['position']}")
    status = "FAILED"
    try:
        trainer.fit(task)
        status = "FINISHED"
    except SystemExit as error:  # Lightning's answer to an interruption
        status = "KILLED"
        raise KeyboardInterrupt from error
    finally:
        if tracker is not None:
            tracker.close(status)
    return Fitted(
        run=run,
        epochs=trainer.current_epoch,
        steps=task.step,
        best_epoch=keeper.best_epoch,
        best_auc=keeper.best[0] if keeper.best is not None else None,
        stopped=keeper.stopped,
        worked=True,
        rank=trainer.global_rank,
    )


def _trainer(
    recipe: TrainingRecipe, machine: Machine, run: RunDir, say: Callable[[str], None], callbacks: list[Callback]
) -> Trainer:
    gpu = _gpu(machine)
    if machine.accelerator == "gpu" and not gpu:
        raise SemblanceError("There is no GPU that torch can use; take --accelerator cpu, or mend the driver.")
    precision = recipe.precision
    if not gpu and precision == "16-mixed":
        precision = "32-true"
        say("16-mixed is for GPUs: this run computes in 32 bits")
    return Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=_devices(machine),
        num_nodes=machine.nodes,
        strategy=DDPStrategy() if _ranks(machine) > 1 else "auto",
        precision=precision,
        max_epochs=recipe.epochs,
        accumulate_grad_batches=recipe.accumulate,
        gradient_clip_val=recipe.clip_norm,
        deterministic=machine.deterministic,
        default_root_dir=run.path,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=machine.progress,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
    )


def _gpu(machine: Machine) -> bool:
    return machine.accelerator != "cpu" and torch.cuda.is_available()


def _devices(machine: Machine) -> int:
    return machine.devices or (torch.cuda.device_count() if _gpu(machine) else 1)


def _ranks(machine: Machine) -> int:
    return _devices(machine) * machine.nodes


def _go_on(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Let Lightning count from the checkpoint's epoch. Its own resumption is not used: it leaves out the schedule by
    the loss on val, and knows no place inside an epoch."""
    counts: Any = trainer.fit_loop.epoch_progress.current
    counts.ready = counts.started = counts.processed = counts.completed = state["place"]["epoch"]
    if state["scaler"]:
        trainer.precision_plugin.load_state_dict(state["scaler"])


def _note(
    run: RunDir,
    recipe: TrainingRecipe,
    stuff: splits.Material,
    tracking: str | None,
    trainer: Trainer,
    workers: int,
) -> Tracker | None:
    """Write run.json, and begin the tracker's run or go on with it."""
    file = run.path / "run.json"
    kind = "wandb_run" if tracking == "wandb" else "mlflow_run"
    ids = {name: value for name, value in folder.read_json(file).items() if name in ("mlflow_run", "wandb_run")}
    tracker = None
    if tracking is not None:
        tracker = trackers.begin(tracking, run.path, f"{recipe.name} {run.path.resolve().name}", ids.get(kind))
        if ids.get(kind) is None:
            tags = {f"fingerprint/{one['name']}": str(one["fingerprint"]) for one in stuff.datasets}
            tags |= {f"version/{package}": version for package, version in folder.versions().items()}
            tracker.describe(dict(flatten(recipe.model_dump(mode="json"))), tags)
        ids[kind] = tracker.run_id
    facts = {
        "versions": folder.versions(),
        "precision": trainer.precision,
        "accelerator": type(trainer.accelerator).__name__,
        "ranks": trainer.world_size,
        "workers": workers,
        "mlflow_run": None,
    } | ids
    folder.write_json(file, facts)
    return tracker


def _workers(machine: Machine, state: Mapping[str, Any] | None) -> int:
    """As asked, else as the checkpoint's, on which the order depends, else the cores that the ranks leave over."""
    if machine.workers is not None:
        return machine.workers
    if state is not None:
        return int(state["place"]["workers"])
    cores = len(os.sched_getaffinity(0))
    ranks = machine.devices or max(torch.cuda.device_count(), 1)
    return min(max(cores // ranks - 1, 1), 16)


def _finished(run: RunDir, state: Mapping[str, Any]) -> Fitted:
    progress = state["progress"]
    return Fitted(
        run=run,
        epochs=state["place"]["epoch"],
        steps=state["step"],
        best_epoch=progress["best_epoch"],
        best_auc=progress["best"][0] if progress["best"] else None,
        stopped=progress["stopped"],
        worked=False,
        rank=int(_launched()),
    )


def _launched() -> bool:
    """Whether this is a rank other than the first, started by Lightning or torchrun: the run folder is the first's."""
    return any(os.environ.get(name, "0") != "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))


def _quiet() -> None:
    """Lightning's advice is for those who write loops."""
    for chatty in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # lightning 2.6 asks torch 2.15 for a tree in a way that this deprecates
    warnings.filterwarnings("ignore", message=".*treespec.*", category=FutureWarning)
