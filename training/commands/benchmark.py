"""``training benchmark``: judge rows of detectors on columns of data."""

from __future__ import annotations

from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.training.commands.output import say


@friendly
def benchmark(
    suite: Annotated[str, typer.Argument(metavar="SUITE.yaml", help="Rows and columns; paths are relative to it.")],
    to: Annotated[
        str | None, typer.Option("--to", help="Folder for the results. Default: named as the suite, beside it.")
    ] = None,
    send: Annotated[bool, typer.Option("--send", help="Send the face crops to services that rows name.")] = False,
    date: Annotated[str | None, typer.Option("--date", help="Date that the page tells. Default: now.")] = None,
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Leave pictures of faces out of the evaluations of columns.")
    ] = False,
) -> None:
    """Evaluate detectors on several builds and conditions: one page with what was asked and whether it is shown."""
    from pathlib import Path

    from semblance.training.benchmark import benchmark as benchmarks
    from semblance.training.benchmark import page
    from semblance.training.benchmark import suite as suites
    from semblance.training.evaluation.report.page import aligned

    read = suites.read(suite)
    folder = Path(to) if to is not None else Path(suite).with_suffix("")
    if folder == Path(suite):
        folder = folder.with_name(f"{folder.name}-benchmark")
    result = benchmarks.run(read, folder, say, send=send, date=date, pictures=not no_pictures)
    print(plain(aligned(page.summary(result)), keep_lines=True))
    for one in result.answers:
        if one.verdict != "not measured":
            print(plain(f"{one.verdict}: {one.asked}: {one.row or 'all'}" + (f", {one.data}" if one.data else "")))
    print(f"benchmark.html, .md and .json, tables/ and columns/: {plain(str(folder))}")
