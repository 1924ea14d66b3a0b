"""Frames skipped for speed: a build has fewer or other frames; guided fakes keep all of them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from semblance import manifests
from semblance.ingest import recipe
from semblance.manifests.errors import UsageError
from tests.conftest import Run


def test_a_build_of_key_frames(demo: Path, tmp_path: Path, run: Run) -> None:
    """Originals yield each key frame once, their fakes the same indices; the laws hold."""
    out = tmp_path / "out"
    settings = ["--set", "decode.skip=nonkey", "--set", "sampling.n=12"]
    run("ingest", "build", "--dataset", "dfdc", "--root", demo, "--out", out,
        "--workers", "1", "--limit", "4", *settings)  # fmt: skip
    run("shards", "verify", out, "--deep")
    videos = manifests.scan(str(out), "videos").collect()
    assert set(videos["status"]) == {"ok"}
    reals = videos.filter(label=0)
    assert (reals["frames_sampled"] < 12).all()
    assert videos["frames_failed"].sum() == 0
    faces = pl.concat(
        [manifests.scan(str(out), table).select("video_id", "label", "family_id", "frame_index", "guide") for table in
         ("samples", "rejects")]
    ).collect()  # fmt: skip
    shown = {family: set(rows.filter(label=0)["frame_index"]) for (family,), rows in faces.group_by("family_id")}
    guided = faces.filter(pl.col("guide") == "original")
    assert guided.height
    for row in guided.iter_rows(named=True):
        assert row["frame_index"] in shown[row["family_id"]]


def test_masks_need_exact_frames() -> None:
    with pytest.raises(UsageError, match="masks belong to exact frames"):
        recipe.load("plan", ["masks=true", "decode.skip=nonref"])
