"""A training run from its recipe to its checkpoints: checks first, then Lightning's loop, resumed exactly."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.strategies import DDPStrategy

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training import models
from semblance.training.data import isolation, lasting, splits
from semblance.training.data.splits import TrainingData
from semblance.training.guard import seen
from semblance.training.loop import origins, terms, tracked
from semblance.training.loop.callbacks import RunRecorder
from semblance.training.loop.machine import Machine
from semblance.training.loop.module import DetectorModule
from semblance.training.loop.powersgd import PowerSGD
from semblance.training.loop.progress import EpochProgress
from semblance.training.loop.tracked import Tracking
from semblance.training.models import Model
from semblance.training.recipes.base import TrainingRecipe
from semblance.training.runs import checkpoint, tracking
from semblance.training.runs.folder import RunDir


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How a run is carried out.

    ``resume`` continues from the run's last checkpoint; the result equals that of an uninterrupted run. ``others`` are
    builds whose val split is evaluated every five epochs, but not used for selection. ``allow_leaks`` and
    ``allow_other_crops`` go on where val shares with train, and where builds are cut by different recipes. ``build``
    makes the model, and ``callbacks`` join Lightning's.
    """

    resume: bool = False
    others: Sequence[str] = ()
    machine: Machine = field(default_factory=Machine)
    tracking: Tracking | None = field(default_factory=Tracking)
    allow_leaks: bool = False
    allow_other_crops: bool = False
    build: Callable[..., Model] = models.build
    callbacks: Sequence[Callback] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """How a run ended."""

    run: RunDir
    epochs: int
    steps: int
    best_epoch: int
    best: tuple[float, float] | None  # on val: AUC by video and negative loss; see ``best_auc``
    labelled: bool = True
    stopped: bool  # early
    worked: bool  # False: the run was already finished
    rank: int = 0

    @property
    def best_auc(self) -> float | None:
        """On val, by video; None for a regime that learns without labels, and before the first epoch."""
        return self.best[0] if self.best is not None and self.labelled else None

    @property
    def told(self) -> str:
        """The figure that the best epoch was chosen by, in words."""
        if self.labelled:
            return f"best val AUC by video {'none' if self.best_auc is None else f'{self.best_auc:.4f}'}"
        return f"lowest val loss {'none' if self.best is None else f'{-self.best[1]:.4f}'}"


def fit(
    outs: Sequence[str],
    recipe: TrainingRecipe,
    run: RunDir,
    options: FitOptions | None = None,
    *,
    say: Callable[[str], None] = print,
) -> Fitted:
    """Train ``recipe`` on the train splits of the builds ``outs``, select on their val splits, and write ``run``.

    With several ranks, each of them calls this function with the same arguments. Raises UsageError and SemblanceError
    for everything that the user can fix, before the first step where possible.
    """
    options = options or FitOptions()
    _quieten_lightning()
    main = _is_main_rank()
    if main:
        run.check(recipe, resume=options.resume)
        tracking.check(options.tracking.address if options.tracking else None)
    state = checkpoint.load(run.last) if options.resume and run.last.exists() else None
    data = _gathered(outs, recipe, options)
    if state is not None:
        splits.check_same(data.datasets, state["datasets"], str(run.last))
        if state["place"]["epoch"] >= recipe.epochs or state["progress"]["stopped"]:
            return _finished(run, recipe, state)
    sources = origins.hashes(recipe)
    if state is not None:
        origins.check_same(sources, state.get("sources", {}), str(run.last))
    data = origins.with_weights(recipe, _isolated(recipe, data, options, state), state)
    if state is None:
        data = origins.like_frozen(recipe, data, options.allow_other_crops)
    module = _module(recipe, data, options, state, run)
    module.sources = sources
    recorder = RunRecorder(run, save_every=options.machine.save_every, log_every=options.machine.log_every, say=say)
    callbacks = [recorder, EpochProgress(say), *options.callbacks, *_powersgd(options.machine, module.step)]
    trainer = _trainer(recipe, options.machine, run, callbacks)
    if main:
        told = terms.lines(recipe, data, options.machine, module.model)  # raises, so before anything is written
        run.begin(recipe, data.datasets, module.step)
        seen.write(run.path / seen.FILE, data.seen or seen.union([]))
        for line in told:
            say(line)
        recorder.tracker = tracked.start(run, module, trainer, told, options.tracking)
        if recorder.tracker is not None:
            say(f"tracked: {recorder.tracker.hint}")
    if state is not None:
        recorder.restore(state["progress"])
        _restore(trainer, state)
        if trainer.is_global_zero:
            place = state["place"]
            say(f"resuming at step {state['step']}, epoch {place['epoch'] + 1}, batch {place['position']}")
    _run(trainer, module, recorder, options.tracking)
    return Fitted(
        run=run,
        epochs=trainer.current_epoch,
        steps=module.step,
        best_epoch=recorder.best_epoch,
        best=recorder.best,
        labelled=recipe.regime.labelled,
        stopped=recorder.stopped,
        worked=True,
        rank=trainer.global_rank,
    )


def prepared(outs: Sequence[str], recipe: TrainingRecipe, options: FitOptions) -> TrainingData:
    """What a new run would be trained and selected on, checked as ``fit`` does before its first step."""
    return _isolated(recipe, _gathered(outs, recipe, options), options, None)


def _gathered(outs: Sequence[str], recipe: TrainingRecipe, options: FitOptions) -> TrainingData:
    builds, others = ([out.rstrip("/") for out in some] for some in (outs, options.others))
    return splits.gather(builds, others, recipe.data, labelled=recipe.regime.labelled)


def _isolated(
    recipe: TrainingRecipe, data: TrainingData, options: FitOptions, state: Mapping[str, Any] | None
) -> TrainingData:
    """The data of the run, checked. A resumed run is allowed what it was allowed when it began."""
    before = seen.of_state(state.get("seen")) if state is not None else None
    found = isolation.isolate(
        data,
        inherited=origins.seen_by_weights(recipe) if before is None else None,
        allow_leaks=options.allow_leaks or isolation.allowed(before, "--allow-leaks"),
        allow_other_crops=options.allow_other_crops or isolation.allowed(before, "--allow-other-crops"),
    )
    return found if before is None else replace(found, seen=seen.union([before, found.seen]))


def _module(
    recipe: TrainingRecipe, data: TrainingData, options: FitOptions, state: Mapping[str, Any] | None, run: RunDir
) -> DetectorModule:
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        if state is None:
            model = options.build(recipe.model, pretrained=True)
        else:
            model = models.based(recipe.model, checkpoint.base(state), run.last, options.build)
        if model.side not in (None, recipe.augment.size):
            raise UsageError(
                f"The frozen part of the model was trained on pictures of {model.side} px, and this recipe has "
                f"{recipe.augment.size}; use --set augment.size={model.side}."
            )
        return DetectorModule(recipe, data, model, machine=options.machine, resume=state)


def _run(trainer: Trainer, module: DetectorModule, recorder: RunRecorder, wished: Tracking | None) -> None:
    status = "FAILED"
    try:
        trainer.fit(module)
        status = "FINISHED"
    except SystemExit as error:  # how Lightning reacts to an interruption
        status = "KILLED"
        raise KeyboardInterrupt from error
    except RuntimeError as error:
        if (died := lasting.death(error)) is not None:
            raise died from error
        raise
    finally:
        if recorder.tracker is not None and wished is not None:
            tracked.end(recorder.tracker, recorder.run, status, wished, recorder.say)


def _trainer(recipe: TrainingRecipe, machine: Machine, run: RunDir, callbacks: list[Callback]) -> Trainer:
    if machine.accelerator == "gpu" and not machine.on_gpu:
        raise SemblanceError("torch cannot use a GPU here; pass --accelerator cpu, or fix the driver.")
    machine.apply()
    return Trainer(
        accelerator="gpu" if machine.on_gpu else "cpu",
        devices=machine.devices_per_node,
        num_nodes=machine.nodes,
        strategy=DDPStrategy(find_unused_parameters=not recipe.regime.labelled) if machine.ranks > 1 else "auto",
        precision=machine.precision(recipe.precision),  # type: ignore[arg-type]
        max_epochs=recipe.epochs,
        accumulate_grad_batches=recipe.accumulate,
        gradient_clip_val=recipe.clip_norm,
        deterministic=machine.deterministic,
        benchmark=machine.on_gpu and not machine.deterministic,
        default_root_dir=run.path,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,  # EpochProgress says how far an epoch is
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
    )


def _powersgd(machine: Machine, step: int) -> list[PowerSGD]:
    if machine.powersgd is None or machine.ranks == 1:
        return []
    return [PowerSGD(machine.powersgd, after=machine.powersgd_after, step=step)]


def _restore(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Make Lightning count from the checkpoint's epoch.

    Its own way to resume is not used: it does not restore a schedule that follows the val loss, and cannot start
    inside an epoch.
    """
    counts: Any = trainer.fit_loop.epoch_progress.current
    counts.ready = counts.started = counts.processed = counts.completed = state["place"]["epoch"]
    if state["scaler"]:
        trainer.precision_plugin.load_state_dict(state["scaler"])


def _finished(run: RunDir, recipe: TrainingRecipe, state: Mapping[str, Any]) -> Fitted:
    progress = state["progress"]
    return Fitted(
        run=run,
        epochs=state["place"]["epoch"],
        steps=state["step"],
        best_epoch=progress["best_epoch"],
        best=tuple(progress["best"]) if progress["best"] else None,
        labelled=recipe.regime.labelled,
        stopped=progress["stopped"],
        worked=False,
        rank=int(not _is_main_rank()),
    )


def _is_main_rank() -> bool:
    """Whether this is the first rank, which writes the run folder, by the environment of Lightning or torchrun."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))


def _quieten_lightning() -> None:
    """Silence its advice, which is for those who write training loops."""
    for logger in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    # lightning 2.6 asks torch 2.15 for a tree in a way that this deprecates
    warnings.filterwarnings("ignore", message=".*treespec.*", category=FutureWarning)
    # parts that are not trained stay in eval mode
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode", category=UserWarning)
