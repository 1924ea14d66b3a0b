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
from semblance.training.guard import crops, seen
from semblance.training.guard.seen import Seen
from semblance.training.loop import terms, tracked
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
    best_auc: float | None  # by video, on val
    stopped: bool  # early
    worked: bool  # False: the run was already finished
    rank: int = 0


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
            return _finished(run, state)
    data = _with_weights(recipe, _isolated(recipe, data, options, state), state)
    if state is None:
        data = _like_frozen(recipe, data, options.allow_other_crops)
    module = _module(recipe, data, options, state, run)
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
        best_auc=recorder.best[0] if recorder.best is not None else None,
        stopped=recorder.stopped,
        worked=True,
        rank=trainer.global_rank,
    )


def prepared(outs: Sequence[str], recipe: TrainingRecipe, options: FitOptions) -> TrainingData:
    """What a new run would be trained and selected on, checked as ``fit`` does before its first step."""
    return _isolated(recipe, _gathered(outs, recipe, options), options, None)


def _gathered(outs: Sequence[str], recipe: TrainingRecipe, options: FitOptions) -> TrainingData:
    return splits.gather([out.rstrip("/") for out in outs], [out.rstrip("/") for out in options.others], recipe.data)


def _isolated(
    recipe: TrainingRecipe, data: TrainingData, options: FitOptions, state: Mapping[str, Any] | None
) -> TrainingData:
    """The data of the run, checked. A resumed run is allowed what it was allowed when it began."""
    before = seen.of_state(state.get("seen")) if state is not None else None
    found = isolation.isolate(
        data,
        inherited=_of_weights(recipe) if before is None else None,
        allow_leaks=options.allow_leaks or isolation.allowed(before, "--allow-leaks"),
        allow_other_crops=options.allow_other_crops or isolation.allowed(before, "--allow-other-crops"),
    )
    return found if before is None else replace(found, seen=seen.union([before, found.seen]))


def _of_weights(recipe: TrainingRecipe) -> Seen | None:
    """What the runs that its weights come from have seen, trained further or not; None if they are of no run."""
    records = [_seen_by(given) for given in _sources(recipe)]
    return seen.union(records) if records else None


def _with_weights(recipe: TrainingRecipe, data: TrainingData, state: Mapping[str, Any] | None) -> TrainingData:
    """The data, and the builds that its weights come from, or came from when a resumed run began."""
    if state is not None:
        more = [record for record in state["datasets"] if record["role"] == "weights"]
    else:
        more = [record for given in _sources(recipe) for record in checkpoint.learned_by(given)]
    return replace(data, datasets=(*data.datasets, *more))


def _like_frozen(recipe: TrainingRecipe, data: TrainingData, allow_other_crops: bool) -> TrainingData:
    """The data, whose crops must be cut like those that a frozen model knows, since it does not learn other ones."""
    frozen = getattr(recipe.model, recipe.model.base_key)
    if recipe.model.base_key == "pretrained" or frozen is None:
        return data
    learned = [record["recipe"] for record in checkpoint.learned_by(frozen) if record.get("recipe")]
    trained = [record for record in data.datasets if record["role"] == "train"]
    cut = [line for one in trained for line in crops.told(str(one["out"]), one.get("recipe"), frozen, learned)]
    if cut and not allow_other_crops:
        raise SemblanceError(
            f"{cut[0]}{isolation.more(len(cut))}, and that model is not trained further; build them by its recipe, or "
            "pass --allow-other-crops."
        )
    notes = [f"allowed with --allow-other-crops: {line}" for line in cut]
    return replace(data, seen=seen.union([data.seen], notes), warnings=(*data.warnings, *notes))


def _sources(recipe: TrainingRecipe) -> list[str]:
    """The files and runs that its weights come from."""
    model = recipe.model
    given = dict.fromkeys([model.pretrained, getattr(model, model.base_key)])
    return [one for one in given if one not in (None, "none", "imagenet")]


def _seen_by(given: str) -> Seen:
    return checkpoint.seen_by(given) or seen.union([], [f"what the weights in {given} were trained on is not known"])


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
        strategy=DDPStrategy() if machine.ranks > 1 else "auto",
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
