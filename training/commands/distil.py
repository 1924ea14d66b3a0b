"""``training distil``: students of a run or ensemble, in stages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import UsageError
from semblance.training.commands.fit import Accelerator
from semblance.training.commands.output import libraries, say
from semblance.training.commands.protocols import (
    Crops,
    Data,
    Date,
    Draws,
    Leaks,
    On,
    Settings,
    Tracking,
    Workers,
    options_of,
)


@friendly
def distil(
    data: Data,
    teacher: Annotated[str, typer.Option("--teacher", help="Folder of a trained run or ensemble over pictures.")],
    to: Annotated[str, typer.Option("--to", help="Folder for runs/, export/ and the table; the same one continues.")],
    recipe: Annotated[
        str, typer.Option("--recipe", help="Recipe of regime distil, by name or as a YAML or JSON file.")
    ] = "distil_mobilenet",
    settings: Settings = None,
    stages: Annotated[
        str, typer.Option("--stages", help="Operations of each student, as shares of those of the recipe's model.")
    ] = "1.0,0.5,0.25",
    threshold: Annotated[
        float,
        typer.Option("--threshold", min=0, help="Share of the teacher's AUC on val that the next stage begins with."),
    ] = 0.95,
    chain: Annotated[
        bool, typer.Option("--chain", help="Each student teaches the next, in place of the teacher.")
    ] = False,
    allow_leaks: Leaks = False,
    allow_other_crops: Crops = False,
    accelerator: On = Accelerator.auto,
    workers: Workers = None,
    tracking: Tracking = "mlflow",
    draws: Draws = 2000,
    date: Date = None,
) -> None:
    """Train ever smaller students of a teacher, and compare what they keep of its AUC with what they cost.

    A stage begins if the student before it keeps enough of the teacher's AUC by video on val. The same command again
    continues where it was interrupted.
    """
    with libraries():
        from semblance.training import recipes
        from semblance.training.protocols import distil as protocol
        from semblance.training.protocols import distil_table

    wish = protocol.Wish(
        outs=tuple(out.rstrip("/") for out in data),
        teacher=str(Path(teacher).absolute()),
        recipe=recipes.load(recipe, settings or ()),
        stages=tuple(_shares(stages)),
        threshold=threshold,
        chain=chain,
    )
    options = options_of(accelerator, workers, tracking, allow_leaks, allow_other_crops)
    try:
        result = protocol.carry_out_stages(wish, to.rstrip("/"), options, say, draws=draws, date=date)
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from there.", file=sys.stderr)
        raise SystemExit(130) from None
    print(plain(distil_table.write(result, to), keep_lines=True))
    print(f"distil.json, distil.csv, export/ and runs/: {plain(to)}")


def _shares(stages: str) -> list[float]:
    try:
        return [float(share) for share in stages.split(",")]
    except ValueError as error:
        raise UsageError(f"--stages is {stages!r}; write shares with commas, such as 1.0,0.5,0.25.") from error
