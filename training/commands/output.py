"""What the commands of ``training`` share: what they say, and the libraries that they need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from semblance.manifests.console import plain
from semblance.manifests.errors import UsageError


@contextlib.contextmanager
def libraries() -> Iterator[None]:
    """Turn a missing training library into an error that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(
            f"`training` needs the package {error.name!r}; install its libraries with `pip install semblance[train]`."
        ) from error


def say(line: str) -> None:
    """Print a line without control characters, at once."""
    print(plain(line), flush=True)
