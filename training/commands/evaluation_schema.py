"""``training evaluation-schema``: the format of ``evaluation.json``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from semblance.manifests.console import friendly


@friendly
def evaluation_schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, as in docs/evaluation-json.md.")
    ] = False,
) -> None:
    """Print the JSON Schema of the evaluation.json that `training evaluate` writes."""
    from semblance.training.evaluation import reference

    if markdown:
        print(reference.markdown(), end="")
    else:
        print(json.dumps(reference.json_schema(), indent=1, ensure_ascii=False))
