"""Builds of other schema versions: an older minor one does all that a present one does, a major one is refused."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance import manifests
from semblance.manifests import build_files, schema
from semblance.manifests.errors import SemblanceError
from semblance.manifests.schema import Version
from semblance.quality.checks import drift
from semblance.shards import verify
from semblance.shards.export.registry import export
from semblance.shards.repack import plan as replan
from semblance.shards.repack import run as repack
from semblance.shards.repack.plan import RepackRequest
from semblance.training.data import peek, query
from tests.conftest import Run

STORED = Path(__file__).parent / "stored" / "schema4.tar.xz"  # made by make_schema4.py beside it
ADDED = (  # in versions 5 and 5.1
    *("blur_outside", "brightness_outside", "contrast_outside", "person", "face_label_by"),
    *("residual_outside", "residual_kurtosis_outside", "split_person_estimated"),
    *("aligned_phash", "aligned_phash_mirrored"),
)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build that the code of schema version 4 wrote. Tests only read it."""
    out = tmp_path_factory.mktemp("older") / "out"
    with tarfile.open(STORED) as tar:
        tar.extractall(out, filter="data")
    return out


def versioned(out: Path, to: Path, version: object) -> Path:
    """A copy of a build whose dataset.json names another schema version."""
    shutil.copytree(out, to)
    described = json.loads((to / "dataset.json").read_text())
    described["versions"]["schema"] = version
    (to / "dataset.json").write_text(json.dumps(described))
    return to


def test_the_stored_build_is_of_an_older_version_and_lacks_columns(older: Path) -> None:
    assert json.loads((older / "dataset.json").read_text())["versions"]["schema"] == "4"
    assert Version.parse("4") < schema.CURRENT
    for part in older.glob("manifests/samples/*.parquet"):
        stored = pq.read_schema(part)
        assert stored.metadata[b"semblance_schema"] == b"4"
        assert set(schema.SAMPLES.names) - set(stored.names) == set(ADDED)


def test_it_is_whole_and_its_new_columns_are_null(older: Path) -> None:
    assert verify.verify(str(older), deep=True).problems == []
    for table in ("samples", "rejects"):
        rows = manifests.scan(str(older), table).collect()
        assert rows.height
        assert all(rows[name].null_count() == rows.height for name in ADDED)


@pytest.mark.parametrize("split", ["family", "temporal", "official"])
def test_it_is_repacked_as_a_build_of_the_present_version(older: Path, tmp_path: Path, split: str) -> None:
    to = tmp_path / "to"
    repack.run(replan.plan(str(older), RepackRequest(split=split)), str(to))
    assert verify.verify(str(to), deep=True).problems == []
    assert json.loads((to / "dataset.json").read_text())["versions"]["schema"] == str(schema.VERSION)
    for part in to.glob("manifests/samples/*.parquet"):
        assert pq.read_schema(part).equals(schema.SAMPLES)
    changed = [name for name in schema.SAMPLES.names if name.startswith("split") or name in ("shard", "tar_offset")]
    before, after = (manifests.scan(str(one)).drop(changed).sort("sample_id").collect() for one in (older, to))
    assert before.equals(after)
    repack.run(replan.plan(str(to), RepackRequest(split="identity")), str(tmp_path / "again"))  # and so on


def test_it_is_exported(older: Path, tmp_path: Path) -> None:
    done = export(str(older), "folder", str(tmp_path / "to"))
    kept = manifests.scan(str(older)).filter(pl.col("verdict") == "keep").select(pl.len()).collect().item()
    assert sum(done.pictures.values()) == kept > 0


def test_it_is_audited_and_reported(older: Path, run: Run, tmp_path: Path) -> None:
    build = tmp_path / "build"
    shutil.copytree(older, build)
    run("quality", "audit", build)
    run("quality", "report", build)
    assert (build / "report" / "index.html").stat().st_size
    assert {one.verdict for one in drift.drift(str(older), str(older)) if one.column in ADDED[:3]} == {"unknown"}


def test_it_is_trained_from(older: Path) -> None:
    assert build_files.finished(str(older))["dataset"] == "folder"
    chosen = query.select([str(older)], "train")
    pictures = list(peek.images(chosen))
    assert len(pictures) == manifests.scan(str(older)).filter(pl.col("split") == "train").collect().height


@pytest.mark.parametrize("version", ["3", "6", "6.0", "50", "five", "", None])
def test_another_major_version_is_refused(older: Path, tmp_path: Path, version: str | None) -> None:
    other = versioned(older, tmp_path / "other", version)
    for refused in (
        lambda: replan.plan(str(other), RepackRequest(split="family")),
        lambda: export(str(other), "folder", str(tmp_path / "to")),
    ):
        with pytest.raises(SemblanceError, match="another version of Semblance"):
            refused()
    if version is not None:
        with pytest.raises(SemblanceError, match="another version of Semblance"):
            build_files.finished(str(other))
    assert not (tmp_path / "to").exists()


def test_a_newer_minor_version_is_read_but_not_copied_without_its_columns(older: Path, tmp_path: Path) -> None:
    other = versioned(older, tmp_path / "other", f"{schema.CURRENT.major}.{schema.CURRENT.minor + 1}")
    assert verify.verify(str(other), deep=True).problems == []
    assert build_files.finished(str(other))["dataset"] == "folder"
    with pytest.raises(SemblanceError, match="update Semblance"):
        replan.plan(str(other), RepackRequest(split="family"))
    with pytest.raises(SemblanceError, match="update Semblance"):
        export(str(other), "folder", str(tmp_path / "to"))


@given(major=st.integers(5, 99), minor=st.integers(0, 99), other=st.integers(0, 99))
def test_versions_are_read_as_they_are_written(major: int, minor: int, other: int) -> None:
    version = Version(major, minor)
    assert Version.parse(str(version)) == version
    assert (Version(major, minor) < Version(major, other)) == (minor < other)
    assert Version.parse("4") < Version(5, minor)
