"""Registries: names are unique, unknown names are one sentence, and a new file is discovered."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.ingest.sources import SOURCES
from semblance.manifests.datasets import DATASETS
from semblance.manifests.errors import UsageError
from semblance.manifests.registry import Registry


@given(names=st.lists(st.text(max_size=5), unique=True))
def test_items_are_found_by_name_and_keep_their_order(names: list[str]) -> None:
    registry: Registry[str] = Registry("thing", "--thing")
    for name in names:
        assert registry.add(name, name * 2) == name * 2
    assert list(registry) == names
    assert dict(registry) == {name: name * 2 for name in names}
    for name in names:
        with pytest.raises(ValueError, match="already"):
            registry.add(name, "other")
        assert registry.find(name) == name * 2


def test_the_error_for_an_unknown_name_lists_the_known_ones() -> None:
    registry: Registry[int] = Registry("thing", "--thing")
    registry.add("b", 1)
    registry.add("a", 2)
    with pytest.raises(UsageError, match=r"^Unknown thing 'c'; --thing accepts a, b\.$"):
        registry.find("c")


def test_an_item_added_for_a_block_is_removed_even_after_an_exception() -> None:
    registry: Registry[int] = Registry("thing", "--thing")
    with registry.added("a", 1) as item:
        assert registry["a"] == item == 1
    assert "a" not in registry
    with pytest.raises(UsageError), registry.added("a", 1):
        registry.find("b")
    assert "a" not in registry
    registry.add("a", 2)
    registry.remove("a")
    assert not registry


def test_a_new_file_of_a_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "things_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from semblance.manifests.registry import Registry\n"
        "THINGS = Registry('thing', '--thing')\n"
        "THINGS.discover(__name__, __path__)\n"
    )
    for name in ("b", "a"):
        (package / f"{name}.py").write_text(f"from things_of_a_test import THINGS\nTHINGS.add({name!r}, 1)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    things_of_a_test = importlib.import_module("things_of_a_test")

    assert list(things_of_a_test.THINGS) == ["a", "b"]
    for name in set(sys.modules) - before:
        if name.startswith("things_of_a_test"):
            del sys.modules[name]


def test_every_dataset_has_facts_and_a_reader() -> None:
    assert set(DATASETS) == set(SOURCES)
    for name, info in DATASETS.items():
        assert info.name == name == SOURCES[name].name
        assert SOURCES[name].info is info
        assert sum(info.fractions) == pytest.approx(1)
        assert all(count > 0 for count in info.full.values())
