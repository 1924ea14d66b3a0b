"""What is installed: every package, template and marker, and it works beside foreign packages of the same names."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import HANG, PACKAGES, REPOSITORY


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the tree as it is, built without a network from a copy: a build leaves folders behind."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "semblance", *PACKAGES):
        (source / name).symlink_to(REPOSITORY / name)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build, str(folder)],
        cwd=source,
        check=True,
        capture_output=True,
        timeout=HANG,
    )
    (made,) = folder.glob("*.whl")
    return made


def tree() -> Iterator[tuple[str, Path]]:
    """Name in an installation and file of everything that the packages consist of."""
    for part in ("", *PACKAGES):
        folder = REPOSITORY / (part or "semblance")
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield "/".join(("semblance", *((part,) if part else ()), *file.relative_to(folder).parts)), file


def test_every_package_is_listed(project: dict[str, Any]) -> None:
    folders = {name.rpartition("/")[0].replace("/", ".") for name, _ in tree() if name.endswith(".py")}
    assert set(project["tool"]["setuptools"]["packages"]) == folders


def test_every_file_is_in_the_wheel(wheel: Path) -> None:
    """Modules, templates and ``py.typed``, with the bytes that are in the tree, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {name: file.read_bytes() for name, file in tree()}


def test_the_wheel_works_beside_foreign_packages_of_the_same_names(
    wheel: Path, project: dict[str, Any], tmp_path: Path
) -> None:
    """In an environment that holds the wheel alone, run from a folder with somebody's own ``training`` and ``quality``.

    The dependencies are those of this environment, by their path at the end: the wheel itself is found before.
    """
    home, desk = tmp_path / "home", tmp_path / "desk"
    for name in ("training", "quality"):
        (desk / name).mkdir(parents=True)
        (desk / name / "__init__.py").write_text("OWNER = 'a stranger'\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SEMBLANCE", "COV"))}
    python = home / "bin" / "python"

    def call(*words: str | Path) -> str:
        done = subprocess.run(
            list(map(str, words)), cwd=desk, env=env, capture_output=True, text=True, check=False, timeout=HANG
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    call(sys.executable, "-m", "venv", "--without-pip", home)
    call(sys.executable, "-m", "uv", "pip", "install", "--offline", "--no-deps", "--python", python, wheel)
    site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    assert {path.name for path in site.iterdir() if not path.name.startswith("_")} == {
        "semblance",
        f"semblance-{project['project']['version']}.dist-info",
    }
    # a path file adds the folder alone: the path files in it, such as the one of the development install, are not read
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    owner = "import training, quality; print(training.OWNER, quality.OWNER)"
    assert call(python, "-c", owner).strip() == "a stranger a stranger"
    modules = project["tool"]["setuptools"]["packages"]
    imported = f"import importlib, training\nfor name in {modules}: print(importlib.import_module(name).__file__)"
    places = call(python, "-c", imported).splitlines()
    assert len(places) == len(modules)
    assert [place for place in places if not Path(place).is_relative_to(site)] == []
    for command in project["project"]["scripts"]:
        assert "Usage" in call(home / "bin" / command, "--help")
