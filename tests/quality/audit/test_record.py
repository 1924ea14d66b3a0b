"""The record of an audit: valid by its published schema, complete, and read back as it was written."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from semblance.manifests import persons
from semblance.quality.audit import estimated, reference
from semblance.quality.audit.record import SCHEMA, Record
from semblance.quality.audit.result import Audit
from semblance.quality.audit.run import audit
from semblance.quality.audit.transcribe import transcribe
from tests.conftest import REPOSITORY, Run
from tests.quality import planted
from tests.quality.planted import Faults

PUBLISHED = json.loads((REPOSITORY / "docs/audit.schema.json").read_text("utf-8"))


def written(judged: Audit) -> dict[str, Any]:
    """The record as JSON, after its validation, and after it was read back to the same."""
    record = transcribe(judged)
    text = record.model_dump_json(by_alias=True)
    value: dict[str, Any] = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    Draft202012Validator(PUBLISHED).validate(value)
    assert Record.model_validate_json(text) == record
    return value


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty families with a copy, a fake that was never forged, an unequal filter, failed videos and a shortcut."""
    folder = tmp_path_factory.mktemp("faulty")
    plan = planted.build(folder / "first", 30)
    of = {split: rows["family_id"].unique().sort().to_list() for (split,), rows in plan.group_by("split")}
    faults = Faults(
        shortcut=True,
        copies={of["test"][0]: of["train"][0]},
        unforged=frozenset({"folder-fake_7_1"}),
        unequal=True,
        failed=frozenset({"folder-fake_9_1", "folder-fake_11_2"}),
    )
    planted.build(folder / "out", 30, faults)
    plan = pl.read_parquet(folder / "out/plan.parquet")
    out = plan["split"] == "val"
    moved = pl.when(out & (pl.col("label") == 1)).then(pl.lit("unassigned")).otherwise("split")
    plan.with_columns(split=moved).write_parquet(folder / "leaving.parquet")
    return folder / "out"


def test_the_published_format_is_the_one_that_is_written() -> None:
    """Run `quality audit-schema > docs/audit.schema.json` and `... --markdown > docs/audit-json.md` after a change."""
    Draft202012Validator.check_schema(PUBLISHED)
    assert reference.json_schema() == PUBLISHED
    assert (REPOSITORY / "docs/audit-json.md").read_text("utf-8") == reference.markdown()
    assert PUBLISHED["properties"]["schema"]["const"] == SCHEMA
    objects = [PUBLISHED, *PUBLISHED["$defs"].values()]
    for one in objects:
        assert one["description"], "an object without a meaning"
        assert {*one["required"]} == {*one["properties"]}, "whatever is written is always there"
        assert all(field.get("description") for field in one["properties"].values())


def test_the_record_of_a_faulty_build_holds_everything(faulty: Path) -> None:
    judged = audit([str(faulty)])
    value = written(judged)
    (build,) = value["builds"]
    assert len(value["leaks"]) == judged.leaks.height > 0
    assert {(one["column"], one["kind"], one["id"]) for one in value["leaks"]} == {
        *judged.leaks.select("column", "kind", "id").iter_rows()
    }
    for one, found in zip(build["findings"], judged.builds[0].findings, strict=True):
        assert (one["what"], one["ids"]) == (found.what, [*found.ids])
    plan = pl.read_parquet(faulty / "plan.parquet")
    videos = pl.scan_parquet(faulty / "manifests/videos/*.parquet").collect()
    losses = build["losses"]
    assert losses["planned"] == plan.height == videos.height
    assert {one["video_id"] for one in losses["lost"]} == {*videos.filter(pl.col("crops_kept") == 0)["video_id"]}
    assert losses["failed"] == dict(videos.filter(pl.col("status") != "ok")["status"].value_counts().iter_rows())
    rejects = pl.scan_parquet(faulty / "manifests/rejects/*.parquet").filter(pl.col("unit") == "face").collect()
    assert losses["rejected"] == Counter(rejects["reason"])
    assert "folder-fake_7_1" in {one["video_id"] for one in build["label_noise"]["flags"]}
    assert "folder-fake_7_1" in {one["fake"] for one in build["label_noise"]["pairs"]}
    assert build["shortcuts"][0]["acquisition"]["verdict"] == "shortcut"
    assert any(group["warning"] for group in build["filters"])
    kinds = {one["kind"]: one["promised"] for one in build["protocol"]["promises"]}
    assert kinds == {"family": True, "person": False, "recording": False}
    assert build["people_estimated"] is None


def test_plans_and_two_builds_have_records_too(faulty: Path, built: Path) -> None:
    value = written(audit([str(faulty.parent / "leaving.parquet")], plan=True))
    (build,) = value["builds"]
    assert (build["copies"], build["shortcuts"], build["losses"]["lost"], value["near_duplicates"]) == (None,) * 4
    left = pl.read_parquet(faulty.parent / "leaving.parquet").filter(pl.col("split") == "unassigned")
    assert [one["video_id"] for one in build["losses"]["unassigned"]] == left["video_id"].sort().to_list()
    value = written(audit([str(faulty), str(built)], allow=["nobody"]))
    assert [one["build"] for one in value["builds"]] == [str(faulty), str(built)]
    assert (len(value["between"]), value["settings"]["not_leaks"]) == (1, ["nobody"])


def test_the_command_writes_what_it_documents(built: Path, run: Run, tmp_path: Path) -> None:
    run("quality", "audit", built, "--json", tmp_path / "audit.json")
    Draft202012Validator(PUBLISHED).validate(json.loads((tmp_path / "audit.json").read_text()))
    assert json.loads(run("quality", "audit-schema").stdout) == PUBLISHED


def _names() -> st.SearchStrategy[list[tuple[str | None, str, str | None, str]]]:
    row = st.tuples(
        st.sampled_from(["train", "val", "test", "unassigned", None]),
        st.sampled_from([f"v{number}" for number in range(12)]),
        st.sampled_from(["p1", "p2", "p3", "id:ann", None]),
        st.sampled_from(["cluster", "known", "original"]),
    )
    return st.lists(row, max_size=30, unique_by=lambda one: (one[1], one[2]))


@given(rows=_names())
def test_estimated_people_are_counted_by_split(rows: list[tuple[str | None, str, str | None, str]]) -> None:
    split_of = {video: split for split, video, _, _ in rows}
    plan = pl.DataFrame(
        {"dataset": "d", "video_id": [*split_of], "split": [*split_of.values()], "fault": None},
        schema={"dataset": pl.String, "video_id": pl.String, "split": pl.String, "fault": pl.String},
    )
    names = {"dataset": "d", "video_id": [row[1] for row in rows], "person_estimated": [row[2] for row in rows]}
    table = pl.DataFrame(
        names | {"by": [row[3] for row in rows]},
        schema=dict.fromkeys(("dataset", "video_id", "person_estimated", "by"), pl.String),
    )
    found = estimated.counted(table, plan, {})
    used = {video for video, split in split_of.items() if split in ("train", "val", "test")}
    people = {video: {row[2] for row in rows if row[1] == video} - {None} for video in used}
    everybody = set().union(*people.values()) if people else set()
    trained = set().union(*(people[video] for video in used if split_of[video] != "test"), set())
    tested = [video for video in used if split_of[video] == "test" and people[video]]
    assert found.people == len(everybody)
    assert found.videos == sum(bool(one) for one in people.values())
    assert found.videos + found.videos_without == len(used)
    assert (found.test_videos, found.test_videos_shared) == (
        len(tested),
        sum(bool(people[v] & trained) for v in tested),
    )
    several = [str(who) for who in everybody if len({split_of[video] for video in used if who in people[video]}) > 1]
    assert [one.person for one in found.shared] == sorted(several)


def test_the_table_of_estimated_people_is_read_with_its_method(faulty: Path) -> None:
    plan = pl.read_parquet(faulty / "plan.parquet")
    row = {"role": "target", "person": 0, "person_estimated": "p0001", "by": "cluster", "crops": 4, "near": []}
    table = persons.frame([row | one for one in plan.select("dataset", "video_id").to_dicts()])
    method = {"counts": {"videos": plan.height}}
    persons.write(persons.url_of(str(faulty)), persons.Persons(rows=table, about=method))
    try:
        (build,) = written(audit([str(faulty)]))["builds"]
    finally:
        (faulty / "manifests/persons.parquet").unlink()
    found = build["people_estimated"]
    assert (found["people"], found["method"], found["by"]) == (1, method, {"cluster": plan.height})
    assert found["test_videos"] == found["test_videos_shared"] == (plan["split"] == "test").sum()
