"""``quality drift``: two builds compared."""

from __future__ import annotations

from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.quality.commands.output import Json, write_json


@friendly
def drift(
    out: Annotated[str, typer.Argument(help="Build folder or s3:// prefix.")],
    other: Annotated[str, typer.Argument(help="Another, usually later build.", metavar="OUT2")],
    to: Json = None,
    page: Annotated[str | None, typer.Option("--page", help="HTML file to write.")] = None,
) -> None:
    """Compare the columns of two builds: population stability index (PSI) and two-sample tests."""
    from semblance.quality.checks import drift as shifts
    from semblance.quality.report import page as pages

    found = shifts.drift(out, other)
    if page is not None:
        pages.write_drift(out, other, found, page)
    if to is not None:
        write_json(shifts.to_json(found), to)
    if to == "-":
        return
    print(f"{'column':28} {'verdict':9} {'PSI':>8}  typical before -> after")
    for one in found:
        index = "" if one.psi is None else f"{one.psi:.3f}"
        change = f"{plain(one.before)} -> {plain(one.after)}"
        print(f"{one.table + '.' + one.column:28} {one.verdict:9} {index:>8}  {change}")
    print(
        f"PSI below {shifts.SMALL} is stable, above {shifts.LARGE} large; too few: differences this large "
        "occur by chance with so few videos"
    )
