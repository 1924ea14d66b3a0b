"""``training ensemble``: combine runs."""

from __future__ import annotations

from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.training.commands.output import say


@friendly
def ensemble(
    data: Annotated[list[str], typer.Option("--data", help="Build whose val split is used; repeat for several.")],
    run: Annotated[list[str], typer.Option("--run", help="A run of `training fit`; repeat for every member.")],
    to: Annotated[str, typer.Option("--to", help="New folder for the ensemble.")],
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Continue although val overlaps with training data.")
    ] = False,
    allow_other_crops: Annotated[
        bool, typer.Option("--allow-other-crops", help="Continue although builds are cut otherwise than the runs'.")
    ] = False,
) -> None:
    """Combine runs: a weight per run and two temperatures, learned on different families of val."""
    from pathlib import Path

    from semblance.training.ensemble import tracked
    from semblance.training.ensemble.fit import combine
    from semblance.training.evaluation.results import LEAST_GROUPS

    combined = combine(data, run, Path(to), allow_leaks=allow_leaks, allow_other_crops=allow_other_crops, say=say)
    tracked.log(combined, run, say=say)
    if not combined.learned:
        say(f"weights are not learned: val has fewer than {LEAST_GROUPS} families of a class for them")
    print("weights: " + ", ".join(f"{plain(name)} {weight:.3f}" for name, weight in combined.weights.items()))
    for level, fitted in (("frames", combined.frame), ("videos", combined.video)):
        loss = (
            "" if fitted.before is None else f", log loss of held-out folds {fitted.before:.4f} -> {fitted.after:.4f}"
        )
        print(f"temperature of {level}: {fitted.value:.3f}{loss}{f' ({fitted.note})' if fitted.note else ''}")
    weighted, calibrated = combined.families
    print(f"{weighted} families of val for the weights, {calibrated} for the temperatures: {plain(to)}")
