"""A run is clean only of what shares no family, person, recording or frame with what it was trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests import splits
from semblance.manifests.errors import SemblanceError
from semblance.manifests.persons import Persons
from semblance.manifests.records import Video
from semblance.quality.builds import Audited
from semblance.training.guard import ids, leaks, seen
from semblance.training.guard.ids import FRAME, HELD
from semblance.training.guard.leaks import COPY, Leak, find
from tests.training.guard import collections

NAMES = st.none() | st.sampled_from("abcde")
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "label": st.sampled_from([0, 1]),
            "dataset": st.sampled_from(["ffpp", "dfdc"]),
            "video_id": st.sampled_from("123456"),
            "family_id": st.sampled_from("pqrst"),
            "target_id": NAMES,
            "donor_id": NAMES,
            "recording_id": NAMES,
            "donor_recording_id": NAMES,
        }
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda row: row["video_id"],
)


def audited(rows: list[dict[str, Any]], name: str) -> Audited:
    plan = splits.plan_frame([Video(path="x.mp4", **row) for row in rows])
    return Audited(name=name, plan=plan, description={}, protocol="family", against="recording", shards=False)


@given(trained=ROWS, judged=ROWS)
def test_every_shared_id_is_found_and_no_other(trained: list[dict[str, Any]], judged: list[dict[str, Any]]) -> None:
    """Against sets made by hand, through the record of a checkpoint; builds have other names, ids are by dataset."""
    before, now = audited(trained, "gone"), audited(judged, "now")
    record = seen.of_state(seen.record("trained", ids.named(before, before.plan)).state())
    assert record is not None
    held = ids.named(now, now.plan)
    found = {leak.kind: leak for leak in find(record.of("trained"), held, judged="", seen="", refused=leaks.STRICT)}
    expected = {kind: collections.ids(trained, kind) & collections.ids(judged, kind) for kind in collections.KEYS}
    bare = {kind: {name.split()[1] for name in names} for kind, names in expected.items()}
    if bare["person"] <= bare["recording"]:  # ids of recordings are counted once
        expected["person"] = set()
    assert set(found) == {kind for kind, names in expected.items() if names}
    for kind, leak in found.items():
        assert leak.count == len(bare[kind])
        assert leak.example == min(bare[kind])
        assert leak.refused


def test_estimated_people_are_those_of_one_estimate() -> None:
    rows = [{"label": 0, "dataset": "dfdc", "video_id": "1", "family_id": "f", "persons_estimated": ["p1"]}]
    other = [rows[0] | {"video_id": "2", "family_id": "g"}]
    about = {
        "one": Persons(rows=pl.DataFrame(), about={"run": 1}),
        "two": Persons(rows=pl.DataFrame(), about={"run": 2}),
    }

    before = replace(audited(rows, "a"), persons=about["one"])
    record = seen.record("trained", ids.named(before, before.plan)).of("trained")
    for name, count in (("one", 1), ("two", 0)):
        now = replace(audited(other, "b"), persons=about[name])
        kinds = [leak.kind for leak in find(record, ids.named(now, now.plan), judged="", seen="", refused=())]
        assert kinds == ["person_estimated"] * count


def frames(**videos: list[int]) -> pl.DataFrame:
    rows = [(FRAME, name, name, value) for name, hashes in videos.items() for value in hashes]
    return pl.DataFrame(rows, schema=HELD, orient="row")


def test_a_copy_is_known_by_two_frames_of_one_video() -> None:
    """Of a video the lowest hashes are kept, so two samplings of one file keep the same of what they share."""
    record = seen.record("trained", frames(a=list(range(100, 0, -1)), b=[500, 501])).of("trained")
    assert sorted(record["hash"]) == [*range(1, seen.FRAMES + 1), 500, 501]
    judged = frames(copy=[1, 2, 900], once=[3, 901, 902], of_two=[1, 500, 903], new=[904, 905])
    (leak,) = find(record, judged, judged="test", seen="trained on by run", refused=(COPY,))
    assert (leak.kind, leak.count, leak.example, leak.refused) == (COPY, 1, "copy", True)
    assert str(leak) == "1 video of test (such as copy), by frames or file, is a copy of one trained on by run"


def test_sentences() -> None:
    one = Leak(kind="person", count=1, example="id3", judged="val of b", seen="in train of a too")
    assert str(one) == "1 person of val of b (such as id3) was in train of a too"
    many = Leak(kind="family", count=2000, example="", judged="test of b", seen="trained on by run")
    assert str(many) == "2,000 families of test of b were trained on by run"


def test_the_record_is_small_and_survives_its_file(tmp_path: Path) -> None:
    """4,400 videos with 32 crops each: 1.1 MB of samples in the folder, and 0.4 MB in a checkpoint."""
    held = frames(**{f"v{video}": [video * 32 + frame for frame in range(32)] for video in range(4400)})
    names = [f"ffpp-{number}" for number in range(4400 * 32)]
    made = seen.union([seen.record("trained", held, names)], ["allowed: “this”"])
    seen.write(tmp_path / seen.FILE, made)
    assert (tmp_path / seen.FILE).stat().st_size < 1.8e6
    assert sum(tensor.nbytes for tensor in made.state()["ids"].values()) == 4400 * seen.FRAMES * 16
    back = seen.read(tmp_path / seen.FILE)
    assert back is not None
    assert back.ids.equals(made.ids)
    assert back.notes == made.notes
    assert seen.read(tmp_path / "absent.parquet") is None
    again = seen.union([made, back, None])
    assert again.ids.equals(made.ids)
    assert seen.of_state(None) is None
    (tmp_path / seen.FILE).write_bytes(b"no table")
    with pytest.raises(SemblanceError, match=r"seen.parquet is damaged"):
        seen.read(tmp_path / seen.FILE)
