"""``shards``: the bytes of a build."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from manifests.console import friendly, plain

app = typer.Typer(
    help="The bytes of a build.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@app.callback()
def main() -> None:
    """The bytes of a build."""


@app.command()
@friendly
def verify(
    out: Annotated[str, typer.Argument(help="The --out of a build.")],
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte: hashes, members, pictures, notes.")] = False,
    most: Annotated[int, typer.Option("--most", help="How many problems to print.")] = 50,
) -> None:
    """Check a build against its plan and receipts; exit code 1 where anything does not fit."""
    from shards.read import verify as check

    report = check(out, deep=deep)
    for problem in report.problems[:most]:
        print(plain(problem), file=sys.stderr)
    if len(report.problems) > most:
        print(f"... and {len(report.problems) - most} more", file=sys.stderr)
    looked = f"{report.shards} shards, {report.videos} videos, {report.samples} samples, {report.rejects} rejects"
    how = "every byte read" if deep else "sizes and rows; --deep reads every byte"
    if report.problems:
        print(f"{plain(out)}: {len(report.problems)} problems in {looked} ({how})")
        raise SystemExit(1)
    print(f"{plain(out)}: whole: {looked} ({how})")
