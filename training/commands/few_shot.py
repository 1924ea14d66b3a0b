"""``training few-shot``: MAML and plain training on sources, adapted to targets by a few pictures."""

from __future__ import annotations

from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.training.commands import protocols
from semblance.training.commands.fit import Accelerator
from semblance.training.commands.output import libraries, say
from semblance.training.commands.protocols import Crops, Date, Draws, Leaks, On, Pictures, Recipe, Settings, To, Workers


@friendly
def few_shot(
    data: Annotated[list[str], typer.Option("--data", help="Build to train on; repeat for several.")],
    target: Annotated[list[str], typer.Option("--target", help="Build to adapt to, unseen in training; repeatable.")],
    to: To,
    recipe: Recipe = "maml_resnet50",
    settings: Settings = None,
    shots: Annotated[str, typer.Option("--shots", help="Pictures of each class to adapt with, by commas.")] = "1,5,10",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of gradient descent on them.")] = 5,
    seeds: protocols.Seeds = "0,1,2,3,4",
    support: Annotated[
        str, typer.Option("--support", help="Splits of a target whose pictures may support an adaptation.")
    ] = "train,val",
    query: Annotated[str, typer.Option("--query", help="Split of a target that is judged.")] = "test",
    allow_leaks: Leaks = False,
    allow_other_crops: Crops = False,
    accelerator: On = Accelerator.auto,
    workers: Workers = None,
    tracking: protocols.Tracking = "mlflow",
    draws: Draws = 2000,
    date: Date = None,
    no_pictures: Pictures = False,
) -> None:
    """Train by MAML and plainly, adapt both to each target by the same few pictures, and compare them.

    The table has AUC by video before and after adaptation, over seeds. The page is that of the runs before it. The
    same command again continues where it was interrupted.
    """
    with libraries():
        from semblance.training import recipes
        from semblance.training.protocols import few_shot as protocol

    asking = protocol.Asking(
        shots=tuple(protocols.numbers(shots, "--shots")),
        steps=steps,
        support=tuple(name.strip() for name in support.split(",") if name.strip()),
        query=query,
    )
    made = protocol.make(
        data,
        target,
        recipes.load(recipe, settings or ()),
        protocols.numbers(seeds),
        asking,
        allow_leaks=allow_leaks,
    )
    options = protocols.options_of(accelerator, workers, tracking, allow_leaks, allow_other_crops)
    protocols.carried_out(made.plan, to, options, draws, date, not no_pictures)
    print(plain(protocol.write(made, protocol.adapt(made, to, say, draws=draws), to), keep_lines=True))
    print(
        "few-shot.txt, .csv and .json; before adaptation suite.yaml, benchmark.html, .md and .json, tables/, columns/ "
        f"and runs/: {plain(to)}"
    )
