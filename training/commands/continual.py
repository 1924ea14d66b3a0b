"""``training continual``: tasks one after another, and what is forgotten of the earlier ones."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.training.commands import protocols
from semblance.training.commands.fit import Accelerator
from semblance.training.commands.output import libraries


class By(StrEnum):
    """What a task is."""

    build = "build"
    method = "method"


@friendly
def continual(
    data: Annotated[
        list[str], typer.Option("--data", help="Build folder or s3:// prefix; repeat in the order of learning.")
    ],
    to: protocols.To,
    recipe: protocols.Recipe = "continual_resnet50",
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            help="By commas: ewc, replay, ewc+replay, lwf; sequential and joint are always trained too.",
        ),
    ] = "sequential,joint,ewc,replay,ewc+replay,lwf",
    by: Annotated[
        By, typer.Option("--by", help="Tasks are the builds, or the methods of one build in the order of their names.")
    ] = By.build,
    settings: protocols.Settings = None,
    seeds: protocols.Seeds = "0",
    allow_leaks: protocols.Leaks = False,
    allow_other_crops: protocols.Crops = False,
    accelerator: protocols.On = Accelerator.auto,
    workers: protocols.Workers = None,
    tracking: protocols.Tracking = "mlflow",
    draws: protocols.Draws = 2000,
    date: protocols.Date = None,
    no_pictures: protocols.Pictures = False,
) -> None:
    """Learn tasks one after another by each method, and judge every run on the test split of all tasks.

    Tables of balanced accuracy and AUC after each task, their average after the last, and forgetting. The same command
    again continues where it was interrupted.
    """
    with libraries():
        from semblance.training import recipes
        from semblance.training.protocols import continual as protocol
        from semblance.training.protocols import forgetting

    named = [name.strip() for name in methods.split(",") if name.strip()]
    made = protocol.make(
        data,
        recipes.load(recipe, settings or ()),
        protocols.numbers(seeds),
        named,
        by_method=by is By.method,
    )
    options = protocols.options_of(accelerator, workers, tracking, allow_leaks, allow_other_crops)
    result = protocols.carried_out(made.plan, to, options, draws, date, not no_pictures)
    print(plain(forgetting.write(made, result, to), keep_lines=True))
    print(
        f"continual.csv and .json, suite.yaml, benchmark.html, .md and .json, tables/, columns/ and runs/: {plain(to)}"
    )
