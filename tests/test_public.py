"""The public door: its names, their types, and that importing it costs nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import semblance
from semblance.ingest.plan import Plan
from tests.conftest import REPOSITORY

HEAVY = ("numpy", "polars", "torch", "cv2", "pyarrow", "dask", "pydantic", "typer")


def test_every_public_name_is_there_and_documented() -> None:
    assert sorted(semblance.__all__) == semblance.__all__
    for name in semblance.__all__:
        found = getattr(semblance, name)
        assert isinstance(found, str) if name == "__version__" else (found.__doc__ or "").strip(), name
        assert name in dir(semblance)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        semblance.nothing  # noqa: B018  # the attribute access is what is tested


def test_importing_it_loads_nothing_heavy(tmp_path: Path) -> None:
    code = f"import semblance, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_type_checker_sees_the_types(tmp_path: Path) -> None:
    """What a user's own mypy says of the public names."""
    user = tmp_path / "user.py"
    user.write_text("import semblance\nreveal_type(semblance.plan)\nreveal_type(semblance.scan('out'))\n")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--follow-imports=silent",
        "--cache-dir",
        str(tmp_path / "cache"),
        str(user),
    ]
    package = tmp_path / "types" / "semblance"  # as it is installed
    shutil.copytree(REPOSITORY / "semblance", package)
    for part in ("ingest", "manifests", "quality", "shards", "training"):
        (package / part).symlink_to(REPOSITORY / part)
    environment = {"MYPYPATH": str(package.parent), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert "semblance.ingest.plan.Plan" in done.stdout
    assert "polars" in done.stdout
    assert "LazyFrame" in done.stdout


def test_from_a_folder_to_a_batch(demo: Path, tmp_path: Path) -> None:
    """The whole way by the public names alone."""
    recipe = semblance.load_recipe(str(demo / "recipe.yaml"), ["sampling.n=2"])
    planned = semblance.plan("dfdc", str(demo), recipe)
    assert isinstance(planned, Plan)
    out = str(tmp_path / "out")
    built = semblance.build(planned, out, workers=1)
    assert built.worked == len(planned.by_shard())
    assert semblance.verify(out, deep=True).problems == []
    assert semblance.scan(out).collect().height == built.description["counts"]["samples"]
    batch = next(iter(semblance.Loader(semblance.select([out], "train"), batch=2)))
    assert batch.image_BCHW.shape[:2] == (2, 3)
