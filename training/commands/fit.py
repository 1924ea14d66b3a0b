"""``training fit``: train a run."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import UsageError
from semblance.training.commands.output import libraries, say


class Accelerator(StrEnum):
    """What a run computes on."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


@friendly
def fit(
    run: Annotated[str, typer.Option("--run", help="Folder of the run: a new one, or with --resume an existing one.")],
    data: Annotated[
        list[str] | None, typer.Option("--data", help="Build folder or s3:// prefix; repeat for several.")
    ] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", help="Recipe, by name or as a YAML or JSON file.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override a recipe value by key=value, e.g. --set epochs=5.")
    ] = None,
    other: Annotated[
        list[str] | None, typer.Option("--other", help="Build whose val split is only reported on, every 5 epochs.")
    ] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Continue although val overlaps with what is trained on.")
    ] = False,
    allow_other_crops: Annotated[
        bool, typer.Option("--allow-other-crops", help="Continue although builds are cut by different recipes.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume exactly from the run's last checkpoint.")] = False,
    accelerator: Annotated[Accelerator, typer.Option("--accelerator", help="auto: GPUs if any.")] = Accelerator.auto,
    devices: Annotated[
        int | None, typer.Option("--devices", min=1, help="GPUs, or processes on CPUs. Default: all GPUs, or 1.")
    ] = None,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines, each started with torchrun.")] = 1,
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, help="Loader processes per device. Default: by the cores.")
    ] = None,
    val_batch: Annotated[
        int | None, typer.Option("--val-batch", min=1, help="Units per device in validation. Default: 4 x training's.")
    ] = None,
    log_every: Annotated[
        int, typer.Option("--log-every", min=1, help="Steps whose losses are fetched, checked and written together.")
    ] = 10,
    save_every: Annotated[
        int, typer.Option("--save-every", min=1, help="Steps between two checkpoints inside an epoch.")
    ] = 500,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Use only algorithms that also repeat exactly on a GPU; slower.")
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the model with torch.compile, which takes minutes at the start.")
    ] = False,
    powersgd: Annotated[
        int | None, typer.Option("--powersgd", min=1, help="Compress gradients between ranks to this matrix rank.")
    ] = None,
    powersgd_after: Annotated[
        int, typer.Option("--powersgd-after", min=2, help="Steps before gradients are compressed.")
    ] = 1000,
    tracking: Annotated[
        str, typer.Option("--tracking", help="mlflow (a store beside the run), an MLflow address, wandb, or none.")
    ] = "mlflow",
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="Experiment of the tracker. Default: by the datasets' names.")
    ] = None,
    track_checkpoint: Annotated[
        bool, typer.Option("--track-checkpoint", help="Also copy the best checkpoint to the tracker.")
    ] = False,
) -> None:
    """Train on the train splits of builds and select on their val splits.

    An interrupted run can be resumed exactly.
    """
    with libraries():
        from semblance.training import recipes
        from semblance.training.loop import fit as loop
        from semblance.training.loop.machine import Machine
        from semblance.training.loop.tracked import Tracking
        from semblance.training.runs.folder import RunDir

    folder = RunDir(run)
    if resume and recipe is None:
        training_recipe = folder.recipe()
        if settings:
            raise UsageError("A resumed run keeps its own recipe; leave out --set, or start a new run.")
    elif recipe is None:
        raise UsageError(f"Choose a --recipe: {', '.join(recipes.NAMED)}, or a file.")
    else:
        training_recipe = recipes.load(recipe, settings or ())
    outs, others = list(data or ()), list(other or ())
    if resume and not outs:
        outs, others = folder.builds("train"), folder.builds("other")
    if not outs:
        raise UsageError("Name at least one build with --data.")
    machine = Machine(
        accelerator=accelerator.value,
        devices=devices,
        nodes=nodes,
        workers=workers,
        deterministic=deterministic,
        compile=compiled,
        powersgd=powersgd,
        powersgd_after=powersgd_after,
        save_every=save_every,
        log_every=log_every,
        val_batch=val_batch,
    )
    wished = Tracking(address=tracking, experiment=experiment, checkpoint=track_checkpoint)
    options = loop.FitOptions(
        resume=resume,
        others=others,
        machine=machine,
        tracking=None if tracking == "none" else wished,
        allow_leaks=allow_leaks,
        allow_other_crops=allow_other_crops,
    )
    try:
        fitted = loop.fit(outs, training_recipe, folder, options, say=say)
    except KeyboardInterrupt:
        print(f"Interrupted. Resume with: training fit --run {plain(run)} --resume", file=sys.stderr)
        raise SystemExit(130) from None
    if fitted.rank:
        return
    status = "was already finished" if not fitted.worked else "stopped early" if fitted.stopped else "finished"
    print(
        f"{plain(run)} {status} after {fitted.epochs} epoch{'s' if fitted.epochs != 1 else ''}, {fitted.steps} steps; "
        f"{fitted.told} (epoch {fitted.best_epoch + 1}): {plain(str(folder.best))}"
    )
