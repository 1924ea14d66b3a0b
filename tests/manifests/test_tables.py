"""Records, recipe fingerprints, storage and the query command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance import manifests
from semblance.ingest.recipe import Recipe, load
from semblance.manifests import schema, storage, tables
from semblance.manifests.config import canonical_json, differences, fingerprint
from semblance.manifests.console import plain
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.ids import MAX_ID, make_sample_id, make_video_id
from tests.conftest import Run

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@given(parts=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=3))
def test_ids_are_safe_everywhere(parts: list[str]) -> None:
    made = make_video_id(*parts)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,72}", made)
    assert len(f"{make_sample_id(made, 10**6 - 1, 99)}.mask.png") <= 100
    raw = "-".join(parts)
    assert (made == raw) == bool(re.fullmatch(r"[A-Za-z0-9_-]{1,72}", raw))
    assert make_video_id(*parts) == made
    assert len(made) <= MAX_ID


@given(a=st.text(min_size=1, max_size=100), b=st.text(min_size=1, max_size=100))
def test_different_names_have_different_ids(a: str, b: str) -> None:
    assert (make_video_id(a) == make_video_id(b)) == (a == b)


@given(value=st.dictionaries(st.text(max_size=5), JSON, max_size=5))
def test_the_fingerprint_is_of_the_value_not_of_its_order(value: dict[str, object]) -> None:
    turned = dict(reversed(value.items()))
    assert fingerprint(value) == fingerprint(turned)
    assert json.loads(canonical_json(value)) == value
    assert differences(value, turned) == []


def test_every_recipe_survives_its_json() -> None:
    for name in ("plan", "deepfakebench", "selim"):
        recipe = load(name)
        assert Recipe.model_validate(json.loads(canonical_json(recipe.model_dump(mode="json")))) == recipe
    assert load("plan") == Recipe()
    assert load("deepfakebench").crop.kind == "aligned"
    assert load("selim", ["sampling.k=5"]).sampling.k == 5


def test_differences_are_readable() -> None:
    a, b = (Recipe.model_validate(value).model_dump(mode="json") for value in ({}, {"gates": {"blur": 60}}))
    assert differences(a, b) == ["gates.blur: 50.0 -> 60.0"]


def test_unknown_keys_name_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown key 'crop\.sise'; known keys here are kind, margin, size"):
        load("plan", ["crop.sise=1"])


def test_published_files_are_complete_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.bin"
    storage.write_bytes(str(target), b"one")
    storage.write_bytes(str(target), b"two")
    assert target.read_bytes() == b"two"
    assert storage.read_range(str(target), 1, 1) == b"w"
    assert [stat.path for stat in storage.walk(str(tmp_path))] == ["a/b.bin"]
    (tmp_path / "file").write_text("")
    with pytest.raises(SemblanceError, match="cannot be written"):
        storage.write_bytes(str(tmp_path / "file" / "x"), b"")


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [{"video_id": f"v{i}", "label": i % 2} for i in range(50)]
    for name in ("a", "b"):
        tables.write_rows(str(tmp_path / name), rows, "videos")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(ValueError, match="no column"):
        tables.write_rows(str(tmp_path / "c"), [{"nope": 1}], "videos")


def test_flags_are_joined(built: Path, tmp_path: Path) -> None:
    """By sample and by video; without any, an empty list."""
    import shutil

    out = tmp_path / "out"
    shutil.copytree(built, out)
    samples = manifests.scan(str(out)).collect()
    assert samples["flags"].list.len().sum() == 0
    first = samples.row(0, named=True)
    rows = [
        {"sample_id": first["sample_id"], "video_id": first["video_id"], "flag": "duplicate"},
        {"sample_id": None, "video_id": first["video_id"], "flag": "altered_sound"},
    ]
    tables.write_rows(str(out / "manifests/flags/test.parquet"), rows, "flags")
    again = manifests.scan(str(out)).collect()
    assert again.drop("flags").equals(samples.drop("flags"))
    assert again.row(0, named=True)["flags"] == ["altered_sound", "duplicate"]
    others = again.filter((pl.col("video_id") == first["video_id"]) & (pl.col("sample_id") != first["sample_id"]))
    assert set(others["flags"].list.join(",")) == {"altered_sound"}


def test_scan_reports_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SemblanceError, match="is not a build"):
        manifests.scan(str(tmp_path))
    with pytest.raises(SemblanceError, match="Unknown table"):
        manifests.scan(str(tmp_path), "nope")  # type: ignore[arg-type]


def test_the_query_command(built: Path, run: Run, tmp_path: Path) -> None:
    sql = "SELECT split, count(*) AS n FROM samples GROUP BY split ORDER BY split"
    expected = manifests.scan(str(built)).group_by("split").agg(n=pl.len()).sort("split").collect()
    assert json.loads(run("manifests", "query", built, sql, "--format", "json").stdout) == expected.to_dicts()
    lines = run("manifests", "query", built, sql, "--format", "csv").stdout.splitlines()
    assert lines == ["split,n", *(f"{split},{n}" for split, n in expected.iter_rows())]
    run("manifests", "query", built, sql, "--format", "parquet", "--to", tmp_path / "a.parquet")
    assert pl.read_parquet(tmp_path / "a.parquet").height == expected.height
    assert "split" in run("manifests", "query", built, sql).stdout
    output = run("manifests", "query", built, "SELECT nope FROM samples", expect=2).stderr
    assert "cannot be run" in output
    assert "cannot be printed" in run("manifests", "query", built, sql, "--format", "parquet", expect=2).stderr
    listed = run("manifests", "schema", "samples").stdout
    assert all(name in listed for name in schema.SAMPLES.names)


def test_names_cannot_control_a_terminal() -> None:
    assert plain("a\x1b[31mb\nc") == "a\\x1b[31mb\\nc"
    assert plain("two\nlines", keep_lines=True) == "two\nlines"


@pytest.mark.parametrize("package", ["ingest", "manifests", "shards", "quality", "training"])
def test_help_loads_nothing_heavy(package: str) -> None:
    code = (
        "import sys\n"
        f"from {package}.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'cv2', 'polars', 'dask', 'pyarrow', 'av'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].endswith("HEAVY []"), done.stdout[-300:]
