"""What the commands of ``training`` share: what they say, and the libraries that they need."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from typing import Literal, TypeVar

from semblance.manifests.console import plain
from semblance.manifests.errors import UsageError

T = TypeVar("T")


@contextlib.contextmanager
def shown(items: Iterable[T], total: int) -> Iterator[Iterable[T]]:
    """The items with a bar on a terminal that counts them; on a pipe, or for a single one, as they are."""
    if total < 2 or not sys.stderr.isatty():
        yield items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), "ETA", TimeRemainingColumn())
    # standard output on the same terminal appears above the bar
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as progress:
        yield progress.track(items, total=total)


@contextlib.contextmanager
def libraries(extra: Literal["train", "serve"] = "train") -> Iterator[None]:
    """Turn a missing library of an extra of this package into an error that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        who = "`training`" if extra == "train" else "This command"
        raise UsageError(
            f"{who} needs the package {error.name!r}; install its libraries with `pip install semblance[{extra}]`."
        ) from error


def say(line: str) -> None:
    """Print a line without control characters, at once."""
    print(plain(line), flush=True)
