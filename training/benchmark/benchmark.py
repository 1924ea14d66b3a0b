"""A benchmark, from a suite to a page: columns are evaluated, and rows compared over shared draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from semblance.manifests import storage
from semblance.training.benchmark import cells, columns, page, record, result, robust, systems, tables
from semblance.training.benchmark.result import Benchmark
from semblance.training.benchmark.suite import Suite
from semblance.training.evaluation import evaluate

PAGE: Final = "benchmark.html"


def run(
    suite: Suite,
    to: str | Path,
    say: Callable[[str], None] = print,
    *,
    send: bool = False,
    date: str | None = None,
    pictures: bool = True,
) -> Benchmark:
    """Evaluate all rows on all columns, and write the page and its tables into the folder ``to``.

    ``send``: services that rows name may be sent pictures of faces. ``pictures``: the evaluations of columns show
    faces. Raises UsageError if a row or column cannot be what the suite says, SemblanceError for leaks, damaged files
    and the like, as an evaluation does.
    """
    date = date or evaluate.now()
    resolved = systems.resolve(suite, send=send)
    robust.check(suite, resolved)
    cells.check(resolved, columns.check(suite, resolved))
    measured = columns.measure(suite, resolved, Path(to), date=date, pictures=pictures, say=say)
    hardened = robust.measure(suite, resolved, measured, Path(to), date=date, pictures=pictures, say=say)
    made = result.summarise(suite, resolved, measured, hardened, date)
    write(made, Path(to))
    return made


def write(made: Benchmark, to: Path) -> None:
    """Write benchmark.html, .md, .json and tables/. Raises SemblanceError if the folder cannot be written."""
    texts = {
        PAGE: page.html(made),
        "benchmark.md": page.markdown(made),
        "benchmark.json": record.as_json(record.make(made)),
        **tables.files(made),
    }
    for name, text in texts.items():
        storage.write_bytes(str(to / name), text.encode())
