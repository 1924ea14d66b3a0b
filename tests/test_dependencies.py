"""Dependencies are what is imported: none that nobody uses, none that only comes along with another."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from typing import Any, Final

import pytest

from tests.conftest import PACKAGES, REPOSITORY

PLUGINS: Final = {"s3fs"}  # found by fsspec through its name
OPTIONAL: Final = {"wandb"}  # for those who have it: no extra asks for it
UNLISTED: Final = {"dlib": ["dlib-bin"]}  # the wheel names its binary alone
TOOLS: Final = {
    *("codespell", "coverage", "import-linter", "moto", "mypy", "pre-commit", "pytest-cov", "pytest-timeout"),
    *("pytest-xdist", "ruff", "setuptools", "types-psutil", "types-pyyaml"),
    "datasets",  # imported by a page that the tests run
}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def imports(*folders: str) -> set[str]:
    """Top-level names of all foreign modules that are imported below folders of the repository, anywhere in a file."""
    found: set[str] = set()
    for folder in folders:
        for file in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"semblance", "tests", *PACKAGES}  # packages of the old layout too


def canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def distributions(modules: set[str]) -> set[frozenset[str]]:
    """For each module the distributions that provide it: one of them must be declared."""
    known = UNLISTED | dict(packages_distributions())
    return {frozenset(map(canonical, known[module])) for module in modules - OPTIONAL}


def required(*lists: list[str]) -> set[str]:
    """Names in lists of requirements."""
    bare = (line.split(";")[0].split("[")[0] for names in lists for line in names)
    return {canonical(name.split("=")[0].rstrip("><! ")) for name in bare}


def test_dependencies_are_what_is_imported(project: dict[str, Any]) -> None:
    """Nothing is asked for that nobody imports, and nothing is imported that only comes along with something else."""
    about = project["project"]
    base, extras = required(about["dependencies"]), about["optional-dependencies"]
    people = required(extras["people"])
    train = required(*(extras[name] for name in ("train", "export", "serve", "ray"))) - {"semblance"}  # extras of it
    used = distributions(imports("semblance", *PACKAGES))
    by_name = {name for names in used for name in names}
    # albumentations' pin; weights that are read as a file; what torch's exporter, model-signing and uvicorn import
    unused = {"albucore", "face-recognition-models", "onnxscript", "pyopenssl", "httptools", "uvloop"}
    assert {name for name in base | train | people if name not in by_name} == PLUGINS | unused
    assert [names for names in used if not names & (base | train | people)] == []
    without = distributions(imports("semblance", *(part for part in PACKAGES if part != "training")))
    assert [names for names in without if not names & (base | people)] == []


def test_development_dependencies_are_what_tests_import(project: dict[str, Any]) -> None:
    about = project["project"]
    dev = required(about["optional-dependencies"]["dev"])
    extras = about["optional-dependencies"]
    declared = dev | required(about["dependencies"], *(packages for name, packages in extras.items() if name != "dev"))
    used = distributions(
        imports("tests") & (packages_distributions().keys() | UNLISTED.keys())
    )  # tests write modules of their own
    assert [names for names in used if not names & declared] == []
    assert dev - {name for names in used for name in names} == TOOLS
