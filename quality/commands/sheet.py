"""``quality sheet``: a contact sheet of faces."""

from __future__ import annotations

from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import UsageError


@friendly
def sheet(
    out: Annotated[str, typer.Argument(help="Build folder or s3:// prefix.")],
    to: Annotated[str, typer.Option("--to", help="PNG or JPEG file to write.")],
    rejects: Annotated[bool, typer.Option("--rejects", help="Show rejected faces instead of kept ones.")] = False,
    where: Annotated[str | None, typer.Option("--where", help="SQL condition, e.g. \"split = 'test'\".")] = None,
    most: Annotated[int, typer.Option("--most", min=1, max=2000, help="Maximum number of faces.")] = 100,
) -> None:
    """Draw a contact sheet of faces. It shows identifiable people: most dataset terms prohibit redistribution."""
    from semblance.manifests import storage
    from semblance.quality import codec
    from semblance.quality.report.contact_sheet import draw, rows

    extension = to.rsplit(".", 1)[-1].lower()
    if extension not in ("png", "jpg"):
        raise UsageError(f"{plain(to)} must end in .png or .jpg.")
    selected = rows(out, table="rejects" if rejects else "samples", where=where, most=most)
    config = codec.EncodingConfig(format="png" if extension == "png" else "jpg")
    storage.write_bytes(to, codec.encode(draw(out, selected), config))
    print(f"{plain(to)}: {len(selected)} faces; most dataset terms prohibit redistributing pictures of people")
