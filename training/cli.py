"""``training``: from the shards of builds to trained detectors."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer

from manifests.console import friendly, plain
from manifests.records import UsageError

app = typer.Typer(
    help="From the shards of builds to trained detectors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """From the shards of builds to trained detectors."""


@contextlib.contextmanager
def _extra() -> Iterator[None]:
    """Say in a sentence that the training libraries are not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(
            f"`training` needs the package {error.name!r}; install its libraries with `pip install semblance[train]`."
        ) from error


class Accelerator(StrEnum):
    """On what a run computes."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


@app.command()
@friendly
def peek(
    data: Annotated[str, typer.Option("--data", help="The --out of a build.")],
    split: Annotated[str, typer.Option("--split", help="train, val, test or unassigned.")] = "train",
) -> None:
    """Stream one split through webdataset, decode every picture, and count it against the manifest."""
    with _extra():
        from training.peek import peek as look

        seen = look(data, split)
    print(
        f"{plain(data)} {split}: {seen.samples} pictures of {seen.listed} rows in {seen.shards} shards, "
        f"{seen.real} real, {seen.fake} fake, {seen.unknown} without a face label, sizes {', '.join(seen.sizes)}"
    )


@app.command()
@friendly
def fit(
    run: Annotated[str, typer.Option("--run", help="Folder of the run: new, or with --resume the one to go on with.")],
    data: Annotated[
        list[str] | None, typer.Option("--data", help="The --out of a build to learn from; give it several times.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="A recipe by name, or a YAML or JSON file. Decides what is learned.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Lay key=value over the recipe, e.g. --set epochs=5.")
    ] = None,
    other: Annotated[
        list[str] | None,
        typer.Option("--other", help="A build whose val side is judged every 5 epochs, and never selected on."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint, exactly.")] = False,
    accelerator: Annotated[Accelerator, typer.Option("--accelerator", help="auto: GPUs where there are.")] = (
        Accelerator.auto
    ),
    devices: Annotated[
        int | None, typer.Option("--devices", min=1, help="GPUs, or processes on CPUs. Default: all GPUs, or 1.")
    ] = None,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines, each started with torchrun.")] = 1,
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, help="Loader processes a device. Default: by the cores.")
    ] = None,
    save_every: Annotated[
        int, typer.Option("--save-every", min=1, help="Steps between two checkpoints inside an epoch.")
    ] = 500,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Only algorithms that repeat exactly on a GPU too; slower.")
    ] = False,
    powersgd: Annotated[
        int | None, typer.Option("--powersgd", min=1, help="Compress gradients between ranks to this rank.")
    ] = None,
    tracking: Annotated[
        str, typer.Option("--tracking", help="sqlite (in the run folder), an MLflow address, or none.")
    ] = "sqlite",
) -> None:
    """Train a detector on the train sides of builds, selecting on their val sides; stopped, it goes on exactly."""
    with _extra():
        from training import recipes, rundir
        from training.fit import Machine
        from training.fit import fit as train

    where = rundir.RunDir(run)
    if resume and recipe is None:
        chosen = where.recipe()
        if settings:
            raise UsageError("A run goes on with its own recipe; leave --set out, or start a new run.")
    elif recipe is None:
        raise UsageError(f"Name a --recipe: {', '.join(recipes.NAMED)}, or a file.")
    else:
        chosen = recipes.load(recipe, settings or ())
    outs, others = list(data or ()), list(other or ())
    if resume and not outs:
        outs, others = where.builds("train"), where.builds("other")
    if not outs:
        raise UsageError("Name at least one build with --data.")
    machine = Machine(
        accelerator=accelerator.value,
        devices=devices,
        nodes=nodes,
        workers=workers,
        deterministic=deterministic,
        powersgd=powersgd,
        save_every=save_every,
        progress=sys.stdout.isatty(),
    )
    try:
        ended = train(
            outs,
            chosen,
            where,
            others=others,
            resume=resume,
            machine=machine,
            tracking=None if tracking == "none" else tracking,
            say=lambda line: print(plain(line), flush=True),
        )
    except KeyboardInterrupt:
        print(f"Interrupted. Go on with: training fit --run {plain(run)} --resume", file=sys.stderr)
        raise SystemExit(130) from None
    if ended.rank:
        return
    auc = "none" if ended.best_auc is None else f"{ended.best_auc:.4f}"
    done = "was finished already" if not ended.worked else "stopped early" if ended.stopped else "is finished"
    print(
        f"{plain(run)} {done}: {ended.epochs} epochs, {ended.steps} steps; best val AUC by video {auc}, of epoch "
        f"{ended.best_epoch + 1}, in {plain(str(where.best))}"
    )
