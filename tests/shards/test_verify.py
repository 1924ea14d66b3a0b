"""Shards read by others, and every kind of damage found and said in a sentence."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from semblance import manifests
from semblance.shards import read, verify, write
from semblance.shards import tar as tario
from semblance.shards.layout import Receipt, key_of, shard_key, split_of, tar_path
from tests.conftest import Run

NAMES = st.lists(st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=90), unique=True, max_size=12)


@given(names=NAMES, seed=st.randoms())
def test_a_tar_comes_back(names: list[str], seed: object) -> None:
    members = [(name, seed.randbytes(seed.randrange(2000))) for name in names]  # type: ignore[attr-defined]
    file = io.BytesIO()
    offsets = tario.write(file, members)
    again = io.BytesIO()
    tario.write(again, members)
    assert file.getvalue() == again.getvalue()
    found = list(tario.read(io.BytesIO(file.getvalue())))
    assert [(member.name, member.data) for member in found] == members
    for member in found:
        assert file.getvalue()[member.offset : member.offset + len(member.data)] == member.data
        assert offsets[member.name] == member.offset


@given(names=NAMES.filter(len), cut=st.integers(1, 20))
def test_a_cut_tar_is_never_taken_for_whole(names: list[str], cut: int) -> None:
    file = io.BytesIO()
    tario.write(file, [(name, b"x" * 700) for name in names])
    data = file.getvalue()
    with pytest.raises(Exception, match="tar is"):
        list(tario.read(io.BytesIO(data[: max(len(names) * 3 * 512 + 1024 - cut * 512, 0)])))


def test_names() -> None:
    key = shard_key("dfdc", "train", 7)
    assert key == "dfdc-train-000007"
    assert (key_of(tar_path(key, "train")), split_of(tar_path(key, "train"))) == (key, "train")


def test_shards_that_are_not_counted_are_told(built: Path, run: Run, tmp_path: Path) -> None:
    """One with a damaged table, one without a receipt: the totals are those of the others."""
    out = tmp_path / "out"
    shutil.copytree(built, out)
    receipts = sorted((out / "receipts").glob("*.json"))
    torn, unfinished = (path.stem for path in receipts[:2])
    table = out / "manifests/videos" / f"{torn}.parquet"
    table.write_bytes(table.read_bytes()[:-20])
    said = run("shards", "verify", out, expect=1).stdout
    others = [json.loads(path.read_text()) for path in receipts if path.stem != torn]
    videos, samples = (sum(one[name] for one in others) for name in ("videos", "samples"))
    assert f"{len(receipts)} shards, {videos} videos, {samples} samples" in said
    assert "; 1 damaged or unfinished shard is not in these counts (" in said
    (out / "receipts" / f"{unfinished}.json").unlink()
    assert "; 2 damaged or unfinished shards are not in these counts (" in run("shards", "verify", out, expect=1).stdout
    assert "not in these counts" not in run("shards", "verify", built).stdout


def test_a_torn_receipt_is_no_receipt() -> None:
    for text in ("", "{", "{}", "[]", "null", '{"files": []}'):
        with pytest.raises(ValueError, match=r"."):
            Receipt.from_json(text)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset 1.0.2 never closes a local shard
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_shards(built: Path) -> None:
    """Its own reader gives the manifest's samples, in the tar's order."""
    samples = manifests.scan(str(built)).collect()
    for (shard,), rows in samples.group_by("shard", maintain_order=True):
        found = list(webdataset.WebDataset(str(built / str(shard)), shardshuffle=False, empty_check=False))
        assert [sample["__key__"] for sample in found] == rows["sample_id"].to_list()
        for sample, row in zip(found, rows.iter_rows(named=True), strict=True):
            assert json.loads(sample["json"])["face_label"] == row["face_label"]
            assert read.fetch(str(built), row) == sample["jpg"]
        streamed = list(read.stream(str(built / str(shard))))
        assert [name for name, _ in streamed] == rows["sample_id"].to_list()


def test_duckdb_and_polars_read_the_tables(built: Path) -> None:
    for table in ("samples", "rejects", "videos"):
        ours = manifests.scan(str(built), table).collect()
        count = duckdb.sql(f"SELECT count(*) FROM '{built}/manifests/{table}/*.parquet'").fetchall()
        assert count == [(ours.height,)]
        assert pl.read_parquet(f"{built}/manifests/{table}/*.parquet").height == ours.height


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[600] ^= 1
    file.write_bytes(data)


def _cut_at_member(file: Path) -> None:
    with tarfile.open(file) as tar:
        last = tar.getmembers()[-1].offset
    file.write_bytes(file.read_bytes()[:last])


def _drop_row(file: Path) -> None:
    pl.read_parquet(file).head(-1).write_parquet(file)


DAMAGE: dict[str, tuple[str, Callable[[Path], object], bool]] = {
    "a bit of a tar": ("shards/*/*.tar", _flip, False),
    "a tar cut at a member": ("shards/*/*.tar", _cut_at_member, True),
    "a tar cut inside": ("shards/*/*.tar", lambda file: file.write_bytes(file.read_bytes()[:1000]), True),
    "a tar gone": ("shards/*/*.tar", Path.unlink, True),
    "a torn receipt": ("receipts/*.json", lambda file: file.write_text(file.read_text()[:100]), True),
    "a receipt gone": ("receipts/*.json", Path.unlink, True),
    "a row gone": ("manifests/samples/*.parquet", _drop_row, True),
    "a table gone": ("manifests/videos/*.parquet", Path.unlink, True),
    "a table of nonsense": ("manifests/rejects/*.parquet", lambda file: file.write_bytes(b"nonsense"), True),
    "no dataset.json": ("dataset.json", Path.unlink, True),
    "a torn dataset.json": ("dataset.json", lambda file: file.write_text("{"), True),
}


@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_damage_is_found(built: Path, tmp_path: Path, damage: str) -> None:
    pattern, harm, shallow = DAMAGE[damage]
    out = tmp_path / "out"
    shutil.copytree(built, out)
    victim = max(out.glob(pattern), key=lambda file: (file.stat().st_size, file.name))
    harm(victim)
    report = verify.verify(str(out), deep=True)
    assert report.problems
    assert any(victim.stem in problem or victim.name in problem for problem in report.problems)
    assert bool(verify.verify(str(out), deep=False).problems) is shallow
    if pattern != "dataset.json":
        fingerprint = json.loads((built / "dataset.json").read_text())["fingerprint"]
        assert not write.is_done(str(out), victim.stem, fingerprint, thorough=True)


def test_the_command_verifies(built: Path, run: Run, tmp_path: Path) -> None:
    assert "intact" in run("shards", "verify", built).stdout
    assert "intact" in run("shards", "verify", built, "--deep").stdout
    assert "is not a build" in run("shards", "verify", tmp_path, expect=1).stderr
    out = tmp_path / "out"
    shutil.copytree(built, out)
    (out / "shards" / "stray.tar").write_bytes(b"")
    said = run("shards", "verify", out, "--deep", expect=1)
    assert "is not listed in any receipt" in said.stderr
