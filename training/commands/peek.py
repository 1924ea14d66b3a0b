"""``training peek``: count one split of a build as training would read it."""

from __future__ import annotations

from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.training.commands.output import libraries


@friendly
def peek(
    data: Annotated[str, typer.Option("--data", help="Build folder or s3:// prefix.")],
    split: Annotated[str, typer.Option("--split", help="train, val, test or unassigned.")] = "train",
) -> None:
    """Stream one split through webdataset, decode every picture, and count it against the manifest."""
    with libraries():
        from semblance.training.data import peek

        summary = peek.peek(data, split)
    print(
        f"{plain(data)} {split}: {summary.samples} pictures of {summary.listed} rows in {summary.shards} shards, "
        f"{summary.real} real, {summary.fake} fake, {summary.unknown} without a face label, "
        f"sizes {', '.join(summary.sizes)}"
    )
