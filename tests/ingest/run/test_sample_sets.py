"""Builds of the FaceForensics++ and Celeb-DF samples, against their truth tables."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from semblance import manifests
from tests.conftest import Run

pytestmark = pytest.mark.shared

SAMPLED = 4  # frames per video


def build(
    dataset: str, shared: Path, run: Run, out: Path, *options: str, leaking: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The build's videos beside their truth, and its samples; what every set must show is checked."""
    root = shared / "data" / dataset
    run(
        "ingest",
        "build",
        "--dataset",
        dataset,
        "--root",
        root,
        "--out",
        out,
        "--set",
        f"sampling.n={SAMPLED}",
        *options,
    )
    verified = run("shards", "verify", out, "--deep", expect=int(leaking)).stdout
    assert "is intact" in verified
    assert leaking == ("the active split leaks" in verified)
    truth = pl.read_csv(root / "truth.csv").with_columns(pl.col("method").replace("original", "pristine"))
    videos = manifests.scan(str(out), "videos").collect()
    assert sorted(videos["path"]) == sorted(truth["path"])
    joined = videos.join(truth, on="path", suffix="_true").sort("path")
    for name in ("label", "method", "width", "height"):
        assert joined[name].to_list() == joined[f"{name}_true"].to_list(), name
    assert joined["frames_total"].to_list() == joined["frames"].to_list()
    assert set(joined["status"]) == {"ok"}
    assert (joined["faces_seen"] >= SAMPLED * joined["faces"]).all()  # an uncertain face may be seen in addition
    assert (joined["crops_kept"] + joined["crops_rejected"] == joined["faces_seen"]).all()
    fakes = joined.filter(pl.col("label") == 1)
    assert (fakes["guide"] == "original").mean() > 0.9
    return joined, manifests.scan(str(out)).collect()


def test_ffpp(shared: Path, run: Run, tmp_path: Path) -> None:
    options = ("--set", "split.protocol=official")
    videos, samples = build("ffpp", shared, run, tmp_path / "out", *options)
    assert videos["split"].to_list() == videos["split_official"].to_list() == videos["split_true"].to_list()
    for path, compression, target, recording in videos.select(
        "path", "compression", "target_id", "recording_id"
    ).iter_rows():
        assert f"/{compression}/" in path
        assert target == recording == f"ffpp-sequence-{path.rsplit('/', 1)[1][:3]}"
    shown = videos.filter(pl.col("label") == 1).select(  # the true people match the sequences one to one
        pl.struct("target_id", "persons").n_unique().alias("pairs"), pl.col("target_id").n_unique().alias("targets")
    )
    assert shown["pairs"].item() == shown["targets"].item() == 12
    assert set(samples["compression"]) == {"c23", "c40"}
    assert samples.filter(pl.col("label") == 1)["change_peak"].null_count() == 0


def test_celebdf(shared: Path, run: Run, tmp_path: Path) -> None:
    options = ("--set", "split.protocol=official")
    videos, _ = build("celebdf", shared, run, tmp_path / "out", *options, leaking=True)  # people are in train and test
    tested = videos["split_true"] == "test"
    assert (videos.filter(tested)["split"] == "test").all()
    assert set(videos.filter(~tested)["split"]) == {"train", "val"}
    named = videos.filter(pl.col("target_id").is_not_null())
    assert named.height == videos.height - 4  # the four from YouTube
    assert named.select(pl.struct("target_id", "persons")).unique().height == named["target_id"].n_unique()
    card = (tmp_path / "out/CARD.md").read_text()
    assert "Li et al., Celeb-DF" in card
    assert "real videos of unknown people (their isolation cannot be proven): 4" in card
