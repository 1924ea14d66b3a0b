"""``quality thresholds``: limits for the gates."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from semblance.manifests.console import friendly
from semblance.quality.commands.output import Json, write_json


@friendly
def thresholds(
    out: Annotated[str, typer.Argument(help="Folder of a finished build, or s3:// prefix.")],
    keep: Annotated[
        float, typer.Option("--keep", help="Share of each label's faces that pass the gates that stay.")
    ] = 0.9,
    gate: Annotated[
        list[str] | None,
        typer.Option("--gate", help="A gate that may change, e.g. blur; repeatable. Default: all but confidence."),
    ] = None,
    stricter: Annotated[bool, typer.Option("--stricter", help="Propose stricter limits too.")] = False,
    to: Json = None,
) -> None:
    """Propose limits for the gates that keep a wished share of each label's faces, and show what they would keep.

    The share is of the faces that pass the gates that stay: confidence, or all that --gate does not name. Each gate is
    moved alone, then all together. Nothing is changed: the lines to copy are for `ingest build` to a new --out.
    """
    from rich.console import Console

    from semblance.quality.checks import thresholds as proposals
    from semblance.quality.report.thresholds import show

    found = proposals.propose(out, keep, move=gate or (), stricter=stricter)
    if to is not None:
        write_json(proposals.to_json(found), to)
    if to != "-":
        show(found, out, Console(width=None if sys.stdout.isatty() else 160, highlight=False))
