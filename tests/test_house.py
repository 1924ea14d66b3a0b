"""The rules of the house that no linter holds: short modules, a sentence for each, and every public name documented."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

LONGEST = 300  # lines of a module
PARTS = ("semblance", "ingest", "manifests", "quality", "shards", "training")
MODULES = sorted(path for part in PARTS for path in (REPOSITORY / part).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(("semblance", *(part for part in parts if part not in ("semblance", "__init__"))))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short_and_says_what_it_is_for(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= LONGEST
    assert (ast.get_docstring(ast.parse(source)) or "").strip()


@pytest.mark.parametrize("path", [path for path in MODULES if "__all__" in path.read_text()], ids=name_of)
def test_every_exported_name_is_there_and_documented(path: Path) -> None:
    """Functions and classes by their docstring; other values (tables, types, numbers) by being there."""
    module = importlib.import_module(name_of(path))
    for name in module.__all__:
        found = getattr(module, name)
        if inspect.isclass(found) or inspect.isfunction(found):  # type aliases are callable too
            assert (found.__doc__ or "").strip(), name


def test_literals_of_the_same_values_have_them_in_one_order() -> None:
    """`typing` takes them for equal and keeps the first for `X | None`: a schema would follow the order of imports."""
    orders: dict[frozenset[object], set[tuple[object, ...]]] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal":
                parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
                values = tuple(part.value for part in parts if isinstance(part, ast.Constant))
                orders.setdefault(frozenset(values), set()).add(values)
    assert orders
    assert not [found for found in orders.values() if len(found) > 1]


def test_no_room_is_called_utils() -> None:
    vague = {"utils", "util", "common", "core", "helpers", "misc", "scripts"}
    assert not [path for path in MODULES if vague & set(path.relative_to(REPOSITORY).with_suffix("").parts)]
