"""A small F3-Net without pretrained weights learns to detect fakes of unseen people."""

from __future__ import annotations

import subprocess
from pathlib import Path

import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from tests.conftest import BIN

GATES = ("--set", "gates.blur=null", "--set", "gates.brightness=null")  # dark clips are half of the sample's val split
PAIRS = ("--set", "data.mode=pairs", "--set", "data.batch_size=12", "--set", "data.draws=1000", "--set", "epochs=8")


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.timeout(3000)
def test_a_small_run_learns_faceforensics(shared: Path, tmp_path: Path) -> None:
    """The sample's c23 clips: eight people in train, two in val, two in test; takes about six minutes."""

    def call(command: str, *arguments: object) -> None:
        subprocess.run([str(BIN / command), *map(str, arguments)], check=True, timeout=2400)

    out, run, page = (tmp_path / name for name in ("out", "run", "page"))
    call("ingest", "build", "--dataset", "ffpp", "--root", shared / "data/ffpp", "--out", out, *GATES)
    query = ("--set", "data.query=compression = 'c23'")
    call(
        "training", "fit", "--data", out, "--recipe", "f3net_small", "--run", run, "--tracking", "none", *PAIRS, *query
    )
    call("training", "evaluate", "--data", out, "--run", run, "--to", page)
    rows = pl.read_parquet(page / "predictions.parquet").filter(compression="c23")
    videos = (
        rows.group_by("video_id", "person")
        .agg(pl.col("label").first(), pl.col("logit").mean())
        .group_by("video_id")
        .agg(pl.col("label").first(), pl.col("logit").max())
    )
    assert videos.height == 10
    assert roc_auc_score(videos["label"], videos["logit"]) > 0.8
    assert roc_auc_score(rows["label"], rows["logit"]) > 0.75
