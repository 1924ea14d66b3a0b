"""Which pictures a query selects, and that the excluded ones are counted."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import polars as pl
import pytest

from semblance import manifests
from semblance.manifests import tables
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.data import query, shards
from semblance.training.data.query import QueryConfig
from semblance.training.data.units import ClipConfig, UnitConfig
from tests.training import builds


def test_a_query_selects_what_duckdb_selects(ffpp: Path) -> None:
    condition = "compression = 'c23' AND blur > 4 OR method = 'FaceSwap'"
    selection = query.select([str(ffpp)], "train", QueryConfig(query=condition))
    theirs = duckdb.sql(
        f"SELECT sample_id, face_label FROM '{ffpp}/manifests/samples/*.parquet' "
        f"WHERE split = 'train' AND ({condition}) AND face_label IS NOT NULL"
    ).fetchall()
    assert sorted(selection.pictures.select("sample_id", "target").rows()) == sorted(theirs)
    expression = (pl.col("compression") == "c23") & (pl.col("blur") > 4) | (pl.col("method") == "FaceSwap")
    same = query.select([str(ffpp)], "train", condition=expression)
    assert same.pictures.equals(selection.pictures)
    counts = selection.counts
    left = counts.gated + counts.flagged + counts.outside + counts.unlabelled + counts.incomplete
    assert counts.listed == counts.selected + left
    assert counts.unlabelled > 0
    assert f"{counts.unlabelled} have no face label" in str(counts)


def test_unlabelled_faces_are_kept_for_the_scores_of_videos(ffpp: Path) -> None:
    selection = query.select([str(ffpp)], "val", unlabelled=True)
    assert selection.counts.unlabelled == 0
    assert selection.pictures["target"].null_count() > 0
    assert selection.counts.selected == selection.counts.listed


def test_flags_and_verdicts_are_honoured(tmp_path: Path) -> None:
    out = builds.make(tmp_path / "out", builds.Plan(families=2))
    rows = manifests.scan(str(out)).filter(pl.col("split") == "train").collect()
    noisy, video = rows["sample_id"][0], rows["video_id"][-1]
    flags = [
        {"sample_id": noisy, "video_id": rows["video_id"][0], "flag": "label_noise", "by": "test"},
        {"sample_id": None, "video_id": video, "flag": "duplicate", "by": "test"},
    ]
    tables.write_rows(f"{out}/manifests/flags/test.parquet", flags, "flags")
    part = next((out / "manifests" / "samples").glob("*train*.parquet"))
    table = pl.read_parquet(part)
    failed = table["sample_id"].filter(table["video_id"] != video)[1]
    verdict = pl.when(pl.col("sample_id") == failed).then(pl.lit("blur")).otherwise("verdict").alias("verdict")
    table.with_columns(verdict).write_parquet(part)
    everything = set(rows.filter(pl.col("face_label").is_not_null())["sample_id"])
    clean = query.select([str(out)], "train", QueryConfig(exclude_flags=("label_noise", "duplicate")))
    of_video = set(rows.filter(pl.col("video_id") == video)["sample_id"])
    assert set(clean.pictures["sample_id"]) == everything - {noisy, failed} - of_video
    assert (clean.counts.flagged, clean.counts.gated) == (1 + len(of_video), 1)
    marked = query.select([str(out)], "train", QueryConfig(verdicts="all", exclude_flags=("nothing",)))
    assert set(marked.pictures["sample_id"]) == everything


def test_a_missing_person_is_its_track_and_nobody_else(tmp_path: Path) -> None:
    """As a person it has a number that no known person has."""
    known = builds.make(tmp_path / "known", builds.Plan(families=2, cut=10))
    older = builds.make(tmp_path / "older", builds.Plan(families=2, cut=10, persons=False))
    rows = query.select([str(known)], "train")
    listed = manifests.scan(str(known)).select("sample_id", "person").collect()
    expected = rows.pictures.select("sample_id").join(listed, on="sample_id", maintain_order="left")
    assert rows.pictures["person"].equals(expected["person"])
    assert rows.pictures["person"].n_unique() == 2 < rows.pictures["track"].n_unique()
    assert rows.note is None
    rows = query.select([str(older)], "train")
    assert rows.pictures["person"].to_list() == (-1 - rows.pictures["track"]).to_list()
    assert rows.note is not None
    assert f"{rows.pictures.height} of {rows.pictures.height} pictures have no person" in rows.note
    part = next((older / "manifests" / "samples").glob("*train*.parquet"))
    table = pl.read_parquet(part)
    some = pl.when(pl.col("track") == 0).then(pl.lit(1, pl.Int16)).alias("person")
    table.with_columns(some).write_parquet(part)
    mixed = query.select([str(older)], "train").pictures
    assert set(mixed.select("track", "person").unique().rows()) == {(0, 1), (1, -2), (2, -3), (3, -4)}


def test_the_order_of_builds_does_not_matter(ffpp: Path, dfdc: Path) -> None:
    a = query.select([str(ffpp), str(dfdc)], "train")
    b = query.select([str(dfdc), str(ffpp)], "train")
    assert a.pictures["sample_id"].to_list() == b.pictures["sample_id"].to_list()
    assert [shard.url for shard in a.shards] != [shard.url for shard in b.shards]
    for selection in (a, b):
        rows = selection.pictures.select("dataset", "shard").unique().iter_rows()
        assert all(dataset in selection.shards[shard].path for dataset, shard in rows)


def test_a_weight_may_be_any_expression(ffpp: Path) -> None:
    selection = query.select([str(ffpp)], "train", weight="1.0 / count(*) OVER (PARTITION BY video_id)")
    per_video = selection.pictures.group_by("video_id").agg(pl.col("weight").sum())["weight"]
    assert per_video.to_list() == pytest.approx([1.0] * len(per_video))
    for weight in ("-1", "blur - 3", "NULL::DOUBLE"):
        with pytest.raises(UsageError, match="at least 0"):
            query.select([str(ffpp)], "train", weight=weight)


def test_clips_are_tracks_in_order(ffpp: Path) -> None:
    unit = UnitConfig(mode="clips", clip=ClipConfig(frames=3, step=1))
    selection = query.select([str(ffpp)], "train", unit=unit)
    for _, clip in selection.pictures.group_by("unit"):
        clip = clip.sort("member")
        assert clip.select("video_id", "track", "target").n_unique() == 1
        assert clip["frame_index"].diff().drop_nulls().to_list() == [5, 5]
    tracks = selection.pictures.select("video_id", "track").n_unique()
    assert selection.units.height == 2 * tracks  # 4 frames: two windows of 3
    assert selection.members == 3
    apart = UnitConfig(mode="clips", clip=ClipConfig(frames=2, step=1, gap=5))
    hole = query.select([str(ffpp)], "train", unit=apart, condition=pl.col("frame_index") != 5)
    assert hole.units.height == tracks  # frames 0, 10, 15: one pair of neighbours
    assert hole.counts.incomplete == tracks
    with pytest.raises(SemblanceError, match="no clips"):
        query.select([str(ffpp)], "train", unit=UnitConfig(mode="clips", clip=ClipConfig(frames=9)))


def test_pairs_are_a_fake_and_its_original(ffpp: Path, dfdc: Path) -> None:
    selection = query.select([str(ffpp), str(dfdc)], "train", unit=UnitConfig(mode="pairs"))
    fakes = 0
    for _, pair in selection.pictures.group_by("unit", maintain_order=True):
        real, fake = pair.sort("member").iter_rows(named=True)
        assert (real["target"], fake["target"]) == (0.0, 1.0)
        for column in ("family_id", "compression", "frame_index", "track", "shard"):
            assert real[column] == fake[column]
        fakes += 1
    every = pl.concat([manifests.scan(str(out)).collect() for out in (ffpp, dfdc)])
    assert fakes == every.filter((pl.col("split") == "train") & (pl.col("face_label") == 1)).height
    assert selection.units["paired"].all()


def test_impossible_queries_are_reported_in_one_sentence(ffpp: Path, tmp_path: Path) -> None:
    for split, config, message in (
        ("nope", QueryConfig(), "Unknown split 'nope'"),
        ("train", QueryConfig(split_column="nope"), "Unknown split column 'nope'"),
        ("train", QueryConfig(query="blur >"), "is not a valid SQL expression"),
        ("train", QueryConfig(query="nope > 1"), "cannot be used"),
        ("train", QueryConfig(query="blur + 1"), "cannot be used"),
    ):
        with pytest.raises(UsageError, match=message):
            query.select([str(ffpp)], split, config)
    with pytest.raises(UsageError, match="named twice"):
        query.select([str(ffpp), f"{ffpp}/"], "train")
    with pytest.raises(SemblanceError, match=r"Split train .* is empty under column split_identity"):
        query.select([str(ffpp)], "train", QueryConfig(split_column="split_identity"))
    with pytest.raises(SemblanceError, match="is not a build"):
        query.select([str(tmp_path)], "train")
    fakes = query.select([str(ffpp)], "train", QueryConfig(query="label = 1"))
    with pytest.raises(SemblanceError, match="no real ones"):
        query.check_classes(fakes)


def test_a_missing_or_short_shard_is_found_before_reading(ffpp: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(ffpp, out)
    selection = query.select([str(out)], "train")
    shards.check(selection.shards)
    victim = Path(selection.shards[1].url)
    data = victim.read_bytes()
    victim.write_bytes(data[: len(data) // 2])
    with pytest.raises(SemblanceError, match=rf"{victim.name} is cut short"):
        shards.check(selection.shards)
    victim.unlink()
    with pytest.raises(SemblanceError, match=rf"{victim.name} is missing"):
        shards.check(selection.shards)
