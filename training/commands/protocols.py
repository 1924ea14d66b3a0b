"""``training leave-one-out`` and ``training cross-dataset``: protocols of several trainings, with one page."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import UsageError
from semblance.training.commands.fit import Accelerator
from semblance.training.commands.output import libraries, say

if TYPE_CHECKING:
    from semblance.training.benchmark.result import Benchmark
    from semblance.training.loop.fit import FitOptions
    from semblance.training.protocols.plan import Plan

Data = Annotated[list[str], typer.Option("--data", help="Build folder or s3:// prefix; repeat for several.")]
Recipe = Annotated[str, typer.Option("--recipe", help="Recipe, by name or as a YAML or JSON file.")]
To = Annotated[str, typer.Option("--to", help="Folder for runs/, suite.yaml and the page; the same one continues.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override a recipe value by key=value, e.g. --set epochs=5.")
]
Seeds = Annotated[str, typer.Option("--seeds", help="Seeds of the runs of each row, e.g. 0,1,2.")]
Leaks = Annotated[
    bool, typer.Option("--allow-leaks", help="Continue although val or test overlaps with what is trained on.")
]
Crops = Annotated[
    bool, typer.Option("--allow-other-crops", help="Continue although builds are cut by different recipes.")
]
On = Annotated[Accelerator, typer.Option("--accelerator", help="auto: one GPU if there is any.")]
Workers = Annotated[int | None, typer.Option("--workers", min=0, help="Loader processes. Default: by the cores.")]
Tracking = Annotated[
    str, typer.Option("--tracking", help="mlflow (a store beside the runs), an MLflow address, wandb, or none.")
]
Draws = Annotated[int, typer.Option("--draws", min=0, help="Bootstrap draws of groups.")]
Date = Annotated[str | None, typer.Option("--date", help="Date that the page tells. Default: now.")]
Pictures = Annotated[
    bool, typer.Option("--no-pictures", help="Leave pictures of faces out of the evaluations of columns.")
]


@friendly
def leave_one_out(
    data: Data,
    recipe: Recipe,
    to: To,
    settings: Settings = None,
    seeds: Seeds = "0",
    methods: Annotated[
        str | None, typer.Option("--methods", help="Methods to leave out in turn, by commas. Default: all.")
    ] = None,
    allow_leaks: Leaks = False,
    allow_other_crops: Crops = False,
    accelerator: On = Accelerator.auto,
    workers: Workers = None,
    tracking: Tracking = "mlflow",
    draws: Draws = 2000,
    date: Date = None,
    no_pictures: Pictures = False,
) -> None:
    """Train without each method in turn, and judge each run on the method that it has not seen and on the others.

    The page compares AUC on seen and unseen methods. The same command again continues where it was interrupted.
    """
    with libraries():
        from semblance.training import recipes
        from semblance.training.protocols import left_out

    chosen = [name.strip() for name in methods.split(",") if name.strip()] if methods is not None else []
    plan = left_out.make(data, recipes.load(recipe, settings or ()), numbers(seeds), chosen)
    options = options_of(accelerator, workers, tracking, allow_leaks, allow_other_crops)
    result = carried_out(plan, to, options, draws, date, not no_pictures)
    lines = left_out.write(left_out.gaps(plan, result), to)
    print(plain(lines, keep_lines=True))
    print(f"leave-one-out.csv, suite.yaml, benchmark.html, .md and .json, tables/, columns/ and runs/: {plain(to)}")


@friendly
def cross_dataset(
    data: Data,
    recipe: Recipe,
    to: To,
    settings: Settings = None,
    seeds: Seeds = "0",
    leave_one: Annotated[
        bool, typer.Option("--leave-one", help="Also train on all builds but one, for each of them.")
    ] = False,
    allow_leaks: Leaks = False,
    allow_other_crops: Crops = False,
    accelerator: On = Accelerator.auto,
    workers: Workers = None,
    tracking: Tracking = "mlflow",
    draws: Draws = 2000,
    date: Date = None,
    no_pictures: Pictures = False,
) -> None:
    """Train on each build, and judge each run on the test split of all of them: a matrix with its consistency.

    Consistency is the mean AUC on unseen datasets divided by that on seen ones. The same command again continues where
    it was interrupted.
    """
    with libraries():
        from semblance.training import recipes
        from semblance.training.benchmark import page
        from semblance.training.evaluation.report.page import aligned
        from semblance.training.protocols import datasets

    plan = datasets.make(data, recipes.load(recipe, settings or ()), numbers(seeds), leave_one=leave_one)
    options = options_of(accelerator, workers, tracking, allow_leaks, allow_other_crops)
    result = carried_out(plan, to, options, draws, date, not no_pictures)
    print(plain(aligned(page.summary(result)), keep_lines=True))
    print(f"suite.yaml, benchmark.html, .md and .json, tables/, columns/ and runs/: {plain(to)}")


def carried_out(plan: Plan, to: str, options: FitOptions, draws: int, date: str | None, pictures: bool) -> Benchmark:
    """Carry out a plan; an interruption ends the process with what to do next."""
    from semblance.training.protocols.carry_out import carry_out

    try:
        return carry_out(plan, to, options, say, draws=draws, date=date, pictures=pictures)
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from there.", file=sys.stderr)
        raise SystemExit(130) from None


def options_of(
    accelerator: Accelerator, workers: int | None, tracking: str, allow_leaks: bool, allow_other_crops: bool
) -> FitOptions:
    """Each run is on one device, so that several of these commands can share a machine."""
    from semblance.training.loop.fit import FitOptions
    from semblance.training.loop.machine import Machine
    from semblance.training.loop.tracked import Tracking as Wished

    return FitOptions(
        machine=Machine(accelerator=accelerator.value, devices=1, workers=workers),
        tracking=None if tracking == "none" else Wished(address=tracking),
        allow_leaks=allow_leaks,
        allow_other_crops=allow_other_crops,
    )


def numbers(text: str, option: str = "--seeds") -> list[int]:
    """The numbers of an option that takes several by commas."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{option} is {text!r}; write numbers with commas, such as 0,1,2.") from error
