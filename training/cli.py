"""The ``training`` command: from the shards of builds to trained detectors."""

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
    help="Train, combine and evaluate detectors on builds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Train, combine and evaluate detectors on builds."""


@contextlib.contextmanager
def _extra() -> Iterator[None]:
    """Turn a missing training library into an error that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(
            f"`training` needs the package {error.name!r}; install its libraries with `pip install semblance[train]`."
        ) from error


class Accelerator(StrEnum):
    """What a run computes on."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


def _say(line: str) -> None:
    print(plain(line), flush=True)


@app.command()
@friendly
def peek(
    data: Annotated[str, typer.Option("--data", help="Build folder or s3:// prefix.")],
    split: Annotated[str, typer.Option("--split", help="train, val, test or unassigned.")] = "train",
) -> None:
    """Stream one split through webdataset, decode every picture, and count it against the manifest."""
    with _extra():
        from semblance.training.data import peek

        summary = peek.peek(data, split)
    print(
        f"{plain(data)} {split}: {summary.samples} pictures of {summary.listed} rows in {summary.shards} shards, "
        f"{summary.real} real, {summary.fake} fake, {summary.unknown} without a face label, "
        f"sizes {', '.join(summary.sizes)}"
    )


@app.command()
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
    resume: Annotated[bool, typer.Option("--resume", help="Resume exactly from the run's last checkpoint.")] = False,
    accelerator: Annotated[Accelerator, typer.Option("--accelerator", help="auto: GPUs if any.")] = Accelerator.auto,
    devices: Annotated[
        int | None, typer.Option("--devices", min=1, help="GPUs, or processes on CPUs. Default: all GPUs, or 1.")
    ] = None,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines, each started with torchrun.")] = 1,
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, help="Loader processes per device. Default: by the cores.")
    ] = None,
    save_every: Annotated[
        int, typer.Option("--save-every", min=1, help="Steps between two checkpoints inside an epoch.")
    ] = 500,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Use only algorithms that also repeat exactly on a GPU; slower.")
    ] = False,
    powersgd: Annotated[
        int | None, typer.Option("--powersgd", min=1, help="Compress gradients between ranks to this matrix rank.")
    ] = None,
    powersgd_after: Annotated[
        int, typer.Option("--powersgd-after", min=2, help="Steps before gradients are compressed.")
    ] = 1000,
    tracking: Annotated[
        str, typer.Option("--tracking", help="sqlite (in the run folder), an MLflow address, wandb, or none.")
    ] = "sqlite",
) -> None:
    """Train on the train splits of builds and select on their val splits.

    An interrupted run can be resumed exactly.
    """
    with _extra():
        from semblance.training import recipes
        from semblance.training.loop import fit as loop
        from semblance.training.loop.machine import Machine
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
        powersgd=powersgd,
        powersgd_after=powersgd_after,
        save_every=save_every,
        progress=sys.stdout.isatty(),
    )
    options = loop.FitOptions(
        resume=resume, others=others, machine=machine, tracking=None if tracking == "none" else tracking
    )
    try:
        fitted = loop.fit(outs, training_recipe, folder, options, say=_say)
    except KeyboardInterrupt:
        print(f"Interrupted. Resume with: training fit --run {plain(run)} --resume", file=sys.stderr)
        raise SystemExit(130) from None
    if fitted.rank:
        return
    auc = "none" if fitted.best_auc is None else f"{fitted.best_auc:.4f}"
    status = "was already finished" if not fitted.worked else "stopped early" if fitted.stopped else "finished"
    print(
        f"{plain(run)} {status} after {fitted.epochs} epoch{'s' if fitted.epochs != 1 else ''}, {fitted.steps} steps; "
        f"best val AUC by video {auc} (epoch {fitted.best_epoch + 1}): {plain(str(folder.best))}"
    )


@app.command()
@friendly
def evaluate(
    data: Annotated[list[str], typer.Option("--data", help="Build folder or s3:// prefix; repeat for several.")],
    run: Annotated[list[str], typer.Option("--run", help="A run or an ensemble; repeat for several.")],
    split: Annotated[str, typer.Option("--split", help="train, val, test or unassigned.")] = "test",
    split_column: Annotated[
        str | None, typer.Option("--split-column", help="E.g. split_method. Default: that of the first run.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Folder for the results. Default: evaluation in the last run.")
    ] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Continue although the split overlaps with training data.")
    ] = False,
    condition: Annotated[
        list[str] | None, typer.Option("--condition", help="NAME=OUT: a build of the same samples to compare with.")
    ] = None,
    robust: Annotated[
        bool, typer.Option("--robust", help="Also evaluate under JPEG and resizing of the crops.")
    ] = False,
    groups: Annotated[str | None, typer.Option("--groups", help="Table of group and video_id or target_id.")] = None,
    passes: Annotated[
        int, typer.Option("--passes", min=0, help="Passes of Monte-Carlo dropout for risk and coverage, e.g. 100.")
    ] = 0,
    cost: Annotated[bool, typer.Option("--cost", help="Also measure time, memory and operations.")] = False,
    draws: Annotated[int, typer.Option("--draws", min=0, help="Bootstrap draws of groups.")] = 2000,
) -> None:
    """Evaluate runs on one split of builds: predictions as Parquet, figures with intervals, Markdown and HTML pages."""
    from pathlib import Path

    from semblance.training.evaluation import cost as costs
    from semblance.training.evaluation import evaluate as evaluation
    from semblance.training.evaluation import fairness, robustness, selective
    from semblance.training.evaluation.report import page

    table = fairness.read(groups) if groups is not None else None
    options = evaluation.Options(split=split, split_column=split_column, allow_leaks=allow_leaks, draws=draws)
    folder = Path(to) if to is not None else Path(run[-1]) / "evaluation"
    result = evaluation.evaluate(data, run, options, say=_say)
    changes = robustness.builds(result, condition or (), say=_say)
    changes += robustness.robustness(result, say=_say) if robust else []
    risks, uncertainty = selective.measure(result, passes) if passes else ({}, None)
    extras = page.Extras(
        changes=changes,
        fairness=fairness.fairness(result, table) if table is not None else (),
        costs=[costs.measure(predictor) for predictor in result.runs.values()] if cost else (),
        uncertainty=risks,
    )
    pages = {"md": page.markdown(result, extras), "html": page.html(result, extras)}
    evaluation.write(result, folder, uncertainty, pages)
    print(plain(page.aligned(page.summary(result)), keep_lines=True))
    print(f"predictions.parquet, evaluation.md and evaluation.html: {plain(str(folder))}")


@app.command()
@friendly
def ensemble(
    data: Annotated[list[str], typer.Option("--data", help="Build whose val split is used; repeat for several.")],
    run: Annotated[list[str], typer.Option("--run", help="A run of `training fit`; repeat for every member.")],
    to: Annotated[str, typer.Option("--to", help="New folder for the ensemble.")],
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Continue although val overlaps with training data.")
    ] = False,
) -> None:
    """Combine runs: a weight per run and two temperatures, learned on different families of val."""
    from pathlib import Path

    from semblance.training.ensemble.fit import combine

    combined = combine(data, run, Path(to), allow_leaks=allow_leaks, say=_say)
    print("weights: " + ", ".join(f"{plain(name)} {weight:.3f}" for name, weight in combined.weights.items()))
    for level, fitted in (("frames", combined.frame), ("videos", combined.video)):
        loss = (
            "" if fitted.before is None else f", log loss of held-out folds {fitted.before:.4f} -> {fitted.after:.4f}"
        )
        print(f"temperature of {level}: {fitted.value:.3f}{loss}{f' ({fitted.note})' if fitted.note else ''}")
    weighted, calibrated = combined.families
    print(f"{weighted} families of val for the weights, {calibrated} for the temperatures: {plain(to)}")


@app.command()
@friendly
def predict(
    video: Annotated[str, typer.Argument(help="A video file.")],
    run: Annotated[str, typer.Option("--run", help="A run or an ensemble.")],
    to: Annotated[str | None, typer.Option("--to", help="PNG file for the scored faces.")] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="How faces are found and cut. Default: as in the run's builds."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override a value of that recipe by key=value.")
    ] = None,
    passes: Annotated[
        int, typer.Option("--passes", min=0, help="Passes of Monte-Carlo dropout; 0: no uncertainty.")
    ] = 100,
    overlay: Annotated[
        str | None, typer.Option("--overlay", help="mp4 file for the video with boxes and verdicts drawn on it.")
    ] = None,
) -> None:
    """Score one video and every person in it: verdict, probability of fake, and uncertainty."""
    from semblance.manifests import storage
    from semblance.quality import codec
    from semblance.training.inference import overlay as overlays
    from semblance.training.inference import predictor as predictors
    from semblance.training.inference import video as inference

    if overlay is not None:
        overlays.check(video, overlay)
    if to is not None and not to.lower().endswith(".png"):
        raise UsageError(f"--to {to} must end in .png.")
    predictor = predictors.load(run)
    build_recipe, source = inference.recipe_of(predictor, recipe, settings or ())
    prediction = inference.predict(video, predictor, build_recipe, passes=passes)
    for one in prediction.persons:
        tracks = f" of {len(one.tracks)} tracks" if len(one.tracks) > 1 else ""
        times = "" if one.first_s is None else f" from {one.first_s:.1f} to {one.last_s:.1f} s"
        print(f"person {one.person}: {_describe(one.score)}; {one.pictures} pictures{tracks}{times}")
    persons = f"{len(prediction.persons)} person{'s' if len(prediction.persons) != 1 else ''}"
    print(f"{plain(video)}: {_describe(prediction.video)}; the highest of {persons}")
    kind = "calibrated" if predictor.calibrated else "not calibrated (an ensemble, even of one run, calibrates them)"
    rejected = ", ".join(f"{count} {reason}" for reason, count in prediction.rejected.items()) or "none"
    print(f"probabilities are {kind}; faces cut by the recipe of {plain(source)}; rejected: {rejected}")
    if prediction.note:
        print(f"warning: {plain(prediction.note)}")
    if to is not None:
        storage.write_bytes(to, codec.encode(inference.sheet(prediction), codec.EncodingConfig(format="png")))
        print(f"faces: {plain(to)}")
    if overlay is not None:
        print(f"overlay of {overlays.write(prediction, overlay)} frames: {plain(overlay)}")


def _describe(score: Scored) -> str:
    spread = "uncertainty unknown" if score.uncertainty is None else f"uncertainty {score.uncertainty:.3f}"
    return f"{score.verdict}, probability of fake {score.probability:.3f}, {spread}, logit {score.logit:.3f}"
