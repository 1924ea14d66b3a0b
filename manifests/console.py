"""Terminal output of all commands: errors as one sentence, foreign names without control characters or markup."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from typer.core import TyperCommand

from semblance.manifests.errors import SemblanceError

P = ParamSpec("P")
R = TypeVar("R")
# Polars reads tables lazily, so its error can occur anywhere.
_DAMAGED = (
    "A table of the build is damaged ({}); `shards verify OUT` names it, and `ingest build` with --retry damaged "
    "rebuilds it."
)


def friendly(command: Callable[P, R]) -> Callable[P, R]:
    """Turn a SemblanceError into its sentence on stderr and its exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SemblanceError as error:
            print(f"Error: {plain(str(error), keep_lines=True)}", file=sys.stderr)
            raise SystemExit(error.exit_code) from error
        except Exception as error:
            if "parquet" not in str(error).lower() or not type(error).__module__.startswith("polars"):
                raise
            print(f"Error: {_DAMAGED.format(plain(str(error).partition(chr(10))[0]))}", file=sys.stderr)
            raise SystemExit(1) from error

    return run


def listing(**names: Callable[[], str]) -> type[TyperCommand]:
    """A command whose options' help may contain ``{key}``, replaced by ``names[key]()`` when the options are read.

    The content of a registry is known only after its modules are imported, which other commands should not wait for.
    """

    class Listing(TyperCommand):
        @property
        def params(self) -> list[Any]:
            for parameter in self._params:
                for key, text_of in names.items():
                    if f"{{{key}}}" in (text := getattr(parameter, "help", None) or ""):
                        parameter.help = text.replace(f"{{{key}}}", text_of())
            return self._params

        @params.setter
        def params(self, value: list[Any]) -> None:
            self._params = value

    return Listing


def plain(text: str, *, keep_lines: bool = False) -> str:
    """``text`` with control characters shown as escapes, so that no file name can control a terminal."""
    return "".join(
        character if character.isprintable() or (keep_lines and character == "\n") else _escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
