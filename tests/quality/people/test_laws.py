"""Laws of estimated people on random collections: order, known ids, people in one video, fakes, conservation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.quality.people import links
from semblance.quality.people.embedders.door import Distances
from semblance.quality.people.run import Wish, judged
from tests.quality.people import simulated

Rows = list[dict[str, Any]]


@st.composite
def collections(draw: st.DrawFn) -> tuple[Rows, list[tuple[int, str, int]], np.ndarray[Any, Any]]:
    """Plans of reals and fakes, the faces found in reals, and a vector for each; ids and recordings at random."""
    people = draw(st.integers(1, 6))
    seed = draw(st.integers(0, 1000))
    spread = draw(st.sampled_from([0.1, 0.6, 1.5]))
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(people, simulated.SIZE))
    rows: Rows = []
    keys: list[tuple[int, str, int]] = []
    who: list[int] = []
    for number in range(draw(st.integers(1, 16))):
        shown = draw(st.lists(st.integers(0, people - 1), max_size=2, unique=True))
        known = draw(st.sampled_from([None, None, "a", "b", "c"]))
        recording = draw(st.sampled_from([None, f"r{number}", "shared"]))
        name = f"v{number:02d}"
        rows.append({"video_id": name, "target_id": known, "recording_id": recording})
        keys += [(0, name, person) for person in range(len(shown))]
        who += shown
        for fake in range(draw(st.integers(0, 2))):
            lost = draw(st.booleans()) and draw(st.booleans())
            rows.append(
                {
                    "video_id": f"{name}-f{fake}",
                    "label": 1,
                    "family_id": "lost" if lost else name,
                    "target_id": None if lost else known,
                    "donor_id": draw(st.sampled_from([None, "a", "d"])),
                    "donor_recording_id": draw(st.sampled_from([None, "shared"])),
                    "split": draw(st.sampled_from(["train", "val", "test"])),
                }
            )
    if not keys:
        rows.append({"video_id": "w"})
        keys, who = [(0, "w", 0)], [0]
    vectors = base[who] + spread * rng.normal(size=(len(who), simulated.SIZE))
    return rows, keys, vectors.astype(np.float32)


def table(rows: Sequence[dict[str, Any]], keys: list[tuple[int, str, int]], vectors: Any, **wish: Any) -> Any:
    planned = links.videos([simulated.plan(rows)])
    return judged(simulated.faces(keys, vectors), planned, simulated.embedder(), Wish(**wish))


@settings(max_examples=60)
@given(collections(), st.randoms(use_true_random=False))
def test_the_order_of_videos_changes_nothing(found: Any, rng: random.Random) -> None:
    rows, keys, vectors = found
    order = rng.sample(range(len(keys)), len(keys))
    first = table(rows, keys, vectors)
    second = table(rng.sample(rows, len(rows)), [keys[n] for n in order], vectors[order])
    assert first.rows.equals(second.rows)
    assert first.about == second.about


@settings(max_examples=60)
@given(collections(), st.sampled_from([0.01, 0.5, 1.9]), st.integers(1, 5))
def test_known_ids_are_neither_split_nor_joined(found: Any, linkage: float, least: int) -> None:
    rows, keys, vectors = found
    done = table(rows, keys, vectors, linkage=linkage, attach=linkage, least=least)
    ids = {row["video_id"]: row.get("target_id") for row in rows}
    targets = done.rows.filter(pl.col("role") == "target")
    for video, group in targets.group_by("video_id"):
        names = set(group["person_estimated"].drop_nulls())
        known = ids[str(video[0])]
        if known is not None:  # the id itself is there, and no other id as this person
            assert f"id:{known}" in names
        assert group["by"].is_in(["known"]).sum() <= 1
    # a name is never shared by persons of one video
    embedded = targets.filter(pl.col("crops") > 0).drop_nulls("person_estimated")
    assert embedded.select(pl.struct("video_id", "person_estimated").is_duplicated().any()).item() is False


@settings(max_examples=60)
@given(collections())
def test_every_video_is_in_the_table_and_a_fake_has_its_originals_people(found: Any) -> None:
    rows, keys, vectors = found
    done = table(rows, keys, vectors)
    assert set(done.rows["video_id"]) == {row["video_id"] for row in rows}
    assert done.about["counts"]["videos"] == len(rows)
    targets = done.rows.filter(pl.col("role") == "target")
    by_video = {
        str(video[0]): set(group["person_estimated"].drop_nulls()) for video, group in targets.group_by("video_id")
    }
    for row in rows:
        if row.get("label") != 1:
            continue
        own = by_video[row["video_id"]]
        if row["family_id"] == "lost":
            assert not own
        else:
            assert own == by_video[row["family_id"]]
    by = dict(targets.group_by("by").len().iter_rows())
    counts = done.about["counts"]
    assert all(counts[name] == by.get(name, 0) for name in ("known", "cluster", "abstained", "no_face", "original"))
    nobody = targets.filter(pl.col("person_estimated").is_null())
    assert set(nobody["by"]) <= {"abstained", "no_face", "unknown_original"}
    for row in targets.iter_rows(named=True):
        assert row["person_estimated"] not in row["near"]


def test_names_follow_size_then_video() -> None:
    """The largest is p0001; of equals the one with the smallest video id comes first; a known id is a name itself."""
    base = np.eye(3, simulated.SIZE, dtype=np.float32)
    who = {"v1": 2, "v2": 0, "v3": 1, "v4": 1, "v5": 0}
    keys = [(0, name, 0) for name in who]
    done = table([{"video_id": name} for name in who], keys, base[list(who.values())])
    assert dict(done.rows.select("video_id", "person_estimated").iter_rows()) == {
        "v1": "p0003",
        "v2": "p0001",
        "v3": "p0002",
        "v4": "p0002",
        "v5": "p0001",
    }
    done = table(
        [{"video_id": name, "target_id": "z" if name == "v5" else None} for name in who], keys, base[list(who.values())]
    )
    assert set(done.rows.filter(pl.col("video_id").is_in(["v2", "v5"]))["person_estimated"]) == {"id:z"}


def test_builds_in_any_order_give_the_same_people() -> None:
    base = np.eye(4, simulated.SIZE, dtype=np.float32)
    keys = [(0, "a", 0), (0, "b", 0), (1, "c", 0), (1, "d", 0)]
    vectors = base[[0, 1, 0, 2]]
    plans = [simulated.plan([{"video_id": name} for name in names]) for names in ("ab", "cd")]
    one = judged(simulated.faces(keys, vectors), links.videos(plans), simulated.embedder(), Wish())
    swapped = [(1 - build, video, person) for build, video, person in keys]
    other = judged(simulated.faces(swapped, vectors), links.videos(plans[::-1]), simulated.embedder(), Wish())
    assert one.rows.equals(other.rows)
    assert one.builds[0].equals(other.builds[1])
    assert one.builds[0].height + one.builds[1].height == one.rows.height


def test_recordings_are_not_people() -> None:
    """FF++: one recording in two compressions is one person however it looks; two recordings may be one person."""
    base = np.eye(3, simulated.SIZE, dtype=np.float32)
    rows: Rows = [
        {"video_id": f"{level}-{number}", "compression": level, "target_id": number, "recording_id": number}
        for number in ("000", "001", "002")
        for level in ("c23", "c40")
    ]
    rows.append(
        {"video_id": "c40-000_002", "compression": "c40", "label": 1, "family_id": "c40-000", "target_id": "000"}
        | {"recording_id": "000", "donor_id": "002", "donor_recording_id": "002"}
    )
    keys = [(0, str(row["video_id"]), 0) for row in rows if "label" not in row]
    vectors = base[[0, 1, 0, 1, 2, 2]] + 0.2 * base[[1, 0, 1, 0, 0, 0]]  # c40 of 000 and 001 look like one another
    done = table(rows, keys, vectors)
    names = {
        (video, role): name for video, role, name in done.rows.select("video_id", "role", "person_estimated").rows()
    }
    assert names["c23-000", "target"] == names["c40-000", "target"] == names["c23-001", "target"]
    assert names["c23-002", "target"] != names["c23-000", "target"]
    assert not any(str(name).startswith("id:") for name in names.values())
    assert names["c40-000_002", "target"] == names["c40-000", "target"]
    assert names["c40-000_002", "donor"] == names["c23-002", "target"]
    assert done.about["counts"]["unknown_donors"] == 0


def test_the_collection_sets_the_linkage_only_with_enough_pairs_of_two_people() -> None:
    made = simulated.crowd(60, 240, 0.0, seed=3)
    rows = [{"video_id": f"v{n:03d}", "target_id": f"p{who}"} for n, who in enumerate(made.who)]
    keys = [(0, str(row["video_id"]), 0) for row in rows]
    planned = links.videos([simulated.plan(rows)])
    faces = simulated.faces(keys, made.vectors, made.halves)
    stated = Distances(linkage=0.3, attach=0.3, quarantine=0.3, raw=0.1)
    done = judged(faces, planned, simulated.embedder(stated), Wish())
    cuts = done.about["thresholds"]
    assert cuts["by"] == "collection"
    assert 0.5 < cuts["linkage"] < 1
    assert cuts["attach"] == cuts["quarantine"] == cuts["linkage"]
    found = done.about["calibration"]
    assert found["truth"] == "ids"
    assert not found["optimistic"]
    assert found["false"] < 0.01
    assert found["missed"] == 0
    assert found["leak"]["share"] == 0
    few = Wish(rate=1e-5)  # takes 100,000 pairs
    assert judged(faces, planned, simulated.embedder(stated), few).about["thresholds"]["by"] == "embedder"
    given = Wish(linkage=0.4)
    assert judged(faces, planned, simulated.embedder(stated), given).about["thresholds"]["by"] == "user"
