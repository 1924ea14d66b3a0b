"""``quality``: see what a build holds."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from manifests.console import friendly, plain
from manifests.records import UsageError

app = typer.Typer(
    help="See what a build holds.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@app.callback()
def main() -> None:
    """See what a build holds."""


@app.command()
@friendly
def sheet(
    out: Annotated[str, typer.Argument(help="The --out of a build.")],
    to: Annotated[str, typer.Option("--to", help="PNG or JPEG file to write.")],
    rejects: Annotated[bool, typer.Option("--rejects", help="Rejected faces instead of kept ones.")] = False,
    where: Annotated[str | None, typer.Option("--where", help="SQL condition, e.g. \"split = 'test'\".")] = None,
    most: Annotated[int, typer.Option("--most", min=1, max=2000, help="How many faces.")] = 100,
) -> None:
    """Draw a contact sheet of faces. It shows identifiable people: dataset terms mostly forbid to pass it on."""
    from manifests import storage
    from quality import codec
    from quality.sheet import draw, rows

    extension = to.rsplit(".", 1)[-1].lower()
    if extension not in ("png", "jpg"):
        raise UsageError(f"{plain(to)} must end in .png or .jpg.")
    found = rows(out, table="rejects" if rejects else "samples", where=where, most=most)
    config = codec.EncodingConfig(format="png" if extension == "png" else "jpg")
    storage.write_bytes(to, codec.encode(draw(out, found), config))
    print(f"{plain(to)}: {len(found)} faces; most dataset terms forbid passing pictures of people on")


@app.command()
@friendly
def audit(
    outs: Annotated[list[str], typer.Argument(help="The --out of one build or several.", metavar="OUT [OUT2 ...]")],
    plan: Annotated[
        bool, typer.Option("--plan", help="Audit plans alone: of builds, or tables that `ingest plan --to` wrote.")
    ] = False,
    to: Annotated[str | None, typer.Option("--to", help="Parquet or CSV file for every offending id.")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", help="An accepted leak: its id, KIND:ID, one video of a pair, or a file of such."),
    ] = None,
    report: Annotated[str | None, typer.Option("--json", help="File for all figures as JSON.")] = None,
    distance: Annotated[
        int, typer.Option("--distance", min=0, max=12, help="Bits of 64 by which matching frames may differ.")
    ] = 8,
    confirm: Annotated[
        int, typer.Option("--confirm", min=0, help="How many pairs of videos, at most, are compared on pixels.")
    ] = 5000,
) -> None:
    """Check laws, coverage and leaks of every split, and leaks between builds; exit code 1 where one breaks.

    A build breaks where its laws do, where its own protocol leaks (official too), or where equal pictures or
    confirmed near-duplicate videos stand on two of its sides; several break where one tests what another trains with.
    """
    from rich.console import Console

    from manifests import storage
    from quality import offences, verdict
    from quality.audit import audit as examine
    from quality.duplicates import DuplicateConfig

    if to is not None and not to.endswith((".csv", ".parquet")):
        raise UsageError(f"{plain(to)} must end in .csv or .parquet.")
    found = examine(outs, plan=plan, allow=allow or (), config=DuplicateConfig(distance=distance), most=confirm)
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    verdict.show(found, console)
    if to is not None:
        offences.write(found.leaks, to)
        print(f"{plain(to)}: {found.leaks.height} leaks of all protocols, a row each")
    if report is not None:
        storage.write_bytes(report, json.dumps(verdict.to_json(found), indent=1).encode() + b"\n")
    if found.broken:
        raise SystemExit(1)
