"""Who stands on two sides: against sets counted by hand, and on the published lists of two datasets."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.manifests import leaks, overlap, splits
from semblance.manifests.records import SPLITS, Video
from tests.manifests import real_lists

NAMES = st.none() | st.sampled_from("abcd")
VIDEOS = st.lists(
    st.fixed_dictionaries(
        {
            "label": st.none() | st.sampled_from([0, 1]),
            "family_id": st.sampled_from("pqrs"),
            "target_id": NAMES,
            "donor_id": NAMES,
            "recording_id": NAMES,
            "donor_recording_id": NAMES,
            "method": st.sampled_from(["pristine", "x", "y"]),
            "split": st.none() | st.sampled_from(SPLITS),
            "fault": st.none() | st.just("missing"),
        }
    ),
    max_size=15,
)
COLUMNS_OF = {
    "family": ["family_id"],
    "target": ["target_id"],
    "donor": ["donor_id"],
    "person": ["target_id", "donor_id"],
    "recording": ["recording_id", "donor_recording_id"],
}


def _plan(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return splits.plan_frame(
        [
            Video(video_id=f"v{place}", path=f"{place}.mp4", dataset="set", split_family="train", **row)
            for place, row in enumerate(rows)
        ]
    )


def _standing(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        f"v{place}": row
        for place, row in enumerate(rows)
        if row["label"] is not None and row["fault"] is None and row["split"] in ("train", "val", "test")
    }


@settings(deadline=None, max_examples=50)
@given(rows=VIDEOS)
def test_what_is_shared_is_what_sets_say(rows: list[dict[str, Any]]) -> None:
    standing = _standing(rows)
    found = overlap.shared(_plan(rows), "split")
    figures = {row["kind"]: row for row in overlap.figures(_plan(rows), "split").iter_rows(named=True)}
    for kind, columns in COLUMNS_OF.items():
        where: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for video, row in standing.items():
            for column in columns:
                if row[column]:
                    where[row[column]][row["split"]].add(video)
        several = {name: sides for name, sides in where.items() if len(sides) > 1}
        said = {
            row["id"]: tuple(row[side] for side in ("train", "val", "test"))
            for row in found.filter(pl.col("kind") == kind).iter_rows(named=True)
        }
        assert said == {
            name: tuple(len(sides.get(side, ())) for side in ("train", "val", "test"))
            for name, sides in several.items()
        }
        if not where:
            assert kind not in figures
            continue
        row = figures[kind]
        tests = [own for own in standing.values() if own["split"] == "test" and any(own[name] for name in columns)]
        also = [own for own in tests if any(len(where[own[name]]) > 1 for name in columns if own[name])]
        assert (row["known"], row["shared"]) == (len(where), len(several))
        assert row["train_test"] == sum("train" in sides and "test" in sides for sides in several.values())
        assert (row["tests"], row["tests_shared"]) == (len(tests), len(also))


@settings(deadline=None, max_examples=50)
@given(rows=VIDEOS, seed=st.randoms())
def test_the_order_of_the_rows_tells_nothing(rows: list[dict[str, Any]], seed: Any) -> None:
    plan = _plan(rows)
    mixed = plan[seed.sample(range(plan.height), plan.height)]
    assert overlap.shared(plan, "split").equals(overlap.shared(mixed, "split"))
    assert overlap.parted(plan, "split").equals(overlap.parted(mixed, "split"))


@settings(deadline=None, max_examples=50)
@given(rows=VIDEOS)
def test_fakes_apart_from_their_recordings(rows: list[dict[str, Any]]) -> None:
    standing = _standing(rows)
    sides: defaultdict[str, set[str]] = defaultdict(set)
    for row in standing.values():
        if row["label"] == 0 and row["recording_id"]:
            sides[row["recording_id"]].add(row["split"])
    expected = set()
    for video, row in standing.items():
        for kind, name in (("target", row["recording_id"]), ("donor", row["donor_recording_id"])):
            if row["label"] == 1 and sides.get(name) and (row["split"] == "test") != ("test" in sides[name]):
                expected.add((f"{kind}_recording", video, row["split"]))
    assert set(overlap.parted(_plan(rows), "split").select("kind", "id", "side").rows()) == expected


@settings(deadline=None, max_examples=50)
@given(rows=VIDEOS, others=VIDEOS)
def test_two_plans_share_what_both_hold(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    found = overlap.between(_plan(rows), _plan(others))
    mine, theirs = _standing(rows), _standing(others)
    same = {(video, row["split"], theirs[video]["split"]) for video, row in mine.items() if video in theirs}
    assert set(found.filter(pl.col("kind") == "video").select("id", "side", "other_side").rows()) == same
    crossing = overlap.crossing(found.filter(pl.col("kind") == "video"))
    assert set(crossing.select("id", "side", "other_side").rows()) == {
        (video, a, b) for video, a, b in same if (a == "test") != (b == "test")
    }


def test_what_a_protocol_promises() -> None:
    rows = pl.DataFrame(
        {
            "kind": ["family", "person", "recording", "person"],
            "dataset": "set",
            "id": ["f", "p", "r", "q"],
            "train": [1, 1, 1, 2],
            "val": [0, 0, 0, 3],
            "test": [1, 1, 1, 0],
        }
    )
    broken = {
        protocol: leaks.breaking(rows, leaks.promise(protocol, "person"))["id"].to_list()
        for protocol in ("family", "identity", "official", "temporal", "official_clean")
    }
    assert broken["family"] == broken["temporal"] == ["f"]
    assert broken["identity"] == broken["official"] == ["f", "p", "r", "q"]
    assert broken["official_clean"] == ["p"]  # train and val may share


def test_held_out_methods_stand_in_test_alone() -> None:
    common: dict[str, object] = {
        "family_id": "p",
        "target_id": None,
        "donor_id": None,
        "recording_id": None,
        "donor_recording_id": None,
    }
    rows = [common | {"label": 1, "method": method, "split": side, "fault": None} for method, side in
            [("x", "train"), ("y", "test"), ("x", "val"), ("y", "val")]]  # fmt: skip
    rows.append(common | {"label": 0, "method": "pristine", "split": "test", "fault": None})
    found = overlap.shared(_plan(rows), "split", ("method",))
    assert leaks.breaking(found, {"method": False})["id"].to_list() == ["y"]


@pytest.mark.parametrize("name", ["official", "family", "identity", "method", "temporal"])
def test_the_protocol_is_told_from_the_columns(name: str) -> None:
    sides = ["train", "val", "test", None]
    others = {f"split_{one}": sides[::-1] for one in splits.COLUMNS if one != name}
    columns = {"split": ["train", "val", "test", "unassigned"], f"split_{name}": sides} | others
    assert leaks.protocol_of(pl.DataFrame(columns)) == name
    part = columns | {"split": ["train", "unassigned", "test", "unassigned"]}
    assert leaks.protocol_of(pl.DataFrame(part)) == ("official_clean" if name == "official" else "family")


@pytest.fixture(scope="module")
def ffpp(shared: Path) -> splits.Assigned:
    return real_lists.ffpp(shared)


@pytest.mark.shared
def test_the_official_split_of_faceforensics_leaks_recordings(shared: Path, ffpp: splits.Assigned) -> None:
    folder = shared / "realmeta" / "ffpp"
    names = json.loads((folder / "conversion_dict.json").read_text())
    youtube = {key: name[: name.rindex(" ")] for key, name in names.items()}
    pairs = {side: json.loads((folder / f"{side}.json").read_text()) for side in ("train", "val", "test")}
    shown = {side: {youtube[name] for pair in pairs[side] for name in pair} for side in pairs}
    straddling = (shown["train"] & shown["val"]) | (shown["train"] & shown["test"]) | (shown["val"] & shown["test"])
    assert len(straddling) == 7
    assert len(shown["test"] & (shown["train"] | shown["val"])) == 2
    found = overlap.shared(ffpp.table, "split")
    kinds = dict(found.group_by("kind").len().iter_rows())
    assert kinds == dict.fromkeys(("person", "recording", "target", "donor"), 7)  # no family
    assert {name.removeprefix("ffpp-") for name in found.filter(pl.col("kind") == "recording")["id"]} >= {
        name for name in straddling if not name.startswith("-") and len(name) == 11
    } - {name for name in straddling if "." in name}
    (row,) = overlap.figures(ffpp.table, "split", ("recording",)).to_dicts()
    assert (row["known"], row["train_val"], row["train_test"], row["val_test"]) == (
        977,
        len(shown["train"] & shown["val"]),
        len(shown["train"] & shown["test"]),
        len(shown["val"] & shown["test"]),
    )
    tested = [name for pair in pairs["test"] for name in pair]
    shared_test = [[a, b] for a, b in pairs["test"] if {youtube[a], youtube[b]} & (shown["train"] | shown["val"])]
    of_pair = 2 + 2 * len(real_lists.FAKES)  # two originals and their fakes
    alone = sum(youtube[a] not in shown["train"] | shown["val"] for pair in shared_test for a in pair)
    assert (row["tests"], row["tests_shared"]) == (len(tested) * 6, of_pair * len(shared_test) - alone)
    apart = dict(overlap.parted(ffpp.table, "split").group_by("kind", "side").len().select(
        pl.format("{} {}", "kind", "side"), "len").iter_rows())  # fmt: skip
    trained = [(a, b) for side in ("train", "val") for pair in pairs[side] for a, b in (pair, pair[::-1])]
    assert apart == {
        "target_recording train": 5 * sum(youtube[a] in shown["test"] for a, _ in trained),
        "donor_recording train": 5 * sum(youtube[b] in shown["test"] for _, b in trained),
    }


@pytest.mark.shared
def test_the_identity_split_of_faceforensics_leaks_nothing(ffpp: splits.Assigned) -> None:
    assert leaks.breaking(overlap.shared(ffpp.table, "split_identity"), leaks.promise("identity")).is_empty()
    assert overlap.of_recordings(ffpp.table)
    told = leaks.sentences(ffpp.table, "official")
    assert told[0] == "broken: 7 recordings in more than one of train, val and test under official"
    assert (
        "(official): in more than one of train, val and test: 0 of 1000 families, 7 of 977 recordings (2 of" in told[1]
    )
    assert not any("people" in sentence for sentence in told)  # their names are those of recordings


@pytest.mark.shared
def test_the_official_split_of_celebdf_leaks_nearly_everyone(shared: Path) -> None:
    folder = shared / "realmeta" / "celebdf_v2"
    paths = (folder / "all_videos.txt").read_text().split()
    tested = {line.split()[1] for line in (folder / "List_of_testing_videos.txt").read_text().splitlines()}
    fakes = {path: path[16:-4].split("_") for path in paths if path.startswith("Celeb-synthesis/")}
    original = {path: f"Celeb-real/{a}_{number}.mp4" for path, (a, _, number) in fakes.items()}
    outside = {path for path in fakes if path in tested and original[path] in set(paths) - tested}
    inside = {path for path in fakes if path not in tested and original[path] in tested}
    plan = real_lists.celebdf(shared).table
    assert (plan.height, len(outside), len(inside)) == (6528, 234, 1015)
    apart = overlap.parted(plan, "split")
    for test, expected in ((True, outside), (False, inside)):
        ids = set(apart.filter((pl.col("side") == "test") == test)["id"])
        assert ids == {f"celebdf-{path[16:-4]}" for path in expected}

    people = {path: set(path.split("/")[1].split("_")[:-1]) for path in paths}
    of_test, of_rest = (
        set().union(*(people[path] for path in paths if (path in tested) == side)) for side in (True, False)
    )
    assert (len(of_test & of_rest), len(of_test), len(of_test | of_rest)) == (56, 56, 59)
    (row,) = overlap.figures(plan, "split", ("person",)).to_dicts()
    named = [path for path in paths if path in tested and people[path]]
    assert (row["known"], row["with_test"]) == (59, 56)
    assert (row["tests"], row["tests_shared"]) == (len(named), sum(bool(people[path] & of_rest) for path in named))
    crossing = overlap.shared(plan, "split").filter((pl.col("kind") == "person") & (pl.col("test") > 0))
    assert set(crossing["id"]) == {f"celebdf-{name}" for name in of_test & of_rest}
    assert leaks.breaking(overlap.shared(plan, "split_identity"), leaks.promise("identity")).is_empty()
