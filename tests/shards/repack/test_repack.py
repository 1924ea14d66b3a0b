"""Another split from shards alone: the laws still hold, and only splits and places in shards change."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
import webdataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semblance import manifests
from semblance.ingest import plan as planning
from semblance.ingest import recipe
from semblance.ingest.run import status
from semblance.manifests import persons, tables
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import SPLIT_COLUMNS
from semblance.manifests.splits import ProtocolNotes
from semblance.quality.audit import text as verdict
from semblance.quality.audit.run import audit as examine
from semblance.shards import build_folder, verify
from semblance.shards.repack import plan as repack_plan
from semblance.shards.repack import run as repack
from semblance.shards.repack import subset
from semblance.shards.repack.plan import RepackRequest
from tests.conftest import HANG, REPOSITORY, Run
from tests.ingest.run.test_build import content
from tests.shards import synthetic
from tests.shards.conftest import SETTINGS

PLACE = ("shard", "tar_offset", "tar_bytes")
ISOLATING = ("family", "identity", "method", "temporal")


def repacked(out: Path, to: Path, split: str, **more: Any) -> Path:
    """``out`` repacked at ``to``, checked byte by byte."""
    repack.run(repack_plan.plan(str(out), RepackRequest(split=split, **more)), str(to))
    assert verify.verify(str(to), deep=True).problems == []
    return to


def pictures(out: Path) -> dict[str, dict[str, bytes]]:
    """Sample id -> all its members except the JSON, read with Python's tarfile."""
    found: dict[str, dict[str, bytes]] = {}
    for file in out.glob("shards/*/*.tar"):
        with tarfile.open(file) as tar:
            for member in tar:
                name, _, suffix = member.name.partition(".")
                if suffix != "json":
                    found.setdefault(name, {})[suffix] = tar.extractfile(member).read()
    return found


def notes(out: Path) -> dict[str, dict[str, Any]]:
    """Sample id -> its JSON."""
    found = {}
    for file in out.glob("shards/*/*.tar"):
        with tarfile.open(file) as tar:
            for member in tar:
                name, _, suffix = member.name.partition(".")
                if suffix == "json":
                    found[name] = json.load(tar.extractfile(member))  # type: ignore[arg-type]
    return found


def table(out: Path, name: str, *without: str) -> pl.DataFrame:
    frame = manifests.scan(str(out), name).collect()  # type: ignore[arg-type]
    keys = [key for key in ("video_id", "frame_index", "track", "path") if key in frame.columns]
    return frame.drop(without, strict=False).sort(keys)


def assert_conserved(out: Path) -> None:
    """Law 1 by DuckDB: faces seen = kept + rejected, by video, in numbers and in rows."""
    rows = duckdb.sql(
        f"""
        SELECT v.faces_seen, v.crops_kept, v.crops_rejected,
               (SELECT count(*) FROM '{out}/manifests/samples/*.parquet' s
                WHERE s.video_id = v.video_id AND s.verdict = 'keep'),
               (SELECT count(*) FROM '{out}/manifests/rejects/*.parquet' r
                WHERE r.video_id = v.video_id AND r.unit = 'face')
        FROM '{out}/manifests/videos/*.parquet' v
        """
    ).fetchall()
    assert all(seen == kept + rejected == samples + rejects for seen, kept, rejected, samples, rejects in rows)
    assert all((kept, rejected) == (samples, rejects) for _, kept, rejected, samples, rejects in rows)


def assert_isolated(out: Path, split: str) -> None:
    """Law 3, from the plan and the samples."""
    columns = ["family_id"] if split in ISOLATING else []
    for name in ("plan", "samples"):
        rows = [row for row in table(out, name).iter_rows(named=True) if row["split"] != "unassigned"]
        for column in columns:
            assert all(len(splits) == 1 for splits in splits_of((row[column], row["split"]) for row in rows).values())
        if split == "identity":
            people = ((row[one], row["split"]) for row in rows for one in ("target_id", "donor_id") if row[one])
            assert all(len(splits) == 1 for splits in splits_of(people).values())


def splits_of(pairs: Any) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for key, split in pairs:
        found.setdefault(key, set()).add(split)
    return found


# a real build -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["official", "official_clean", "family", "method", "temporal"])
def test_the_result_equals_a_build_with_that_split(own: Path, collection: Path, tmp_path: Path, split: str) -> None:
    """The plan equals that of ingest except for shards; rows and JSON differ only in splits; pixels do not differ."""
    out2 = repacked(own, tmp_path / "out2", split)
    values = [text for flag, text in zip(SETTINGS[::2], SETTINGS[1::2], strict=True) if flag == "--set"]
    wanted = planning.make("folder", str(collection), recipe.load("plan", [*values, f"split.protocol={split}"]))
    drop = ("shard", "order")
    theirs = pl.DataFrame(wanted.rows, schema=table(own, "plan").schema).drop(drop).sort("video_id")
    assert table(out2, "plan", *drop).sort("video_id").equals(theirs)
    described = json.loads((out2 / "dataset.json").read_text())
    assert (described["split"], described["recipe"]["split"]["protocol"]) == (split, split)
    assert ProtocolNotes(**described["protocols"]).lines(split) == wanted.split_facts
    for name in ("samples", "rejects", "videos"):
        changing = (*PLACE, "split", "split_note")
        assert table(out2, name, *changing).equals(table(own, name, *changing))
    assert pictures(out2) == pictures(own)
    before, after = notes(own), notes(out2)
    splits = {row["video_id"]: {name: row[name] for name in SPLIT_COLUMNS} for row in wanted.rows}
    assert after == {name: note | splits[note["video_id"]] for name, note in before.items()}
    assert_conserved(out2)
    assert_isolated(out2, split)


def test_a_split_by_estimated_persons_equals_a_build_with_the_same_table(
    own: Path, collection: Path, tmp_path: Path, run: Run
) -> None:
    """By a table that is given, and by the build's own; the audit judges by it, a repack without one is refused."""
    command = ("shards", "repack", own, "--split", "person_estimated", "--to", tmp_path / "out2")
    assert "`quality persons" in run(*command, expect=2).stderr
    planned = table(own, "plan")
    reals = planned.filter(label=0)["video_id"].to_list()
    whom = {name: f"p{number // 2:04d}" for number, name in enumerate(reals)}
    origin = dict(planned.select("video_id", "family_id").iter_rows())
    rows = [
        {
            "dataset": "folder",
            "video_id": name,
            "role": "target",
            "person": None,
            "person_estimated": whom.get(family),
            "by": "cluster" if name in whom else "original",
            "crops": 4,
            "near": [],
        }
        for name, family in origin.items()
    ]
    file = tmp_path / "persons.parquet"
    persons.write(str(file), persons.Persons(rows=persons.frame(rows), about={}))
    said = run(*command, "--persons", file).stdout
    assert "estimated from faces" in said
    out2 = tmp_path / "out2"
    values = [text for flag, text in zip(SETTINGS[::2], SETTINGS[1::2], strict=True) if flag == "--set"]
    wanted = planning.make("folder", str(collection), recipe.load("plan", [*values, f"split.persons={file}"]))
    theirs = pl.DataFrame(wanted.rows, schema=planned.schema).drop("shard", "order").sort("video_id")
    assert table(out2, "plan", "shard", "order").sort("video_id").equals(theirs)
    described = json.loads((out2 / "dataset.json").read_text())
    assert ProtocolNotes(**described["protocols"]).lines("person_estimated") == wanted.split_facts
    assert verify.verify(str(out2), deep=True).problems == []
    named = dict(table(out2, "videos").select("video_id", "persons_estimated").iter_rows())
    assert {name: (found or [None])[0] for name, found in named.items()} == {
        name: whom.get(family) for name, family in origin.items()
    }
    sides = splits_of(
        (person, row["split"])
        for row in table(out2, "videos").filter(pl.col("split") != "unassigned").iter_rows(named=True)
        for person in row["persons_estimated"]
    )
    assert sides
    assert all(len(splits) == 1 for splits in sides.values())
    copied = tmp_path / "copied"
    shutil.copytree(own, copied)
    shutil.copy(file, copied / persons.FILE)
    repacked(copied, tmp_path / "out3", "person_estimated")
    assert table(tmp_path / "out3", "plan").equals(table(out2, "plan"))
    assert (out2 / persons.FILE).read_bytes() == (tmp_path / "out3" / persons.FILE).read_bytes() == file.read_bytes()
    assert "estimated" in verdict.verdict(examine([str(copied)]))


def test_notes_hold_no_number_that_a_reader_refuses(own: Path) -> None:
    """Arrow and Hugging Face's datasets take whole numbers of 64 bits with a sign; hashes have none, and are text."""
    rows = {row["sample_id"]: row for row in table(own, "samples").iter_rows(named=True)}
    for name, note in notes(own).items():
        assert all(-(2**63) <= value < 2**63 for value in note.values() if isinstance(value, int))
        for column in ("phash", "frame_phash", "aligned_phash", "aligned_phash_mirrored"):
            assert (None if note[column] is None else int(note[column], 16)) == rows[name][column]
    assert any(note["phash"] >= "8" for note in notes(own).values())  # beyond what a sign leaves


def test_there_and_back_again(own: Path, tmp_path: Path) -> None:
    """Repacking a repacked build to the first one's split gives its rows, JSON and pictures; the steps are recorded."""
    before = content(own)
    there = repacked(own, tmp_path / "there", "family")
    back = repacked(there, tmp_path / "back", "identity")
    for name in ("samples", "rejects", "videos"):
        assert table(back, name, *PLACE).equals(table(own, name, *PLACE))
    assert table(back, "plan", "shard", "order").equals(table(own, "plan", "shard", "order"))
    assert notes(back) == notes(own)
    assert pictures(back) == pictures(own)
    ids = [json.loads((out / "dataset.json").read_text())["fingerprint"] for out in (own, there, back)]
    assert len(set(ids)) == 3
    steps = json.loads((back / "dataset.json").read_text())["repacked"]
    assert [(step["from"], step["split"]) for step in steps] == [(ids[0], "family"), (ids[1], "identity")]
    card = (back / "CARD.md").read_text()
    assert f"Repacked from the build `{ids[0]}`: split `family`" in card
    assert "active split: `identity`" in card
    assert "cite where the videos come from" in card
    assert content(own) == before  # a build is never changed by what is made from it


def test_the_command_is_deterministic_and_reports_lost_videos(own: Path, run: Run, tmp_path: Path) -> None:
    command = ("shards", "repack", own, "--split", "method", "--held-out", "swap", "--to", tmp_path / "a")
    output = run(*command).stdout
    assert "held out for test: swap" in output
    assert "are unassigned because" in output
    repacked(own, tmp_path / "b", "method", held_out=["swap"])
    assert content(tmp_path / "a") == content(tmp_path / "b")
    rows = table(tmp_path / "a", "samples")
    assert set(rows.filter(pl.col("split").is_in(["train", "val"]))["method"]) == {"pristine", "blend/../x"}
    assert set(rows.filter(pl.col("split") == "test")["method"]) == {"pristine", "swap"}
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "a").rglob("*")}
    assert "nothing to do" in run(*command).stdout
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "a").rglob("*")} == before
    assert status.read(str(tmp_path / "a")).finished
    with pytest.raises(SemblanceError, match=r"another --to(.|\n)*repacked.split: method -> family"):
        repack.run(repack_plan.plan(str(own), RepackRequest(split="family")), str(tmp_path / "a"))
    with pytest.raises(SemblanceError, match="another --out"):
        build_folder.belongs(repack_plan.plan(str(own), RepackRequest(split="family")), str(own))


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset 1.0.2 never closes a local shard
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_it(own: Path, tmp_path: Path) -> None:
    """Its reader gives the manifest's samples in the tar's order, which mixes the videos."""
    out2 = repacked(own, tmp_path / "out2", "family")
    samples = manifests.scan(str(out2)).collect()
    mixed = 0
    for (shard,), rows in samples.group_by("shard", maintain_order=True):
        found = list(webdataset.WebDataset(str(out2 / str(shard)), shardshuffle=False, empty_check=False))
        assert [sample["__key__"] for sample in found] == rows["sample_id"].to_list()
        assert [json.loads(sample["json"])["split"] for sample in found] == rows["split"].to_list()
        changes = (rows["video_id"] != rows["video_id"].shift()).sum()
        mixed += changes > rows["video_id"].n_unique()
    assert mixed


def test_an_unavailable_protocol_is_refused(built: Path, run: Run, tmp_path: Path) -> None:
    """One sentence with the reason from planning, exit code 2, nothing written."""
    for split, why in (
        ("identity", "no names of people"),
        ("method", "no method is named"),
        ("temporal", "no video has a date"),
        ("official_clean", "no published split|no test video"),
    ):
        output = run("shards", "repack", built, "--split", split, "--to", tmp_path / "out", expect=2).stderr
        assert any(part in output for part in why.split("|"))
        assert output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_repacked_gets_one_sentence(own: Path, tmp_path: Path) -> None:
    before = content(own)
    out = str(own)
    for request, words in (
        (RepackRequest(split="nope"), "Unknown protocol 'nope'"),
        (RepackRequest(split="family", held_out=["swap"]), "--held-out is only for --split method"),
        (RepackRequest(split="method", held_out=["nope"]), "No fake has the held-out method 'nope'"),
        (RepackRequest(split="family", against="person"), "--against is only for --split official_clean"),
        (RepackRequest(split="official_clean", against="nobody"), "--against accepts recording"),
    ):
        with pytest.raises(UsageError, match=words):
            repack_plan.plan(out, request)
    family = repack_plan.plan(out, RepackRequest(split="family"))
    for to in (out, f"{out}/inside", f"{out}/../{own.name}/shards"):
        with pytest.raises(UsageError, match="a build is never changed"):
            repack.run(family, to)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SemblanceError, match=r"has files that are not from a build \(thesis.txt\).*--to"):
        repack.run(family, str(tmp_path))
    with pytest.raises(SemblanceError, match="is not a build"):
        repack_plan.plan(str(tmp_path), RepackRequest(split="family"))
    other = tmp_path / "other"
    shutil.copytree(own, other)
    (other / "dataset.json").unlink()
    with pytest.raises(SemblanceError, match="is not finished"):
        repack_plan.plan(str(other), RepackRequest(split="family"))
    shutil.copy(own / "dataset.json", other)
    described = json.loads((own / "dataset.json").read_text())
    (other / "dataset.json").write_text(json.dumps(described | {"versions": {"schema": "1"}}))
    with pytest.raises(SemblanceError, match="another version of Semblance"):
        repack_plan.plan(str(other), RepackRequest(split="family"))
    shutil.copy(own / "dataset.json", other)
    next(other.glob("receipts/*.json")).unlink()
    with pytest.raises(SemblanceError, match="is damaged"):
        repack_plan.plan(str(other), RepackRequest(split="family"))
    assert content(own) == before


@pytest.mark.parametrize("what", ["jpg", "json", "header"])
def test_damage_is_not_copied(own: Path, tmp_path: Path, what: str) -> None:
    """A flipped bit of the same size: found while reading, so no dataset.json is written."""
    other = tmp_path / "other"
    shutil.copytree(own, other)
    file = max(other.glob("shards/*/*.tar"), key=lambda file: file.stat().st_size)
    with tarfile.open(file) as tar:
        member = next(one for one in tar if one.name.endswith("jpg" if what == "header" else what))
    data = bytearray(file.read_bytes())
    where = member.offset if what == "header" else data.index(b'"blur":', member.offset) + 8
    data[member.offset_data + 9 if what == "jpg" else where] ^= 1
    file.write_bytes(data)
    with pytest.raises(SemblanceError, match="shards verify"):
        repack.run(repack_plan.plan(str(other), RepackRequest(split="family")), str(tmp_path / "out2"))
    assert not (tmp_path / "out2" / "dataset.json").exists()


# random builds ------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), families=st.integers(4, 10), split=st.sampled_from([*ISOLATING, "official"]))
def test_the_laws_hold_for_any_build(
    tmp_path_factory: pytest.TempPathFactory, seed: int, families: int, split: str
) -> None:
    """Random people, verdicts, marked samples, masks, missing and unlabelled videos; a list of samples to keep."""
    folder = tmp_path_factory.mktemp("random")
    chance = random.Random(seed)
    out = folder / "out"
    try:
        synthetic.build(out, synthetic.people(chance, families), "shards.target_bytes=40000", "split.protocol=family")
        made = repack_plan.plan(str(out), RepackRequest(split=split))
    except UsageError:  # this protocol does not exist for these people
        return
    repack.run(made, str(folder / "out2"))
    ids = table(out, "samples")["sample_id"].to_list()
    kept = chance.sample(ids, chance.randint(1, len(ids))) if ids else []
    if kept:
        pl.DataFrame({"sample_id": kept}).write_parquet(folder / "keep.parquet")
        repacked(out, folder / "out3", split, keep=subset.read(str(folder / "keep.parquet")))
        check(out, folder / "out3", split, set(kept))
    check(out, folder / "out2", split, set(ids))


def check(out: Path, out2: Path, split: str, kept: set[str]) -> None:
    assert verify.verify(str(out2), deep=True).problems == []
    assert_conserved(out2)
    assert_isolated(out2, split)
    before, after = pictures(out), pictures(out2)
    assert after == {name: members for name, members in before.items() if name in kept}
    plan = {row["video_id"]: row for row in table(out2, "plan").iter_rows(named=True)}
    for row in plan.values():
        expected = row[f"split_{split}"]
        assert row["split"] == (expected or "unassigned")
        assert (row["split_note"] is None) == (expected is not None)
    assert set(plan) == set(table(out2, "videos")["video_id"])
    samples, rejects = table(out, "samples"), table(out2, "rejects")
    gone = samples.filter(~pl.col("sample_id").is_in(list(kept)))
    named = rejects.filter(pl.col("reasons").list.contains("not_kept"))
    assert set(named["sample_id"]) == set(gone["sample_id"])  # nothing vanishes, nothing is listed twice
    assert named.height == gone.height
    was_kept = gone.filter(pl.col("verdict") == "keep")["sample_id"]
    assert set(named.filter(pl.col("reason") == "not_kept")["sample_id"]) == set(was_kept)
    others = rejects.filter(pl.col("reason") != "not_kept").drop("reasons", *PLACE, *SPLIT_COLUMNS)
    assert others.equals(table(out, "rejects").drop("reasons", *PLACE, *SPLIT_COLUMNS))
    thumbnails = {name: data for name, data in small_pictures(out).items() if name in set(rejects["sample_id"])}
    assert small_pictures(out2) == thumbnails


def small_pictures(out: Path) -> dict[str, bytes]:
    found = {}
    for file in out.glob("rejects/*.tar"):
        with tarfile.open(file) as tar:
            for member in tar:
                found[member.name.partition(".")[0]] = tar.extractfile(member).read()
    return found


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build without videos, of a dozen shards. Tests only read it."""
    out = tmp_path_factory.mktemp("invented") / "out"
    synthetic.build(out, synthetic.people(random.Random(5), 12), "shards.target_bytes=12000", "split.protocol=family")
    return out


def test_a_list_of_what_to_keep(invented: Path, run: Run, tmp_path: Path) -> None:
    """By sample or by video, Parquet or CSV; only the ids count; unknown and empty ids are errors."""
    samples = table(invented, "samples")
    videos = samples["video_id"].unique().sort().to_list()[::2]
    ids = samples.filter(pl.col("video_id").is_in(videos))["sample_id"].to_list()
    pl.DataFrame({"video_id": videos}).write_csv(tmp_path / "videos.csv")
    samples.filter(pl.col("video_id").is_in(videos)).write_parquet(tmp_path / "rows.parquet")  # sample_id goes first
    pl.DataFrame({"note": "x", "sample_id": [*reversed(ids), ids[0]]}).write_csv(tmp_path / "samples.csv")
    lists = {name: subset.read(str(tmp_path / name)) for name in ("videos.csv", "rows.parquet", "samples.csv")}
    assert lists["rows.parquet"].sha256 == lists["samples.csv"].sha256 != lists["videos.csv"].sha256
    outs = {name: repacked(invented, tmp_path / name[:4], "family", keep=one) for name, one in lists.items()}
    for out in outs.values():
        assert set(table(out, "samples")["sample_id"]) == set(ids)
    assert content(outs["rows.parquet"]) == content(outs["samples.csv"])
    description = json.loads((outs["videos.csv"] / "dataset.json").read_text())
    left = samples.height - len(ids)
    assert description["repacked"][0]["keep"] == {"column": "video_id", "ids": len(videos), "left_out": left}
    assert description["counts"]["rejects"]["not_kept"] == table(invented, "videos")["crops_kept"].sum() - (
        table(outs["videos.csv"], "videos")["crops_kept"].sum()
    )
    assert f"({left} left out)" in (outs["videos.csv"] / "CARD.md").read_text()
    for text, words in (
        ("sample_id\nfolder-zz-000000-00\nfolder-aa-000000-00\n", "has the sample_id folder-aa-000000-00 and 1 more"),
        ("video_id\nnope\n", "has the video_id nope, which the build does not have"),
        ("id\nnope\n", "neither a column sample_id nor video_id"),
        ("sample_id,x\n,1\n", "1 rows without a sample_id"),
        ("sample_id\n", "is empty, so nothing would be kept"),
        ("", "cannot be read"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        to = tmp_path / "bad"
        command = ("shards", "repack", invented, "--split", "family", "--keep", tmp_path / "bad.csv", "--to", to)
        if words.startswith("has the sample_id"):
            assert words in run(*command, expect=1).stderr
            assert not to.exists()
        else:
            with pytest.raises(SemblanceError, match=words):
                repack_plan.plan(
                    str(invented), RepackRequest(split="family", keep=subset.read(str(tmp_path / "bad.csv")))
                )
    with pytest.raises(SemblanceError, match="cannot be read"):
        subset.read(str(tmp_path / "absent.parquet"))


def test_flags_are_copied(invented: Path, tmp_path: Path) -> None:
    """Flags on samples and videos are valid for the same samples in another build."""
    other = tmp_path / "other"
    shutil.copytree(invented, other)
    one = table(other, "samples")["sample_id"][0]
    flag = {"sample_id": one, "video_id": None, "flag": "label_noise", "value": 0.9, "limit": 0.5, "by": "a test"}
    tables.write_rows(str(other / "manifests" / "flags" / "noise.parquet"), [flag], "flags")
    out2 = repacked(other, tmp_path / "out2", "identity")
    flagged = manifests.scan(str(out2)).filter(pl.col("flags").list.contains("label_noise")).collect()
    assert flagged["sample_id"].to_list() == [one]


KILLED = """
import os, signal, sys
from semblance.shards.repack import plan, run
left = int(sys.argv[3])
real = os.replace
def replace(*names):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*names)
os.replace = replace
run.run(plan.plan(sys.argv[1], plan.RepackRequest(split="identity")), sys.argv[2])
"""


def test_killed_anywhere_and_run_again(invented: Path, tmp_path: Path) -> None:
    """Law 5: killed repeatedly before a file appears (its draft is left); the result equals that of one run."""
    whole = repacked(invented, tmp_path / "whole", "identity")
    resumed = tmp_path / "resumed"
    files = sum(file.is_file() for file in whole.rglob("*"))
    for before in (0, 3, 9, files - 12):  # of the claim, the tables, in a shard, near the end
        command = [sys.executable, "-c", KILLED, str(invented), str(resumed), str(before)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=HANG, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not (resumed / "dataset.json").exists()
        assert list(resumed.rglob(".*.tmp"))
    kept = {file: file.stat().st_mtime_ns for file in resumed.glob("receipts/*.json")}
    assert kept
    repacked(invented, resumed, "identity")
    assert content(resumed) == content(whole)
    assert all(file.stat().st_mtime_ns == when for file, when in kept.items())


def test_shards_are_planned_from_known_sizes(tmp_path: Path) -> None:
    """A shard exceeds its target only for a single family; two neighbours of one split would not fit into one."""
    out = tmp_path / "out"
    videos = [one for one in synthetic.people(random.Random(3), 14) if one.label is not None]
    synthetic.build(out, videos, "shards.target_bytes=60000", "split.protocol=family", frames=6, size=2000)
    out2 = repacked(out, tmp_path / "out2", "family")
    rows = manifests.scan(str(out2)).collect()
    by_family: Mapping[Any, int] = {key: sum(parts) for key, parts in tar_bytes(out2, rows).items()}
    shards: dict[str, list[int]] = {}
    for (shard, _), size in by_family.items():
        shards.setdefault(shard, []).append(size)
    assert any(len(sizes) > 1 for sizes in shards.values())
    assert any(len(sizes) == 1 for sizes in shards.values())
    assert all(sum(sizes) <= 62000 or len(sizes) == 1 for sizes in shards.values())  # and the end mark of the tar


def tar_bytes(out: Path, rows: pl.DataFrame) -> dict[tuple[str, str], list[int]]:
    """(shard, family) -> bytes of its members with their headers, read with Python's tarfile."""
    families = dict(rows.select("sample_id", "family_id").iter_rows())
    found: dict[tuple[str, str], list[int]] = {}
    for file in out.glob("shards/*/*.tar"):
        with tarfile.open(file) as tar:
            for member in tar:
                family = families[member.name.partition(".")[0]]
                found.setdefault((file.name, family), []).append(512 + -(-member.size // 512) * 512)
    return found
