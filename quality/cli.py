"""``quality``: see what a build holds."""

from __future__ import annotations

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
