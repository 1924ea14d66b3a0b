"""``training benchmark-schema``: the format of ``benchmark.json``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from semblance.manifests.console import friendly


@friendly
def benchmark_schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, as in docs/benchmark-json.md.")] = False,
) -> None:
    """Print the JSON Schema of the benchmark.json that `training benchmark` writes."""
    from semblance.training.benchmark import record

    if markdown:
        print(record.markdown(), end="")
    else:
        print(json.dumps(record.json_schema(), indent=1, ensure_ascii=False))
