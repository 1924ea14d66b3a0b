"""``training``: from the shards of builds to trained detectors."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import UsageError

if TYPE_CHECKING:
    from semblance.training.inference.video import Scored

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
        from semblance.training.data.peek import peek as look

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
    powersgd_after: Annotated[
        int, typer.Option("--powersgd-after", min=2, help="Steps before which they are not compressed.")
    ] = 1000,
    tracking: Annotated[
        str, typer.Option("--tracking", help="sqlite (in the run folder), an MLflow address, wandb, or none.")
    ] = "sqlite",
) -> None:
    """Train a detector on the train sides of builds, selecting on their val sides; stopped, it goes on exactly."""
    with _extra():
        from semblance.training import recipes
        from semblance.training.loop.fit import Machine
        from semblance.training.loop.fit import fit as train
        from semblance.training.runs import folder as rundir

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
        powersgd_after=powersgd_after,
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


@app.command()
@friendly
def evaluate(
    data: Annotated[list[str], typer.Option("--data", help="The --out of a build; give it several times.")],
    run: Annotated[list[str], typer.Option("--run", help="A run or an ensemble; give it several times.")],
    split: Annotated[str, typer.Option("--split", help="train, val, test or unassigned.")] = "test",
    split_column: Annotated[
        str | None, typer.Option("--split-column", help="The protocol, e.g. split_method. Default: the run's own.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Folder for predictions and pages. Default: evaluation in the last run.")
    ] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Go on though families, people or recordings were trained on.")
    ] = False,
    condition: Annotated[
        list[str] | None,
        typer.Option("--condition", help="NAME=OUT: a build of the same samples to compare with; several times."),
    ] = None,
    robust: Annotated[bool, typer.Option("--robust", help="Also under JPEG and resizing of the crops.")] = False,
    groups: Annotated[
        str | None, typer.Option("--groups", help="A table with group and video_id or target_id: errors by group.")
    ] = None,
    passes: Annotated[
        int, typer.Option("--passes", min=0, help="Of Monte-Carlo dropout, e.g. 100, for risk and coverage.")
    ] = 0,
    cost: Annotated[bool, typer.Option("--cost", help="Also measure time, memory and operations.")] = False,
    draws: Annotated[int, typer.Option("--draws", min=0, help="Bootstrap draws of groups.")] = 2000,
) -> None:
    """Judge one side of builds: predictions as Parquet, figures with intervals, a page as Markdown and HTML."""
    from pathlib import Path

    from semblance.training.evaluation import cost as costs
    from semblance.training.evaluation import evaluate as judging
    from semblance.training.evaluation import fairness, robustness, selective
    from semblance.training.evaluation.report import page

    def say(line: str) -> None:
        print(plain(line), flush=True)

    table = fairness.read(groups) if groups is not None else None
    options = judging.Options(split=split, split_column=split_column, allow_leaks=allow_leaks, draws=draws)
    folder = Path(to) if to is not None else Path(run[-1]) / "evaluation"
    result = judging.evaluate(data, run, options, say=say)
    changes = robustness.builds(result, condition or (), say=say)
    changes += robustness.robustness(result, say=say) if robust else []
    risks, uncertain = selective.measure(result, passes) if passes else ({}, None)
    extras = page.Extras(
        changes=changes,
        fairness=fairness.judge(result, table) if table is not None else (),
        costs=[costs.measure(one) for name, one in result.judges.items() if name == one.name] if cost else (),
        uncertainty=risks,
    )
    judging.write(result, folder, uncertain, {"md": page.markdown(result, extras), "html": page.html(result, extras)})
    print(plain(page.aligned(page.summary(result)), keep_lines=True))
    print(f"predictions.parquet, evaluation.md and evaluation.html: {plain(str(folder))}")


@app.command()
@friendly
def ensemble(
    data: Annotated[list[str], typer.Option("--data", help="A build whose val side it is learned on; several times.")],
    run: Annotated[list[str], typer.Option("--run", help="A run of `training fit`; give it for every member.")],
    to: Annotated[str, typer.Option("--to", help="A new folder for the ensemble.")],
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Go on though val shares families or people with what was trained on.")
    ] = False,
) -> None:
    """Combine runs: three global weights and two temperatures, learned on different families of val."""
    from pathlib import Path

    from semblance.training.ensemble.fit import combine

    made = combine(data, run, Path(to), allow_leaks=allow_leaks, say=lambda line: print(plain(line), flush=True))
    print("weights: " + ", ".join(f"{plain(name)} {weight:.3f}" for name, weight in made.weights.items()))
    for what, found in (("frames", made.frame), ("videos", made.video)):
        loss = "" if found.before is None else f", log loss of held-out folds {found.before:.4f} -> {found.after:.4f}"
        print(f"temperature of {what}: {found.value:.3f}{loss}{f' ({found.note})' if found.note else ''}")
    print(f"{made.families[0]} families of val for the weights, {made.families[1]} for the temperatures: {plain(to)}")


@app.command()
@friendly
def predict(
    video: Annotated[str, typer.Argument(help="A video file.")],
    run: Annotated[str, typer.Option("--run", help="A run or an ensemble.")],
    to: Annotated[str | None, typer.Option("--to", help="A PNG for the judged faces.")] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="How faces are found and cut. Default: as for the run's builds.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Lay key=value over that recipe.")] = None,
    passes: Annotated[int, typer.Option("--passes", min=0, help="Of Monte-Carlo dropout; 0: no uncertainty.")] = 100,
    overlay: Annotated[
        str | None, typer.Option("--overlay", help="An mp4 of the whole video with boxes and verdicts drawn.")
    ] = None,
) -> None:
    """Judge one video: a score for every face over time and for the whole, with probability and uncertainty."""
    from semblance.manifests import storage
    from semblance.quality import codec
    from semblance.training.inference import overlay as overlays
    from semblance.training.inference import predictor
    from semblance.training.inference import video as predict

    if overlay is not None:
        overlays.check(video, overlay)
    if to is not None and not to.lower().endswith(".png"):
        raise UsageError(f"--to {to} must end in .png.")
    one = predictor.load(run)
    made, source = predict.recipe_of(one, recipe, settings or ())
    found = predict.predict(video, one, made, passes=passes)
    for track in found.tracks:
        times = "" if track.first_s is None else f" from {track.first_s:.1f} to {track.last_s:.1f} s"
        print(f"face {track.track}: {_told(track.score)}; {track.pictures} pictures{times}")
    print(f"{plain(video)}: {_told(found.video)}; the largest of {len(found.tracks)} faces over time")
    kind = "calibrated" if one.calibrated else "as trained, not calibrated (an ensemble of one run calibrates it)"
    print(f"probabilities are {kind}; faces cut as for {plain(source)}, {found.rejected} faces or frames left out")
    if found.note:
        print(f"warning: {plain(found.note)}")
    if to is not None:
        storage.write_bytes(to, codec.encode(predict.sheet(found), codec.EncodingConfig(format="png")))
        print(f"faces: {plain(to)}")
    if overlay is not None:
        print(f"overlay of {overlays.write(found, overlay)} frames: {plain(overlay)}")


def _told(score: Scored) -> str:
    spread = "uncertainty unknown" if score.uncertainty is None else f"uncertainty {score.uncertainty:.3f}"
    return f"{score.verdict}, probability of fake {score.probability:.3f}, {spread}, logit {score.logit:.3f}"
