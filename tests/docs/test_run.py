"""The documentation runs: its Python, its commands with the output shown, and the examples, on a build of the demo.

The build is a small one (four families, few frames), so numbers are compared as numbers, not by value.
"""

from __future__ import annotations

import doctest
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import BIN, REPOSITORY
from tests.docs import pages

OUT = "out/demo-dfdc"
ROOT = "data/demo/dfdc"
_NUMBER = re.compile(r"(?<![\w-])\d[\d.,]*")


def shape(line: str) -> str:
    """A line of output without what differs between builds: values of numbers, widths of columns."""
    return re.sub(r"([━─═┳┯┬╪┼┻┷┴╇ ])\1*", r"\1", _NUMBER.sub("0", line)).strip()


class SameShape(doctest.OutputChecker):
    """Compares shapes of output, not the numbers in it."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        del optionflags
        return [shape(line) for line in want.splitlines()] == [shape(line) for line in got.splitlines()]


@dataclass(frozen=True)
class Demo:
    """A folder in which ``make demo`` was run, as far as its files go, and what that printed."""

    folder: Path
    printed: str


@pytest.fixture(scope="module")
def made(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("documentation")
    (folder / "data" / "demo").mkdir(parents=True)
    (folder / "data" / "demo" / "dfdc").symlink_to(demo)
    build = ["ingest", "build", "--dataset", "dfdc", "--root", ROOT, "--out", OUT, "--recipe", f"{ROOT}/recipe.yaml"]
    return Demo(folder=folder, printed=printed([*build, "--set", "sampling.n=6"], folder))


def printed(words: Sequence[str], folder: Path) -> str:
    """What one of the five commands prints on a wide terminal."""
    done = subprocess.run(
        [BIN / words[0], *words[1:]],
        cwd=folder,
        env=os.environ | {"COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture
def here(made: Demo, monkeypatch: pytest.MonkeyPatch) -> Demo:
    """The same, as the current folder, so that the documentation's paths hold."""
    monkeypatch.chdir(made.folder)
    return made


def shown(block: pages.Block) -> Iterator[tuple[str, list[str]]]:
    """(command, lines that it prints) of a console block."""
    command, lines = "", list[str]()
    for line in block.text.splitlines():
        if line.startswith("$ "):
            if lines:
                yield command, lines
            command, lines = line[2:], []
        else:
            lines.append(line)
    if lines:
        yield command, lines


_SHOWN = [
    (f"{block} {command[:40]}", command, lines) for block in pages.blocks("console") for command, lines in shown(block)
]
_PYTHON = [
    block for block in pages.blocks("python") if not block.where.startswith("docs/elsewhere.md:")
]  # its own test


@pytest.mark.parametrize(("command", "lines"), [pair[1:] for pair in _SHOWN], ids=[pair[0] for pair in _SHOWN])
def test_commands_print_what_is_shown(command: str, lines: list[str], here: Demo) -> None:
    """Every line that is shown comes, in this order; ``...`` stands for any lines."""
    words = shlex.split(command, comments=True)
    if words == ["make", "demo"]:
        text = here.printed
    else:
        assert {OUT, ROOT} & set(words), f"the output of {command} cannot be checked: it reads neither {OUT} nor {ROOT}"
        text = printed(words, here.folder)
    coming = iter([shape(line) for line in text.splitlines()])
    for line in lines:
        assert line == "..." or shape(line) in coming, f"{command} does not print (or not here): {line}\n{text}"


@pytest.mark.parametrize("block", _PYTHON, ids=str)
def test_python_compiles(block: pages.Block) -> None:
    compile(block.text, block.where, "exec")


@pytest.mark.parametrize("block", [block for block in _PYTHON if OUT in block.text], ids=str)
def test_python_runs(block: pages.Block, here: Demo) -> None:
    assert here.folder == Path.cwd()
    exec(compile(block.text, block.where, "exec"), {"__name__": "documentation"})


@pytest.mark.parametrize("block", pages.blocks("pycon"), ids=str)
def test_sessions_answer_what_is_shown(block: pages.Block, here: Demo) -> None:
    assert here.folder == Path.cwd()
    session = doctest.DocTestParser().get_doctest(block.text, {}, block.where, None, None)
    assert session.examples
    answered: list[str] = []
    doctest.DocTestRunner(SameShape(), verbose=False).run(session, out=answered.append)
    assert not answered, "".join(answered)


@pytest.mark.parametrize("script", sorted((REPOSITORY / "examples").glob("*.py")), ids=lambda script: script.name)
def test_examples_run(
    script: Path, here: Demo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert here.folder == Path.cwd()
    monkeypatch.setattr(sys, "argv", [str(script)])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.strip()
