"""Protocol ``person_estimated``: nobody in two splits, nobody near a later one, every video a split or a reason."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests import leaks, persons, splits
from semblance.manifests.errors import UsageError
from semblance.manifests.records import TRAIN_VAL_TEST, Video
from semblance.manifests.splits import Estimate, Estimates, SplitConfig
from tests.manifests.splits.test_protocols import SHARES, collections, fake, real

PEOPLE = [f"p{number:04d}" for number in range(1, 9)]
CONFIG = SplitConfig(persons="persons.parquet")


@st.composite
def estimated(draw: st.DrawFn) -> tuple[list[Video], Estimates]:
    """A collection and a table that names one or two persons in most real videos, and some donors."""
    videos = [replace(video, target_id=None, donor_id=None) for video in draw(collections())]
    some = st.lists(st.sampled_from(PEOPLE), max_size=2, unique=True).map(tuple)
    targets = {video.video_id: draw(some) for video in videos if video.label == 0}
    of = {}
    for video in videos:
        if video.label == 0:
            near = tuple(name for name in draw(some) if name not in targets[video.video_id])
            unsure = draw(st.integers(0, 9)) == 0
            one = Estimate(targets=targets[video.video_id], near=near, somebody_else=unsure)
        else:
            one = Estimate(targets=targets.get(video.family_id, ()), donors=draw(some)[:1])
        of[video.video_id] = one
    return videos, Estimates(of=of)


@given(estimated(), SHARES, st.integers(0, 3), st.randoms(use_true_random=False))
def test_nobody_is_in_two_splits_and_nothing_vanishes(
    given_: tuple[list[Video], Estimates], shares: tuple[float, float, float], seed: int, random: object
) -> None:
    videos, estimates = given_
    config = SplitConfig(persons="persons.parquet", fractions=shares)
    assigned = splits.assign(splits.plan_frame(videos), config, seed, None, estimates)
    rows = {row["video_id"]: row for row in assigned.table.iter_rows(named=True)}
    assert len(rows) == len(videos)
    column = "split_person_estimated"
    where, families = defaultdict(set), defaultdict(set)
    for name, row in rows.items():
        if row[column] is None:
            continue
        assert row[column] in TRAIN_VAL_TEST
        families[row["family_id"]].add(row[column])
        for person in estimates.of[name].persons:
            where[person].add(row[column])
    assert all(len(sides) == 1 for sides in [*where.values(), *families.values()])
    later = {"train": ("test", "val"), "val": ("test",)}
    for name, row in rows.items():
        if row["label"] == 0:
            for person in estimates.of[name].near:
                assert not where[person] & {*later.get(row[column], ())}
            assert row[column] is None or not estimates.of[name].somebody_else
    if assigned.protocol == "person_estimated":
        assert all(row["split_note"] for row in rows.values() if row["split"] == "unassigned")
        assert not [one for one in leaks.findings(assigned.table, "person_estimated") if one.level == "broken"]
    shuffled = videos.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = splits.assign(splits.plan_frame(shuffled), config, seed, None, estimates).table
    assert again.sort("video_id").equals(assigned.table.sort("video_id"))


def test_a_table_makes_it_the_protocol_and_says_so() -> None:
    reals = [real(f"{number:02d}", None) for number in range(20)]
    videos = [video for one in reals for video in (one, fake(one, None, 0))]
    of = {video.video_id: Estimate(targets=(PEOPLE[int(video.video_id[2:4]) % 8],)) for video in videos}
    assigned = splits.assign(splits.plan_frame(videos), CONFIG, 0, None, Estimates(of=of, facts=("By eye.",)))
    assert assigned.protocol == "person_estimated"
    assert assigned.facts[:4] == (
        "person_estimated: 8 persons were estimated from faces; that they are isolated is likely, not proven",
        "unassigned under person_estimated: videos that show somebody who could not be estimated 0, fakes that join "
        "two splits 0, videos that resemble a person of a later split 0",
        "By eye.",
        "fakes whose donor is unknown, so that nobody can say where else that face is: 20 of 20",
    )
    assert assigned.table["split"].n_unique() == 3
    other = splits.activate(assigned.table, SplitConfig(protocol="family"), assigned.notes)
    back = splits.activate(other.table, SplitConfig(protocol="person_estimated"), other.notes)
    assert back.table.drop("split_note").equals(assigned.table.drop("split_note"))
    assert back.notes.of("person_estimated") == assigned.notes.of("person_estimated")


def test_another_split_of_the_same_persons_is_judged() -> None:
    reals = [real(f"{number:02d}", None) for number in range(20)]
    of = {video.video_id: Estimate(targets=(PEOPLE[0],)) for video in reals}
    plan = splits.assign(splits.plan_frame(reals), SplitConfig(protocol="family"), 0, None, Estimates(of=of)).table
    assert leaks.findings(plan, "family") == []  # the audit says how many test videos that means
    (line,) = (one for one in leaks.sentences(plan, "family") if one.startswith("active split"))
    assert line.endswith(
        "1 of 1 estimated people (1 of them in test and another split, in 2 of 2 test videos that name one)"
    )
    broken = leaks.findings(plan, "person_estimated")
    assert [(one.level, one.what, one.ids) for one in broken] == [
        ("broken", "1 estimated person in more than one of train, val and test under person_estimated", (PEOPLE[0],))
    ]


def test_without_a_table_it_is_refused() -> None:
    videos = splits.plan_frame([real("a", None), real("b", None)])
    with pytest.raises(UsageError, match="`quality persons` writes the table"):
        splits.assign(videos, SplitConfig(protocol="person_estimated"), 0)


def test_a_table_becomes_estimates() -> None:
    row: dict[str, Any] = {"dataset": "x", "role": "target", "person": None, "crops": 4, "near": []}
    table = persons.frame(
        [
            {**row, "video_id": "a", "person_estimated": "p0001", "by": "cluster", "near": ["p0002"]},
            {**row, "video_id": "b", "person_estimated": None, "by": "abstained", "person": 0},
            {**row, "video_id": "b", "person_estimated": "p0002", "by": "cluster", "person": 1},
            {**row, "video_id": "c", "person_estimated": "p0001", "by": "original"},
            {**row, "video_id": "c", "person_estimated": "p0002", "by": "donor", "role": "donor"},
        ]
    )
    found = persons.estimates(persons.Persons(rows=table, about={}))
    assert found.of == {
        "a": Estimate(targets=("p0001",), near=("p0002",)),
        "b": Estimate(targets=("p0002",), somebody_else=True),
        "c": Estimate(targets=("p0001",), donors=("p0002",)),
    }
    assert found.facts == ("nothing is known about how these persons were estimated",)
    leak = {"share": 0.012, "low": 0.0, "high": 0.05, "lost": 0.1}
    about: dict[str, Any] = {
        "embedder": "net",
        "weights": {"file": "net.dat", "sha256": "0123456789abcdef"},
        "thresholds": {"linkage": 0.3},
        "calibration": {"leak": leak, "optimistic": True, "why": "halves", "people": 30},
    }
    first, second = persons.estimates(persons.Persons(rows=table, about=about)).facts
    assert (
        first == "persons estimated by net (net.dat, sha256 0123456789ab), average linkage to the cosine distance 0.30"
    )
    assert second.endswith("is still in train: 1.2% (0.0% to 5.0%; by halves)")
    about["calibration"]["people"] = 3
    (_, second) = persons.estimates(persons.Persons(rows=table, about=about)).facts
    assert second.endswith("1.2% (too few people to say how sure; by halves)")
    assert found.digest != persons.estimates(persons.Persons(rows=table[:4], about={})).digest
