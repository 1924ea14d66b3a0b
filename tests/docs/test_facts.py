"""What the documentation says of commands, recipes and names is what the code has."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from typer.testing import CliRunner

from semblance.ingest import recipe as build_recipes
from semblance.ingest.sources import SOURCES
from semblance.ingest.sources.base import VIDEO_SUFFIXES
from semblance.ingest.sources.folder_table import COLUMNS
from semblance.manifests.errors import UsageError
from semblance.manifests.records import Status
from semblance.manifests.splits import SplitConfig
from semblance.manifests.text import PICTURES
from semblance.quality.measures import registry
from semblance.shards.repack import subset
from semblance.training import recipes as training_recipes
from semblance.training.regimes import REGIMES
from semblance.training.serving import config as service_settings
from tests.conftest import REPOSITORY
from tests.docs import cli_reference, pages

_OPTIONS = {
    f"{command} {name}": {flag for parameter in sub.params for flag in parameter.opts} | {"--help"}
    for command in cli_reference.COMMANDS
    for name, sub in cli_reference.leaves(cli_reference.tree(command))
}
_GROUPS = {name.rpartition(" ")[0] for name in _OPTIONS if name.count(" ") > 1}
_LINES = [(where, words) for where, words in pages.shell_lines() if words[0] in cli_reference.COMMANDS]
_RECIPE_TABLES = ("### What you may want to change", "### Gates", "### Limits")


def test_the_command_reference_is_current() -> None:
    assert cli_reference.PAGE.read_text("utf-8") == cli_reference.page(), "run `python -m tests.docs.cli_reference`"


@pytest.mark.parametrize(("where", "words"), _LINES, ids=[" ".join([where, *words[:2]]) for where, words in _LINES])
def test_commands_and_flags_exist(where: str, words: list[str]) -> None:
    if words[1].startswith("-"):
        assert words[1] == "--help", where
        return
    command = " ".join(words[:2])
    if command in _GROUPS:
        if len(words) == 2:
            return
        command = " ".join(words[:3])
    assert command in _OPTIONS, f"{where}: there is no command {command!r}"
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert flags <= _OPTIONS[command], f"{where}: {command} has no {flags - _OPTIONS[command]}"


def test_the_table_of_regimes_is_complete() -> None:
    section = (REPOSITORY / "docs" / "recipes.md").read_text("utf-8").partition("### Regimes\n")[2]
    named = re.findall(r"^\| `(\w+)` \|", section.partition("\n### ")[0], re.MULTILINE)
    assert sorted(named) == sorted(REGIMES)


def test_settings_are_accepted() -> None:
    for where, words in _LINES:
        settings = [value for flag, value in pairwise(words) if flag == "--set"]
        settings = [setting for setting in settings if setting != "key=value"]
        if words[0] == "ingest":
            assert build_recipes.load("plan", settings), where
        elif words[1] == "serve":
            assert service_settings.load(None, settings), where
        elif settings:
            recipe = dict(pairwise(words)).get("--recipe", "resnet50")
            assert training_recipes.load(recipe, settings), where


def test_settings_named_in_text_are_accepted() -> None:
    """A setting without its command belongs to a recipe of either kind."""
    named = {
        match for page in pages.PAGES for span in pages.spans(page) for match in re.findall(r"^--set (\S+=\S+)", span)
    }
    for setting in named - {"key=value"}:
        for_builds = _accepted(build_recipes.load, "plan", setting)
        assert for_builds or _accepted(training_recipes.load, "resnet50", setting), setting


def _accepted(load: Callable[[str, Sequence[str]], object], name: str, setting: str) -> bool:
    try:
        load(name, [setting])
    except UsageError:
        return False
    return True


@pytest.mark.parametrize("command", _OPTIONS)
def test_every_command_has_help(command: str) -> None:
    package, *names = command.split()
    app = importlib.import_module(f"semblance.{package}.cli").app
    done = CliRunner().invoke(app, [*names, "--help"])
    assert done.exit_code == 0
    assert "Usage" in done.output


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name_of)
def test_flags_named_in_text_exist(page: Path) -> None:
    every = set().union(*_OPTIONS.values())
    named = {match for span in pages.spans(page) for match in re.findall(r"(?<!\S)--[a-z][a-z-]*", span)}
    assert named <= every, f"no command has {named - every}"


def test_make_targets_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {words[1] for _, words in pages.shell_lines() if words[0] == "make"}
    named |= {
        span.split()[1] for page in pages.PAGES for span in pages.spans(page) if re.fullmatch(r"make [a-z-]+", span)
    }
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("block", pages.blocks("yaml"), ids=str)
def test_yaml_blocks_are_what_they_seem(block: pages.Block, tmp_path: Path) -> None:
    values = yaml.safe_load(block.text)
    assert isinstance(values, dict)
    file = tmp_path / "recipe.yaml"
    file.write_text(block.text)
    if "base" in values:
        assert training_recipes.load(str(file)).base == values["base"]
    elif "name" in values:
        assert build_recipes.load(str(file)).name == values["name"]


def test_recipe_keys_have_the_defaults_that_are_named() -> None:
    default = build_recipes.load("plan").model_dump(mode="json")
    for heading in _RECIPE_TABLES:
        rows = pages.first_column("docs/recipes.md", heading)
        assert rows
        for key, cell in rows.items():
            value: Any = default
            for part in key.split("."):
                value = value[part]
            assert yaml.safe_load(cell.strip("`")) == value, key


def test_every_reject_reason_is_described_with_its_key() -> None:
    section = (REPOSITORY / "docs/failures.md").read_text("utf-8").split("## Faces and frames\n")[1].split("\n## ")[0]
    rows = {line.split("`")[1]: line for line in section.splitlines() if line.startswith("| `")}
    gates = [reason for _, gate in registry.GATED for reason in gate.reasons]
    for reason in (*gates, registry.PAIR, "doubtful"):
        assert rows[reason].endswith(f"| `{registry.recipe_key(reason)}` |")
    assert {"not_largest", "no_face", "decode_error", subset.REASON} <= rows.keys()


def test_every_gate_and_limit_is_described() -> None:
    recipe = build_recipes.load("plan")
    for section, heading in (("gates", "### Gates"), ("limits", "### Limits")):
        keys = {f"{section}.{name}" for name in getattr(recipe, section).model_dump()}
        assert set(pages.first_column("docs/recipes.md", heading)) == keys


@pytest.mark.parametrize(
    ("page", "heading", "names"),
    [
        ("docs/recipes.md", "## Recipes of a build", set(build_recipes.NAMED)),
        ("docs/recipes.md", "## Recipes of training", set(training_recipes.NAMED)),
        ("docs/guide.md", "## 2. Lay out the videos", set(SOURCES)),
        ("docs/layouts.md", "## Published collections", set(SOURCES) - {"folder"}),
        ("docs/failures.md", "## Videos", set(get_args(Status))),
        (
            "docs/splits.md",
            "# Splits: what they can promise",
            set(get_args(SplitConfig.model_fields["protocol"].annotation)) - {"auto"},
        ),
    ],
)
def test_tables_list_all_names_there_are(page: str, heading: str, names: set[str]) -> None:
    found = {name for name in pages.first_column(page, heading) if not name.startswith("-")}  # not the table's head
    assert found == names


def test_the_page_of_layouts_lists_all_columns_and_suffixes() -> None:
    text = (REPOSITORY / "docs/layouts.md").read_text("utf-8")
    assert set(re.findall(r"`(\.\w+)`", text)) == {*VIDEO_SUFFIXES, *PICTURES}
    rows = re.findall(r"^\| (`.+?`) \| ", text.partition("## A table")[2], re.MULTILINE)
    assert {name.strip("`") for row in rows for name in row.split(", ")} == set(COLUMNS)
