"""The suite of a protocol: a file that the same command writes again, and that keeps what a user changes in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from semblance.manifests import storage
from semblance.training.benchmark.suite import Column, Row, Suite
from semblance.training.loop.fit import FitOptions
from semblance.training.protocols.plan import Plan

FILE: Final = "suite.yaml"
_HEAD: Final = (
    "# Written by `training {command}`. Add rows and columns as you like, then run `training benchmark {file}`.\n"
    "# A changed file is kept, and the same command makes its page from it. Unchanged: {digest}\n"
)


def make(plan: Plan, folder: Path, *, draws: int, options: FitOptions) -> Suite:
    """Rows are the variants, columns as planned; paths are relative to ``folder``."""
    several = len(plan.seeds) > 1
    rows = tuple(
        Row(
            name=variant.row,
            runs=f"runs/{variant.slug}-seed*" if several else f"runs/{variant.slug}-seed{plan.seeds[0]}",
        )
        for variant in plan.variants
    )
    columns = tuple(column.model_copy(update={"data": _relative(column, folder)}) for column in plan.columns)
    return Suite(
        title=plan.title,
        baseline=plan.baseline,
        rows=rows,
        columns=columns,
        asked=plan.asked,
        published=False,
        draws=draws,
        allow_leaks=options.allow_leaks,
        allow_other_crops=options.allow_other_crops,
    )


def write(plan: Plan, folder: Path, *, draws: int, options: FitOptions, say: Callable[[str], None] = print) -> Path:
    """Write the suite, unless the file there was changed by hand, and return the file."""
    file = folder / FILE
    if changed(file):
        say(f"{file} was changed by hand and is kept: the page is made from it")
        return file
    body = _body(make(plan, folder, draws=draws, options=options))
    head = _HEAD.format(command=plan.command, file=FILE, digest=_digest(body))
    storage.write_bytes(str(file), (head + body).encode())
    return file


def changed(file: Path) -> bool:
    """Whether the file is there and not as ``write`` left it."""
    if not file.exists():
        return False
    lines = file.read_text("utf-8").splitlines(keepends=True)
    body = "".join(lines[2:])
    return not (len(lines) > 2 and lines[1].rstrip().endswith(f"Unchanged: {_digest(body)}"))


def _body(suite: Suite) -> str:
    values: dict[str, Any] = suite.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _relative(column: Column, folder: Path) -> str:
    return column.data if storage.is_remote(column.data) else os.path.relpath(column.data, folder)
