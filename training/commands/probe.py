"""``training probe``: what the weights of self-supervised runs are worth beside random ones."""

from __future__ import annotations

from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.training.commands import protocols
from semblance.training.commands.fit import Accelerator
from semblance.training.commands.output import libraries, say


@friendly
def probe(
    data: protocols.Data,
    run: Annotated[list[str], typer.Option("--run", help="Self-supervised run; repeat for several recipes or seeds.")],
    to: protocols.To,
    recipe: Annotated[
        str, typer.Option("--recipe", help="Recipe of the fine-tuning, whose model and picture size are the runs'.")
    ] = "resnet50_plain",
    settings: protocols.Settings = None,
    seeds: protocols.Seeds = "0",
    split: Annotated[str, typer.Option("--split", help="Split that all are judged on: test or val.")] = "test",
    allow_leaks: protocols.Leaks = False,
    allow_other_crops: protocols.Crops = False,
    accelerator: protocols.On = Accelerator.auto,
    workers: protocols.Workers = None,
    tracking: protocols.Tracking = "mlflow",
    draws: protocols.Draws = 2000,
    date: protocols.Date = None,
    no_pictures: protocols.Pictures = False,
) -> None:
    """Compare self-supervised weights with random ones as a start, by a linear probe and by fine-tuning.

    Both have the same pictures, recipe and seeds. Runs that differ by their seed alone are one row. The same command
    again continues where it was interrupted.
    """
    with libraries():
        from semblance.training import recipes
        from semblance.training.protocols import probe as protocol
        from semblance.training.protocols import probe_table

    made = protocol.make(data, run, recipes.load(recipe, settings or ()), protocols.numbers(seeds), split=split)
    options = protocols.options_of(accelerator, workers, tracking, allow_leaks, allow_other_crops)
    result = protocols.carried_out(made, to, options, draws, date, not no_pictures)
    lines, fitted = protocol.probed(made, result, say, draws=draws)
    print(plain(probe_table.write(made, lines, fitted, to), keep_lines=True))
    print(f"probe.csv and .json, suite.yaml, benchmark.html, .md and .json, tables/, columns/ and runs/: {plain(to)}")
