"""The audit finds what was planted, names it, and lets the demo pass."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from semblance.manifests import splits, tables
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import Video
from semblance.quality import video
from semblance.quality.audit.run import audit
from semblance.quality.audit.text import verdict
from semblance.quality.duplicates import clusters
from tests.conftest import Run

TABLE = """path,label,method,original,target,donor,split
a.mp4,real,,,anna,,train
forged.mp4,fake,x,a.mp4,anna,emil,train
again.mp4,real,,,,,test
b.mp4,real,,,berta,,train
same.mp4,real,,,,,val
c.mp4,real,,,clara,,test
"""
COPIES = "folder-a+folder-again", "folder-b+folder-same"


def fakes_of(demo: Path) -> dict[Path, Path]:
    """Original -> one of its fakes."""
    fakes = {}
    for table in sorted(demo.glob("*/metadata.json")):
        for name, row in json.loads(table.read_text()).items():
            if "original" in row:
                fakes[table.parent / row["original"]] = table.parent / name
    return fakes


@pytest.fixture(scope="module")
def planted(demo: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of the demo: ``again`` is ``a`` re-encoded under another name, ``same`` the very file of ``b``."""
    root, out = tmp_path_factory.mktemp("planted"), tmp_path_factory.mktemp("audited") / "out"
    fakes = fakes_of(demo)
    reals = sorted(fakes)
    clips = {"a": reals[0], "forged": fakes[reals[0]], "b": reals[1], "same": reals[1], "c": reals[2]}
    for name, source in clips.items():
        shutil.copy(source, root / f"{name}.mp4")
    frames = [frame.image for frame in video.frames(str(reals[0]), range(36), decoder="pyav")]
    video.write_h264(str(root / "again.mp4"), frames, 30, crf=28)
    (root / "table.csv").write_text(TABLE)
    options = ("source.table=table.csv", "split.protocol=official", "sampling.n=8")
    settings = [word for option in options for word in ("--set", option)]
    run("ingest", "build", "--dataset", "folder", "--root", root, "--out", out, "--workers", 1, *settings)
    return out


def test_the_demo_warns_only_of_its_faceless_family_and_its_untouched_faces(
    built: Path, run: Run, tmp_path: Path
) -> None:
    said = run("quality", "audit", built, "--to", tmp_path / "leaks.csv", "--json", tmp_path / "audit.json").stdout
    assert said.startswith(f"WARNING: {built} under family: whole videos are lost, without any kept crop: ")
    first, second = said.splitlines()[:2]
    assert first.endswith("; not promised: people and recordings")
    assert second == "not searched for copies: 1 of 10 videos (10.0%)"
    found = json.loads((tmp_path / "audit.json").read_text())["builds"][0]["findings"]
    assert [one["law"] for one in found if one["level"] != "note"] == ["lost", "labels"]
    assert "no shared frames were found; this does not exclude shared recordings or people" in said
    assert "no people are named, so no split of this dataset can be shown to separate people" in said
    assert pl.read_csv(tmp_path / "leaks.csv").height == 0
    written = json.loads((tmp_path / "audit.json").read_text())
    assert (written["broken"], written["near_duplicates"]["confirmed"], written["leaks"]) == (False, 0, [])
    counts = pl.DataFrame(written["builds"][0]["coverage"])
    videos = tables.scan(str(built), "videos").collect()
    assert counts["crops"].sum() == videos["crops_kept"].sum() == tables.scan(str(built)).collect().height
    assert (counts["real"].sum(), counts["fake"].sum()) == ((videos["label"] == 0).sum(), (videos["label"] == 1).sum())
    assert counts["empty"].sum() == (videos["crops_kept"] == 0).sum()


def test_a_copied_clip_is_found_and_other_people_are_not(planted: Path, run: Run, tmp_path: Path) -> None:
    table, bare = tmp_path / "leaks.parquet", tmp_path / "leaks.csv"
    said = run("quality", "audit", planted, "--to", table, expect=1).stdout
    samples = tables.scan(str(planted)).filter(pl.col("video_id") == "folder-b").collect()
    several = "in more than one of train, val and test under official"
    assert said.startswith(
        f"BROKEN: {planted} under official: {samples.height} equal pictures {several}; 2 near-duplicate pairs "
        f"{several}; 1 pair from one recording by hash alone {several}"
    )
    found = pl.read_parquet(table)
    near = found.filter((pl.col("kind") == "near_duplicate") & (pl.col("column") == "split"))
    assert set(near["id"]) == set(COPIES)
    assert near.select("train", "val", "test").rows() == [(1, 0, 1), (1, 1, 0)]
    equal = found.filter((pl.col("kind") == "bytes") & (pl.col("column") == "split"))
    assert set(equal["id"]) == set(samples["sha256"])
    # the fake was made from the recording that is tested under another name: another face, the same frames
    recording = found.filter((pl.col("kind") == "shared_recording") & (pl.col("column") == "split"))
    assert recording.select("id", "breaks").rows() == [("folder-forged+folder-again", True)]
    assert "pairs of videos known to show different people, 0 match by hash" in said
    # accepted: by one video of a pair, by kind and id, by a file; what is no leak is said
    found.filter(pl.col("kind") == "bytes").write_csv(bare)
    words = ("--allow", "folder-again", "--allow", f"near_duplicate:{COPIES[1]}", "--allow", bare)
    said = run("quality", "audit", planted, *words, "--allow", "nobody").stdout
    assert said.startswith(
        f"WARNING with {samples.height + 3} allowed leaks: {planted} under official: val has no fake"
    )
    assert "--allow lists ids that are not leaks here: nobody" in said
    part = audit([str(planted)], allow=[str(bare)])
    assert set(part.failing()["id"]) == {*COPIES, "folder-forged+folder-again"}
    assert verdict(part).startswith(f"BROKEN with {samples.height} allowed leaks")


def test_clips_of_another_build_are_found(built: Path, planted: Path, demo: Path, run: Run) -> None:
    """The demo's clips under other names: each has its source as partner; the page names and shows them."""
    found = audit([str(built), str(planted)]).copies[str(built), str(planted)]
    partners = {row["other"]: row["video"] for row in found.filter(pl.col("share") > 0.6).to_dicts()}
    sources = [f"dfdc-{path.stem}" for path in sorted(fakes_of(demo))]
    assert {partners[f"folder-{name}"] for name in ("a", "again")} == {sources[0]}
    assert {partners[f"folder-{name}"] for name in ("b", "same")} == {sources[1]}
    assert set(found["video"]) <= set(tables.scan(str(built), "videos").collect()["video_id"])
    two = audit([str(planted), str(built)])
    found = two.copies[str(planted), str(built)]
    said = run("quality", "report", planted, "--compare", built).stdout
    assert two.across[str(planted), str(built)]
    for one in two.across[str(planted), str(built)]:
        assert f"{one.level}: {one.what}" in said
    page = (planted / "report/index.html").read_text()
    assert f"{found.height} pairs of videos of two families, one in each" in page
    split = clusters.bipartite(found)
    assert pl.concat(split).sort("video", "other").equals(found)
    for end in ("video", "other"):
        names = [set(cluster[end]) for cluster in split]
        assert sum(map(len, names)) == found[end].n_unique(), "a video is in two clusters"
    assert f"in {len(split)} cluster" in page


def test_unconfirmed_pairs_share_a_recording(planted: Path) -> None:
    """Matches by hash are no copies until their pictures were looked at, but at least moments of one recording."""
    unseen = audit([str(planted)], most=0)
    assert unseen.near is not None
    assert unseen.near.unseen == unseen.near.pairs.height >= 2
    assert set(unseen.failing()["kind"]) == {"bytes", "shared_recording"}
    assert {*COPIES} < set(unseen.failing()["id"])


def test_faces_without_frames_are_compared_by_crops(planted: Path, tmp_path: Path) -> None:
    """As those of WildDeepfake, which came as faces: neither the frame's hash nor the crop's place is known."""
    out = tmp_path / "out"
    shutil.copytree(planted, out)
    for part in (out / "manifests" / "samples").glob("*.parquet"):
        unknown = (pl.lit(None).cast(pl.UInt64).alias("frame_phash"), pl.lit(None).cast(pl.Int32).alias("crop_x0"))
        pl.read_parquet(part).with_columns(*unknown).write_parquet(part)
    found = audit([str(out)])
    assert found.near is not None
    assert found.near.videos["frame"] == 0
    assert found.near.videos["crop"] >= 5
    near = found.failing().filter(pl.col("kind") == "near_duplicate")
    assert set(near["id"]) == set(COPIES)
    mixed = audit([str(planted), str(out)])  # frames here, none there: the crops of both are compared
    assert mixed.near is not None
    assert set(mixed.near.pairs.filter("confirmed")["seen"]) == {"frame", "crop"}


def test_what_one_build_trains_with_another_must_not_test(planted: Path, built: Path) -> None:
    """The planted clips are the demo's: under other names, in another dataset, cut from the same videos."""
    found = audit([str(planted), str(built)])
    assert found.near is not None
    counts = found.between[str(planted), str(built)]
    # the forged clip shows the recording that it was made from, with another face
    assert set(counts["kind"]) == {"bytes", "near_duplicate", "same_recording"}
    sides = dict(tables.scan(str(built), "plan").select("video_id", "split").collect().iter_rows())
    between = found.leaks.filter(pl.col("other").is_not_null())
    promised = between["kind"] != "shared_recording"  # of recordings family promises nothing
    assert between["breaks"].equals(promised)
    across = found.across[str(planted), str(built)]
    assert {one.level for one in across} == {"broken" if breaks else "warning" for breaks in promised}
    assert sum(len(one.ids) for one in across) == between.height
    for one, other in between.select("side", "other_side").iter_rows():
        assert (one == "test") != (other == "test")
    for row in between.filter(pl.col("kind") == "near_duplicate").iter_rows(named=True):
        theirs = row["id"].split("+")[1]
        assert sides[theirs] == row["other_side"]


def _people() -> pl.DataFrame:
    """Four people, each with a real video and a fake that shows the next one's face."""
    videos = []
    for place, name in enumerate("abcd"):
        own: dict[str, Any] = {
            "dataset": "folder",
            "family_id": f"family-{name}",
            "target_id": name,
            "recording_id": f"clip-{name}",
        }
        videos.append(Video(video_id=f"real-{name}", path=f"{name}.mp4", label=0, method="pristine", **own))
        donor = "abcd"[(place + 1) % 2 + place // 2 * 2]
        videos.append(Video(video_id=f"fake-{name}", path=f"f{name}.mp4", label=1, method="x", donor_id=donor, **own))
    config = splits.SplitConfig(protocol="identity", fractions=(0.5, 0.25, 0.25))
    return splits.assign(splits.plan_frame(videos), config, 0, splits.DatasetTraits(basis="person")).table


def test_a_plan_with_somebody_on_two_sides(run: Run, tmp_path: Path) -> None:
    plan, file = _people(), tmp_path / "plan.parquet"
    plan.write_parquet(file)
    said = verdict(audit([str(file)], plan=True))
    assert said.startswith(f"WARNING: {file} under identity: val has no fake: nothing can be evaluated on it")
    sides = dict(plan.select("video_id", "split").iter_rows())
    assert sides["fake-a"] != sides["real-c"]
    moved = pl.when(pl.col("video_id") == "real-a").then(pl.lit(sides["real-c"])).otherwise(pl.col("split"))
    plan.with_columns(split=moved, split_identity=moved).write_parquet(file)
    said = run("quality", "audit", "--plan", file, "--to", tmp_path / "leaks.csv", expect=1).stdout
    where = "in more than one of train, val and test under identity"
    assert f"1 family {where}; 1 person {where}; 1 recording {where}" in said.splitlines()[0]
    assert "Only the plan was audited" in said
    broken = pl.read_csv(tmp_path / "leaks.csv").filter(pl.col("breaks") & (pl.col("column") == "split"))
    assert set(broken.select("kind", "id").rows()) == {("family", "family-a"), ("person", "a"), ("recording", "clip-a")}
    assert audit([str(file)], plan=True, allow=["family-a", "person:a"]).failing()["id"].to_list() == ["clip-a"]


def test_a_family_on_two_sides_of_a_build(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(built, out)
    plan = pl.read_parquet(out / "plan.parquet")
    fake = plan.filter(pl.col("label") == 1).row(0, named=True)
    other = next(side for side in ("train", "val", "test") if side != fake["split"])
    moved = pl.when(pl.col("video_id") == fake["video_id"]).then(pl.lit(other)).otherwise(pl.col("split"))
    plan.with_columns(split=moved).write_parquet(out / "plan.parquet")
    found = audit([str(out)])
    assert found.failing().select("kind", "id").rows() == [("family", fake["family_id"])]
    assert any(f"the path does not match the split of {fake['video_id']}" in one for one in found.builds[0].problems)
    assert "; 1 family in more than one of train, val and test under family" in verdict(found)
    assert found.builds[0].findings[1].ids == (fake["family_id"],)


def test_a_broken_law_breaks_the_audit(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(built, out)
    part = next((out / "manifests" / "samples").glob("*train*.parquet"))
    pl.read_parquet(part)[1:].write_parquet(part)
    found = audit([str(out)])
    assert found.broken
    assert found.failing().is_empty()
    assert part.name in found.builds[0].problems[0]


def test_the_audit_says_what_it_cannot_do(built: Path, run: Run, tmp_path: Path) -> None:
    for names, options, error, part in (
        ([tmp_path / "nothing"], {}, SemblanceError, "is not a build"),
        ([tmp_path / "plan.parquet"], {}, UsageError, "use --plan to audit a plan"),
        ([built, built], {"plan": True}, UsageError, "named twice"),
        ([built], {"plan": True, "allow": [f"{tmp_path}/none.csv"]}, UsageError, "cannot be read"),
    ):
        with pytest.raises(error, match=part):
            audit([str(name) for name in names], **options)
    done = run("quality", "audit", built, "--to", tmp_path / "leaks.xlsx", expect=2)
    assert "must end in .csv or .parquet" in done.stderr


def test_the_card_names_the_leaks(built: Path, planted: Path) -> None:
    for out, said in (
        (built, "active split (family): in more than one of train, val and test: 0 of 4 families"),
        (planted, "active split (official): in more than one of train, val and test: 0 of 5 families, 0 of 4 people"),
    ):
        assert f"- {said}\n" in (out / "CARD.md").read_text()
