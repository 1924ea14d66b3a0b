"""docs/cli.md, made from the help of the five commands: ``python -m tests.docs.cli_reference`` writes it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Final

import typer.main

REPOSITORY: Final = Path(__file__).resolve().parent.parent.parent
PAGE: Final = REPOSITORY / "docs" / "cli.md"
COMMANDS: Final = ("ingest", "manifests", "shards", "quality", "training")
_KINDS: Final = {"str": "TEXT", "int": "N", "float": "X"}
_HEAD: Final = """\
# Command-line reference

Made from the commands' own help by `python -m tests.docs.cli_reference`; do not edit it by hand.

Exit codes of all commands: 0 done, 1 failed or a check found a fault, 2 wrong usage, 130 interrupted. `ingest build`
also exits with 3: done, but more videos failed than `--max-failures` allows.
"""


def tree(command: str) -> Any:
    """The click group behind one of the five commands."""
    return typer.main.get_command(importlib.import_module(f"semblance.{command}.cli").app)


def page() -> str:
    """The whole reference as Markdown."""
    return "\n".join([_HEAD, *(line for command in COMMANDS for line in _group(command))])


def _group(command: str) -> Iterator[str]:
    group = tree(command)
    yield f"## {command}\n\n{_prose(group.help)}\n"
    for name, sub in leaves(group):
        yield from _command(f"{command} {name}", sub)


def leaves(group: Any) -> Iterator[tuple[str, Any]]:
    """The commands of a group by name, those of groups inside it by both names."""
    for name, sub in group.commands.items():
        inner = leaves(sub) if hasattr(sub, "commands") else [("", sub)]
        yield from ((f"{name} {more}".rstrip(), one) for more, one in inner)


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    usage = [name, *(_metavar(one) for one in arguments), *(["[OPTIONS]"] if options else [])]
    context = typer.Context(command, info_name=name)
    yield f"### {name}\n\n```text\n{' '.join(usage)}\n```\n\n{_prose(command.help)}\n"
    if command.params:
        yield "| argument or option | meaning | default |"
        yield "|---|---|---|"
        yield from (_row(one, context) for one in (*arguments, *options))
        yield ""


def _row(parameter: Any, context: Any) -> str:
    label = _metavar(parameter) if parameter.param_type_name == "argument" else _option(parameter, context)
    return f"| `{_cell(label)}` | {_cell(parameter.help or '')} | {_default(parameter)} |"


def _option(option: Any, context: Any) -> str:
    names = ", ".join(option.opts)
    if option.is_flag:
        return names
    kind = option.display_type(context).strip("<>").removesuffix(" range")
    many = kind.startswith("list[")
    kind = kind.removeprefix("list[").removesuffix("]") if many else kind
    values = " ".join(_KINDS.get(one, one) for one in kind.split(","))
    return f"{names} {values}{' ...' if many else ''}"


def _metavar(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name += " ..." if argument.nargs < 0 else ""
    return name if argument.required else f"[{name}]"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if isinstance(value, Enum):
        value = value.value
    if value is None or value is False or value == [] or value == ():
        return ""
    return f"`{' '.join(map(str, value)) if isinstance(value, tuple) else value}`"


def _prose(text: str | None) -> str:
    return inspect.cleandoc(text or "")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(REPOSITORY)} is written")
