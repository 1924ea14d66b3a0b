"""A trainer's way to the shards."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import manifests
from manifests.records import SemblanceError
from quality import codec
from shards import read
from tests.conftest import Run
from training import data

# webdataset 1.0.2 never closes a local shard
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning"),
]


def test_every_row_comes_as_its_picture(built: Path) -> None:
    rows = {row["sample_id"]: row for row in manifests.scan(str(built)).collect().iter_rows(named=True)}
    seen = []
    for split in ("train", "val", "test"):
        for image, note in data.images(str(built), split):
            row = rows[str(note["sample_id"])]
            assert (row["split"], row["face_label"]) == (split, note["face_label"])
            assert np.array_equal(image, codec.decode(read.fetch(str(built), row)))
            seen.append(row["sample_id"])
    assert sorted(seen) == sorted(rows)


def test_peek_counts(built: Path, run: Run, tmp_path: Path) -> None:
    samples = manifests.scan(str(built)).filter(pl.col("split") == "train").collect()
    said = run("training", "peek", "--data", built).stdout
    real, fake = (samples["face_label"] == 0).sum(), (samples["face_label"] == 1).sum()
    assert f"{samples.height} pictures of {samples.height} rows" in said
    assert f"{real} real, {fake} fake, {samples['face_label'].null_count()} without" in said
    assert "224x224" in said
    assert "no split 'nope'" in run("training", "peek", "--data", built, "--split", "nope", expect=2).stderr
    out = tmp_path / "out"
    shutil.copytree(built, out)
    part = max((out / "manifests" / "samples").glob("*train*.parquet"), key=lambda file: file.stat().st_size)
    pl.read_parquet(part).head(-1).write_parquet(part)
    with pytest.raises(SemblanceError, match="verify --deep"):
        data.peek(str(out), "train")
