"""Videos to shards: every law of the plan, on random tables."""

from __future__ import annotations

import random

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.manifests import splits
from semblance.manifests.ids import digest
from semblance.manifests.records import SPLITS, Video
from semblance.shards.layout import shard_key, tar_path
from semblance.shards.plan import ShardConfig, assign_shards

WEIGHT = 100  # bytes a video


@st.composite
def tables(draw: st.DrawFn) -> list[Video]:
    """Families whose members stand in up to two splits (a protocol may leave some out)."""
    videos = []
    for family in range(draw(st.integers(1, 15))):
        side = draw(st.sampled_from(SPLITS))
        for member in range(draw(st.integers(1, 6))):
            kind = draw(st.sampled_from(["there", "there", "there", "missing", "left out"]))
            videos.append(
                Video(
                    video_id=f"dfdc-{family:02d}-{draw(st.integers(0, 99)):02d}-{member}",
                    path=f"{family}/{member}.mp4",
                    dataset="dfdc",
                    label=draw(st.sampled_from([0, 1, None])),
                    family_id=f"dfdc-{family:02d}",
                    split="unassigned" if kind == "left out" else side,
                    fault="missing" if kind == "missing" else None,
                )
            )
    return videos


def planned(videos: list[Video], target: int, seed: int = 0) -> pl.DataFrame:
    config = ShardConfig(target_bytes=target)
    return assign_shards(splits.plan_frame(videos), config, dataset="dfdc", bytes_per_video=WEIGHT, seed=seed)


@settings(deadline=None, max_examples=60)
@given(tables(), st.integers(1, 1500), st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(
    videos: list[Video], target: int, seed: int, chance: random.Random
) -> None:
    assert planned(chance.sample(videos, len(videos)), target, seed).equals(planned(videos, target, seed))


@settings(deadline=None, max_examples=60)
@given(tables(), st.integers(1, 1500))
def test_each_video_once_in_order_and_nothing_else_is_changed(videos: list[Video], target: int) -> None:
    frame, done = splits.plan_frame(videos), planned(videos, target)
    assert done.schema == frame.schema
    assert done["order"].to_list() == list(range(len(videos)))
    rest = pl.exclude("shard", "order")
    assert done.sort("video_id").select(rest).equals(frame.sort("video_id").select(rest))
    places = [SPLITS.index(split) for split in done["split"]]
    assert places == sorted(places)
    for split in SPLITS:  # shards are numbered from 0 without a gap, in the build's order
        shards = done.filter(pl.col("split") == split)["shard"].unique(maintain_order=True).to_list()
        assert shards == [tar_path(shard_key("dfdc", split, n), split) for n in range(len(shards))]
    assert done["shard"].to_list() == sorted(done["shard"], key=lambda s: (SPLITS.index(s.split("/")[1]), s))


@settings(deadline=None, max_examples=60)
@given(tables(), st.integers(1, 1500))
def test_a_family_lies_in_one_shard_of_its_split_and_originals_come_first(videos: list[Video], target: int) -> None:
    done = planned(videos, target)
    assert set(done.group_by("split", "family_id").agg(pl.col("shard").n_unique())["shard"]) == {1}
    for _, members in done.group_by("split", "family_id", maintain_order=True):
        rows = members.select("order", "label", "video_id").rows()
        assert [order for order, *_ in rows] == list(range(rows[0][0], rows[0][0] + len(rows)))
        keys = [({0: 0, 1: 1, None: 2}[label], name) for _, label, name in rows]
        assert keys == sorted(keys)


@settings(deadline=None, max_examples=60)
@given(tables(), st.integers(1, 1500))
def test_a_shard_is_over_its_size_only_for_one_family_and_none_is_needless(videos: list[Video], target: int) -> None:
    weighed = planned(videos, target).with_columns(weight=pl.col("fault").is_null() * WEIGHT)
    shards = weighed.group_by("split", "shard", maintain_order=True).agg(
        weight=pl.col("weight").sum(),
        families=pl.col("family_id").filter(pl.col("weight") > 0).n_unique(),
        first=pl.col("weight").filter(pl.col("family_id") == pl.col("family_id").get(pl.col("weight").arg_max())).sum(),
    )
    assert all(weight <= target or families == 1 for weight, families in shards.select("weight", "families").rows())
    for _, group in shards.group_by("split", maintain_order=True):
        held, first = group["weight"].to_list(), group["first"].to_list()
        assert len(held) == 1 or min(held) > 0  # videos that are not decoded open no shard
        assert all(held[n] + first[n + 1] > target for n in range(len(held) - 1))  # it would not have fitted


def test_families_stand_in_the_order_of_their_hash() -> None:
    videos = [
        Video(video_id=f"dfdc-{n}", path=f"{n}.mp4", dataset="dfdc", label=0, family_id=f"dfdc-{n}", split="val")
        for n in range(12)
    ]
    for seed in (0, 1):
        done = planned(videos, 250, seed)
        assert done["family_id"].to_list() == sorted(
            (one.family_id for one in videos), key=lambda name: digest(seed, name)
        )
        assert done.group_by("shard", maintain_order=True).len()["len"].to_list() == [2] * 6
