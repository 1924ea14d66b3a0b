"""Examples in docstrings print what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.conftest import PACKAGES, REPOSITORY

MODULES = sorted(
    ".".join(("semblance", *file.relative_to(REPOSITORY).with_suffix("").parts)).removesuffix(".__init__")
    for folder in PACKAGES
    for file in (REPOSITORY / folder).rglob("*.py")
    if ">>> " in file.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name: str) -> None:
    done = doctest.testmod(importlib.import_module(name))
    assert done.attempted > 0
    assert done.failed == 0
