"""``quality audit-schema``: the format of ``audit.json``."""

from __future__ import annotations

from typing import Annotated

import typer

from semblance.manifests.console import friendly
from semblance.quality.commands.output import write_json


@friendly
def audit_schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, as in docs/audit-json.md.")] = False,
) -> None:
    """Print the JSON Schema of what `quality audit --json` writes."""
    from semblance.quality.audit import reference

    if markdown:
        print(reference.markdown(), end="")
    else:
        write_json(reference.json_schema(), "-")
