"""What is lost before training: counted once more from plain rows, and the same on every page."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.manifests import schema
from semblance.manifests import tables as store
from semblance.manifests.records import FAILURES, GuideReason, Video
from semblance.quality.checks import remedies, shares
from semblance.shards.repack.subset import REASON
from tests.conftest import Run
from tests.shards import synthetic

SWAP = {"label": 1, "method": "Swap"}
STATUSES = ("ok", "ok", "ok", "partial", "no_face", "missing", "timeout")


def tables(videos: list[dict[str, Any]], samples: list[dict[str, Any]], rejects: list[dict[str, Any]]) -> shares.Shares:
    frames = (
        pl.DataFrame(rows, schema=dict(store._empty(name).collect_schema()))
        for name, rows in (("videos", videos), ("samples", samples), ("rejects", rejects))
    )
    return shares.of_tables(*(frame.lazy() for frame in frames))


video = st.fixed_dictionaries(
    {
        "label": st.sampled_from([0, 0, 1, 1, 1, None]),
        "method": st.sampled_from(["Swap", "Puppet", None]),
        "status": st.sampled_from(STATUSES),
        "frames_sampled": st.sampled_from([0, 4, 4, 4]),
        "faces": st.lists(st.tuples(st.booleans(), st.sampled_from([None, 0, 1]), st.integers(0, 2)), max_size=4),
        "listed": st.booleans(),
    }
)


@settings(max_examples=60)
@given(st.lists(video, min_size=1, max_size=12), st.booleans())
def test_shares_are_those_of_a_plain_count(drawn: list[dict[str, Any]], persons: bool) -> None:
    videos: list[dict[str, Any]] = []
    samples: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    lost: Counter[tuple[Any, str, str]] = Counter()
    planned: Counter[tuple[Any, str]] = Counter()
    crops: Counter[tuple[Any, str]] = Counter()
    unknown: Counter[tuple[Any, str]] = Counter()
    unaltered = set()
    for place, one in enumerate(drawn):
        name, label, method = f"v{place:02d}", one["label"], one["method"] or "not published"
        identity = {"video_id": name, "label": label, "method": one["method"]}
        kept = [face for face in one["faces"] if face[0]]
        failed = one["status"] in ("partial", "missing", "timeout")
        left_out = one["listed"] and bool(one["faces"]) and not kept
        for good, face_label, person in one["faces"]:
            face = identity | {"face_label": face_label if label == 1 else label, "person": person if persons else None}
            (samples if good else rejects).append(face | ({"verdict": "keep"} if good else {"reason": "blur"}))
        if left_out:
            rejects.append(identity | {"reason": REASON})
        counts = {"crops_kept": len(kept), "faces_seen": len(one["faces"])}
        videos.append(identity | {"status": one["status"], "frames_sampled": one["frames_sampled"]} | counts)
        crops[label, method] += len(kept)
        if label == 1 and kept:
            unknown[label, method] += sum(face_label is None for _, face_label, _ in kept)
            if not any(face_label == 1 for _, face_label, _ in kept):
                unaltered.add(name)
        if not kept and not one["frames_sampled"] and not failed:
            lost[label, method, "not in the frame list"] += 1
        elif not kept and left_out:
            lost[label, method, "not in the keep list"] += 1
        else:
            planned[label, method] += 1
            if not kept:
                lost[label, method, "every face rejected" if one["status"] == "ok" else one["status"]] += 1
    found = tables(videos, samples, rejects)
    chosen = ("not in the frame list", "not in the keep list")
    for row in found.rows:
        key = row.label, row.method
        causes = {cause: count for (*own, cause), count in lost.items() if tuple(own) == key}
        assert dict(row.causes) == causes
        assert (row.videos, row.crops, row.unlabelled) == (planned[key], crops[key], unknown[key])
        assert row.lost == sum(count for cause, count in causes.items() if cause not in chosen)
    assert {(row.label, row.method) for row in found.rows} >= {*planned, *crops}
    assert set(found.unaltered) == unaltered
    assert set(found.lost["video_id"]) == {row["video_id"] for row in videos if not row["crops_kept"]}
    said = {finding.law: finding for finding in found.findings() if "show no face" not in finding.what}
    above = any(row.lost_share > 0.05 for row in (*found.rows, *found.totals) if row.label is not None)
    assert ("lost" in said) == above
    assert ("labels" in said) == any(row.unlabelled_share > 0.05 for row in (*found.rows, *found.totals))


@pytest.mark.parametrize(("lost", "warned"), [(1, False), (2, True)])
def test_more_than_one_video_in_twenty_is_a_warning(lost: int, warned: bool) -> None:
    """And of the crops of fakes, one in twenty too; the ids are those of the videos."""
    videos = [
        {
            "video_id": f"v{place}",
            "label": 1,
            "method": "Swap",
            "status": "no_face" if place < lost else "ok",
            "frames_sampled": 4,
            "faces_seen": 1,
            "crops_kept": int(place >= lost),
        }
        for place in range(20)
    ]
    faces = [
        SWAP | {"video_id": f"w{place}", "verdict": "keep", "face_label": None if place < lost else 1}
        for place in range(20)
    ]
    found = list(tables(videos, faces, []).findings())
    if not warned:
        assert [one.what for one in found] == ["the kept crops of 1 fake show no face that is known to be altered"]
        return
    assert [one.what for one in found] == [
        "whole videos are lost, without any kept crop: 2 of 20 fakes (10.0%: no_face 2)",
        "kept crops of fakes have no face label: 2 of 20 in all (10.0%: not compared: guides off 2)",
        "the kept crops of 2 fakes show no face that is known to be altered",
    ]
    assert [one.ids for one in found] == [("v0", "v1"), ("w0", "w1"), ("w0", "w1")]
    assert {one.level for one in found} == {"warning"}


def test_every_page_prints_the_same_shares_and_older_builds_too(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    videos = [
        Video(
            video_id=f"d-{kind}{place}",
            path=f"{kind}{place}.mp4",
            dataset="folder",
            label=label,
            method=method,
            family_id=f"d-r{place}",
        )
        for place in range(8)
        for kind, label, method in (("r", 0, "pristine"), ("s", 1, "Swap"), ("p", 1, "Puppet"))
    ]
    synthetic.build(out, videos, "split.protocol=family")
    found = shares.measure(str(out))
    fakes = [row for row in found.rows if row.label == 1]
    assert sum(row.unlabelled for row in fakes) > 0, "choose another seed"
    run("quality", "audit", out, "--json", tmp_path / "audit.json")
    told = json.loads((tmp_path / "audit.json").read_text())["builds"][0]
    run("quality", "report", out)
    page = json.loads((out / "report/report.json").read_text())
    assert page["lost"] == found.to_json()
    of_method = {(one["label"], one["method"]): one["lost"] for one in told["losses"]["by_method"]}
    assert of_method == {(one.label, one.method): one.lost for one in found.rows}
    findings = [finding.what for finding in found.findings()]
    assert findings
    for pages in (told["findings"], page["findings"]):
        assert [one["what"] for one in pages if one["what"] in findings] == findings
    status = run("ingest", "status", out).stdout
    audit = run("quality", "audit", out).stdout
    html = (out / "report/index.html").read_text()
    for row in fakes:
        share = f"{row.unlabelled} of {row.crops} ({row.unlabelled / row.crops:.1%})"
        assert f"{row.method} {share}" in status
        assert f"{row.unlabelled_share:.1%}" in audit
        assert f"{row.unlabelled_share:.1%}" in html
    for what in findings:
        assert what in status
        assert what in audit
        assert what in html
    for part in (out / "manifests").glob("*/*.parquet"):
        rows = pl.read_parquet(part)
        rows.drop("person", "face_label_by", strict=False).write_parquet(part)
    assert shares.measure(str(out)).to_json() == found.to_json()


def test_fakes_without_a_face_label_are_told_apart_by_what_is_known() -> None:
    """What was compared with its original is never told to look for one."""
    seen = [(2.0, "original")] * 3 + [(None, "original")] + [(None, "fps")] * 2 + [(None, "no_original")]
    faces = [
        SWAP | {"video_id": f"v{place}", "verdict": "keep", "change_peak": peak, "guide": guide}
        for place, (peak, guide) in enumerate(seen)
    ]
    video = SWAP | {"status": "ok", "frames_sampled": 1, "faces_seen": 1, "crops_kept": 1}
    videos = [video | {"video_id": row["video_id"]} for row in faces]
    found = tables(videos, faces, [])
    assert dict(found.rows[0].reasons) == {"not clearly changed": 3, "fps": 2, "another moment": 1, "no_original": 1}
    told = next(found.findings())
    assert told.what.endswith(
        "%: compared with the original and not clearly changed 3, not compared: fps 2, another moment 1, no_original 1)"
    )
    assert "Originals in the same collection" in told.remedy
    assert "content:" not in told.remedy
    told = next(tables(videos[:3], faces[:3], []).findings())
    assert told.what.endswith("%: compared with the original and not clearly changed 3)")
    assert "riginals" not in told.remedy
    assert "masks=true" in told.remedy
    asked = [row | {"masks": 0} for row in videos[:3]]
    assert "masks=true" not in next(tables(asked, faces[:3], []).findings()).remedy
    assert set(get_args(GuideReason)) == {*remedies.REFUSED, "original"} - {remedies.MOMENT, remedies.UNGUIDED}


def test_the_remedy_of_a_lost_video_is_that_of_its_cause() -> None:
    counts = {"frames_sampled": 4, "faces_seen": 0, "crops_kept": 0}
    video = {"label": 0, "method": "pristine"} | counts
    for status in (*FAILURES, "no_face", "ok"):
        found = tables([video | {"video_id": name, "status": status} for name in "abcd"], [], [])
        (told,) = found.findings()
        assert told.remedy
        assert ("quality thresholds OUT" in told.remedy) == (status == "ok")
        (sentence,) = found.warnings("/data/out")
        assert "a, b, c and 1 more" in sentence
        assert " OUT" not in sentence
        assert ("quality thresholds /data/out" in sentence) == (status == "ok")


def test_rules_and_persons_are_counted_where_the_build_has_them() -> None:
    seen = (("a", "mask", 0), ("a", "mask", 0), ("a", None, 1), ("b", "change", 0), ("b", None, None))
    faces = [
        SWAP
        | {
            "video_id": name,
            "verdict": "keep",
            "face_label": None if by is None else 1,
            "face_label_by": by,
            "person": person,
        }
        for name, by, person in seen
    ]
    video = SWAP | {"status": "ok", "frames_sampled": 4, "faces_seen": 3, "crops_kept": 3}
    (row,) = tables([video | {"video_id": name} for name in "ab"], faces, []).rows
    assert (row.rules, row.persons, row.unlabelled) == ((("change", 1), ("mask", 2)), 3, 2)
    assert schema.CURRENT >= (5, 1)


def test_a_label_of_which_nothing_is_kept_is_named() -> None:
    counts = {"frames_sampled": 4, "faces_seen": 0, "crops_kept": 0}
    video = {"label": 0, "method": "pristine", "status": "no_face"} | counts
    found = tables([video | {"video_id": name} for name in "ab"], [], [])
    end = "a detector cannot learn from this build."
    assert list(found.missing()) == [
        f"No crop of a real video was kept (2 videos: no_face 2): {end}",
        f"No crop of a fake video was kept (none is planned): {end}",
    ]
