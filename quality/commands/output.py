"""What commands share: the option ``--json`` and how it is written."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[str | None, typer.Option("--json", help="File for all results as JSON ('-' prints them).")]


def write_json(value: object, to: str) -> None:
    """Write ``value`` to the file ``to``, or print it if ``to`` is ``-``."""
    import json

    from semblance.manifests import storage

    text = json.dumps(value, indent=1) + "\n"
    if to == "-":
        print(text, end="")
    else:
        storage.write_bytes(to, text.encode())
