"""The family split: laws on random families, an exhaustive reference, and the size of the full DFDC."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from semblance.manifests import schema, splits
from semblance.manifests.records import TRAIN_VAL_TEST, Video
from semblance.manifests.splits import SplitConfig
from semblance.manifests.splits.balance import divide

SHARES = st.sampled_from([(0.8, 0.1, 0.1), (0.7, 0.15, 0.15), (0.5, 0.25, 0.25), (0.6, 0.4, 0.0), (0.0, 0.5, 0.5)])
KINDS = st.sampled_from(["real", "fake", "missing", "unlabelled"])


def video(family: int, member: int, kind: str) -> Video:
    return Video(
        video_id=f"dfdc-{family:03d}-{member}",
        path=f"{family:03d}_{member}.mp4",
        dataset="dfdc",
        label={"real": 0, "fake": 1, "missing": 1, "unlabelled": None}[kind],
        family_id=f"dfdc-{family:03d}-0",
        fault=kind if kind in ("missing", "unlabelled") else None,
    )


@st.composite
def collections(draw: st.DrawFn) -> list[Video]:
    families = draw(st.lists(st.lists(KINDS, min_size=1, max_size=6), min_size=1, max_size=12))
    return [video(n, m, kind) for n, family in enumerate(families) for m, kind in enumerate(family)]


def weights(sizes: Sequence[int], parts: Sequence[str]) -> dict[str, int]:
    return {
        split: sum(size for size, name in zip(sizes, parts, strict=True) if name == split) for split in TRAIN_VAL_TEST
    }


def test_a_plan_frame_has_the_columns_and_types_of_the_plan_and_comes_back() -> None:
    videos = [video(0, 0, "real"), video(0, 1, "missing"), video(1, 0, "unlabelled")]
    frame = splits.plan_frame(videos)
    assert frame.columns == schema.PLAN.names
    assert frame.schema["label"] == pl.Int8
    assert frame.schema["order"] == pl.Int64
    assert splits.to_videos(frame) == videos
    assert splits.plan_frame([]).columns == schema.PLAN.names


@settings(deadline=None, max_examples=30)
@given(collections(), SHARES, st.integers(0, 5), st.randoms(use_true_random=False))
def test_no_family_is_in_two_splits_in_any_order(
    videos: list[Video], shares: tuple[float, float, float], seed: int, rng: random.Random
) -> None:
    config = SplitConfig(fractions=shares)
    frame = splits.plan_frame(videos)
    done = splits.assign(frame, config, seed).table
    assert done.schema == frame.schema
    assert done["video_id"].to_list() == frame["video_id"].to_list()
    untouched = [name for name in frame.columns if name not in ("split", "split_family", "split_note")]
    assert done.select(untouched).equals(frame.select(untouched))
    for row in done.iter_rows(named=True):
        if row["label"] is None:
            assert (row["split"], row["split_family"]) == ("unassigned", None)
            assert row["split_note"] == "unlabelled: no usable metadata"
        else:
            assert row["split"] == row["split_family"] in TRAIN_VAL_TEST
            assert row["split_note"] is None
    in_splits = done.filter(pl.col("split") != "unassigned").group_by("family_id").agg(pl.col("split").n_unique())
    assert set(in_splits["split"]) <= {1}
    mixed = rng.sample(videos, len(videos))
    again = splits.assign(splits.plan_frame(mixed), config, seed).table
    assert again.sort("video_id").equals(done.sort("video_id"))


def rank(sizes: Sequence[int], parts: Sequence[str], shares: Sequence[float]) -> tuple[object, ...]:
    """The criteria of ``divide``, computed independently."""
    held, total = weights(sizes, parts), sum(sizes)
    targets = {
        split: Fraction(str(share)) * total for split, share in zip(TRAIN_VAL_TEST, shares, strict=True) if share
    }
    first, *others = targets
    outside = sum(
        max(Fraction(0), targets[split] / 2 - held[split], held[split] - 2 * targets[split]) for split in others
    )
    far = sum(abs(held[split] - targets[split]) for split in others)
    empty = (held[first] == 0, sum(held[split] == 0 for split in others))
    return (*empty, outside, far, -sum(held[split] for split in others))


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), SHARES)
def test_a_division_is_the_best_of_all(sizes: list[int], shares: tuple[float, float, float]) -> None:
    allowed = [split for split, share in zip(TRAIN_VAL_TEST, shares, strict=True) if share]
    best = min(rank(sizes, parts, shares) for parts in itertools.product(allowed, repeat=len(sizes)))
    assert rank(sizes, divide(sizes, shares), shares) == best


@settings(deadline=None, max_examples=40)
@given(st.lists(st.one_of(st.integers(0, 9), st.integers(0, 4000)), min_size=0, max_size=40), SHARES)
def test_every_split_with_a_share_gets_a_group(sizes: list[int], shares: tuple[float, float, float]) -> None:
    parts = divide(sizes, shares)
    held = weights(sizes, parts)
    assert len(parts) == len(sizes)
    if sum(size > 0 for size in sizes) >= 3:
        assert all((held[split] > 0) == (share > 0) for split, share in zip(TRAIN_VAL_TEST, shares, strict=True))
    assert all(held[split] == 0 for split, share in zip(TRAIN_VAL_TEST, shares, strict=True) if share == 0)


@pytest.mark.parametrize(
    ("sizes", "shares", "expected"),
    [
        ([1, 3, 36], (0.8, 0.1, 0.1), [36, 1, 3]),  # one group each, although both small ones would suit test best
        ([5] * 20, (0.8, 0.1, 0.1), [80, 10, 10]),
        ([7], (0.8, 0.1, 0.1), [7, 0, 0]),
        ([1, 1, 1], (0.0, 0.0, 1.0), [0, 0, 3]),
        ([0, 0], (0.8, 0.1, 0.1), [0, 0, 0]),
        ([1] * 25, (0.8, 0.1, 0.1), [19, 3, 3]),  # 2.5 is as near to 2 as to 3: the larger one
        ([], (0.8, 0.1, 0.1), [0, 0, 0]),
    ],
)
def test_known_divisions(sizes: list[int], shares: tuple[float, float, float], expected: list[int]) -> None:
    assert list(weights(sizes, divide(sizes, shares)).values()) == expected


def test_missing_videos_do_not_count_and_follow_their_family() -> None:
    videos = [video(n, m, "missing" if m else "real") for n in range(10) for m in range(9)]
    done = splits.assign(splits.plan_frame(videos), SplitConfig(), 0).table
    there = done.filter(pl.col("fault").is_null()).group_by("split").len()
    assert dict(there.rows()) == {"train": 8, "val": 1, "test": 1}
    assert done.group_by("split").len().sort("len")["len"].to_list() == [9, 9, 72]


def test_another_seed_another_division() -> None:
    frame = splits.plan_frame([video(n, 0, "real") for n in range(40)])
    parts = {tuple(splits.assign(frame, SplitConfig(), seed).table["split"]) for seed in range(3)}
    assert len(parts) == 3


def test_a_set_as_large_as_dfdc_is_divided_exactly() -> None:
    rng = random.Random(0)
    videos = [video(n, m, "fake" if m else "real") for n in range(19_154) for m in range(rng.randint(1, 11))]
    done = splits.assign(splits.plan_frame(videos), SplitConfig(), 0).table
    counts = dict(done.group_by("split").len().rows())
    assert abs(counts["val"] - len(videos) / 10) <= 0.5
    assert abs(counts["test"] - len(videos) / 10) <= 0.5


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (0.0, 0.0, 0.0)])
def test_fractions_that_are_no_shares_are_refused(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(ValidationError, match="add up to 1"):
        SplitConfig(fractions=fractions)


def test_auto_is_family() -> None:
    assert splits.assign(splits.plan_frame([video(0, 0, "real")]), SplitConfig(), 0).protocol == "family"
