"""``training``: read the shards of a build as a trainer would."""

from __future__ import annotations

from typing import Annotated

import typer

from manifests.console import friendly, plain

app = typer.Typer(
    help="Read the shards of a build as a trainer would.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Read the shards of a build as a trainer would."""


@app.command()
@friendly
def peek(
    data: Annotated[str, typer.Option("--data", help="The --out of a build.")],
    split: Annotated[str, typer.Option("--split", help="train, val, test or unassigned.")] = "train",
) -> None:
    """Stream one split through webdataset, decode every picture, and count it against the manifest."""
    from training.peek import peek as look

    seen = look(data, split)
    print(
        f"{plain(data)} {split}: {seen.samples} pictures of {seen.listed} rows in {seen.shards} shards, "
        f"{seen.real} real, {seen.fake} fake, {seen.unknown} without a face label, sizes {', '.join(seen.sizes)}"
    )
