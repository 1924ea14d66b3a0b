"""Making another protocol active in a plan gives the same as planning with it, from the columns alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.manifests import splits
from semblance.manifests.errors import UsageError
from semblance.manifests.records import Video
from semblance.manifests.splits import DatasetTraits, SplitConfig, activate, assign, plan_frame
from tests.shards.synthetic import people

PROTOCOLS = ("official", "official_clean", "family", "identity", "method", "temporal")
TRAITS = DatasetTraits(basis="person")


@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 10**6), families=st.integers(2, 9), against=st.sampled_from(["recording", "family", "person"])
)
def test_it_equals_planning_for_every_protocol(
    seed: int, families: int, against: Literal["recording", "family", "person"]
) -> None:
    """Columns, splits, notes and sentences agree; an unavailable protocol is refused with the same reason."""
    frame = plan_frame(people(random.Random(seed), families))
    base = SplitConfig(protocol="family", fractions=(0.5, 0.25, 0.25), against=against)
    first = assign(frame, base, 0, TRAITS)
    for protocol in PROTOCOLS:
        config = base.model_copy(update={"protocol": protocol})
        if refusal := _refusal(partial(assign, frame, config, 0, TRAITS)):
            assert _refusal(partial(activate, first.table, config, first.notes)) == refusal
            continue
        expected = assign(frame, config, 0, TRAITS)
        done = activate(first.table.sample(fraction=1, shuffle=True, seed=seed), config, first.notes)
        assert done.protocol == expected.protocol
        assert done.notes == expected.notes
        same = done.table.sort("video_id"), expected.table.sort("video_id")
        if protocol == "identity":  # the split of a person whom nobody else shows is no longer known
            same = tuple(one.with_columns(split_note=pl.col("split_note").is_null()) for one in same)  # type: ignore
        assert same[0].equals(same[1])


def test_notes_of_straddling_fakes_name_the_splits_of_their_people() -> None:
    """The note of planning, from the columns; another sentence if nothing shows the donor's split."""
    frame = plan_frame(_chain(8))
    first = assign(frame, SplitConfig(protocol="identity", fractions=(0.5, 0.25, 0.25)), 0, TRAITS)
    again = activate(first.table, SplitConfig(protocol="identity"), first.notes).table
    assert first.table["split_note"].null_count() < len(first.table)
    assert again.equals(first.table)
    fake = first.table.filter(pl.col("split_note").is_not_null()).row(0, named=True)
    nobody = pl.when(pl.col("video_id") == fake["video_id"]).then(pl.lit("nobody")).otherwise("donor_id")
    alone = activate(first.table.with_columns(donor_id=nobody), SplitConfig(protocol="identity"), first.notes).table
    note = alone.filter(pl.col("video_id") == fake["video_id"])["split_note"].item()
    assert note == f"straddles: {fake['target_id']} and its donor nobody stand in two sides"


def test_other_held_out_methods_are_computed() -> None:
    frame = plan_frame(_chain(8))
    first = assign(frame, SplitConfig(protocol="method", fractions=(0.5, 0.25, 0.25)), 0, TRAITS)
    other = splits.methods_of(first.table)[-1]
    done = activate(first.table, SplitConfig(protocol="method", held_out=(other,)), first.notes)
    expected = splits.hold_out(first.table, [other])
    assert done.table.select("video_id", "split_method").equals(expected.select("video_id", "split_method"))
    assert not done.table["split_method"].equals(first.table["split_method"])
    assert any(f"held out for test: {other};" in fact for fact in done.notes.of("method"))


def _refusal(action: Callable[[], object]) -> str | None:
    try:
        action()
    except UsageError as error:
        return str(error)
    return None


def _chain(length: int) -> list[Video]:
    """People in a ring, each in a real video and lending a face to the next one's two fakes."""
    videos = []
    for number in range(length):
        person, lender = f"p{number}", f"p{(number + 1) % length}"
        base: dict[str, Any] = {"path": "v.mp4", "dataset": "folder", "family_id": f"v{number}", "target_id": person}
        videos.append(Video(video_id=f"v{number}", label=0, method="pristine", **base))
        for method in ("blend", "swap"):
            videos.append(Video(video_id=f"v{number}-{method}", label=1, method=method, donor_id=lender, **base))
    return videos
