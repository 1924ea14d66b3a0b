"""Copies that were changed by ffmpeg are found, named with what was done to them, and no stranger is taken for one."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from semblance.manifests import scan
from semblance.quality.audit.result import Audit
from semblance.quality.audit.run import audit
from semblance.quality.audit.text import recording_sentences, verdict
from semblance.quality.audit.transcribe import transcribe
from semblance.quality.report import gallery
from tests.benchmarks import changed_copies, copies
from tests.benchmarks.changed_copies import MOMENTS
from tests.conftest import once

PEOPLE = ("p054", "p071", "p953")
CHANGES = ("mirror", "bars", "combination", "speed")
SAID = {
    "mirror": "mirrored",
    "bars": "framed, filling 56% of the width",
    "combination": "mirrored, scaled 0.80, cropped to 85% of the width and 85% of the height",
}


@pytest.fixture(scope="module")
def out(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build of three people with four changed copies of each, and of the first in two parts."""
    cast = copies.people(shared)

    def make(folder: Path) -> None:
        root = folder / "clips"
        changed_copies.collect({name: cast[name] for name in PEOPLE}, CHANGES, root, distractors={})
        for name, change in MOMENTS.items():
            file = f"{PEOPLE[0]}_{name.replace(' ', '_')}.mp4"
            changed_copies.make(cast[PEOPLE[0]], root / file, change)
            with (root / "table.csv").open("a") as table:
                table.write(f"{file},real,{PEOPLE[0]},{'train' if name == 'first part' else 'test'}\n")
        copies.build(root, folder / "out", frames=8)

    return once(tmp_path_factory, "changed", make) / "out"


@pytest.fixture(scope="module")
def found(out: Path) -> Audit:
    return audit([str(out)])


def test_every_changed_copy_is_found_and_what_was_done_is_said(out: Path, found: Audit) -> None:
    rows = list(copies.pairs(out, found))
    assert len(rows) == len(PEOPLE) * len(CHANGES) + 1  # and two parts of one recording
    assert {(row.kind is not None, row.by_hash) for row in rows if row.kept} == {(True, True)}
    assert {(row.kind is not None, row.by_hash) for row in rows if not row.kept} == {(False, True)}
    for row in rows:
        if row.change in SAID and row.kept:
            assert row.kind == "same_recording"
            assert row.how is not None
            assert _plain(row.how) == _plain(SAID[row.change])


def _plain(how: str) -> list[str]:
    """The words, without the last digit of figures: the landmarks of two pictures are never quite the same."""
    return [word[:-2] if word.endswith("%") else word.rstrip("0123456789") for word in how.split()]


def test_no_stranger_is_confirmed(out: Path, found: Audit) -> None:
    total, wrong = copies.strangers(out, found)
    assert total > 80
    assert wrong == 0
    assert found.recordings is not None
    assert found.recordings.false_confirmed == 0


def test_a_recording_in_two_splits_breaks_the_audit(found: Audit) -> None:
    assert found.broken
    failing = found.failing().filter(kind="same_recording")
    assert f"{failing.height} pairs that show one recording in more than one of train, val and test" in verdict(found)
    assert set(failing["id"]) >= {f"folder-{name}+folder-{name}_mirror" for name in PEOPLE}
    assert f"folder-{PEOPLE[0]}_first_part+folder-{PEOPLE[0]}_last_part" in {*found.failing()["id"]}
    notes = failing.filter(pl.col("id").str.ends_with("_mirror"))["note"]
    assert all(note.endswith(": mirrored") for note in notes)
    figures = transcribe(found).model_dump()["same_recordings"]
    assert figures["confirmed"] == found.builds[0].copies.filter(kind="same_recording").height
    assert any(
        f"{figures['confirmed']:,} seen to show one recording" in one for one in recording_sentences(found.recordings)
    )


def test_what_is_not_looked_at_is_said_and_breaks_nothing(out: Path) -> None:
    """Without a look at the pixels the hashes alone are no verdict."""
    unseen = audit([str(out)], most=0)
    assert unseen.recordings is not None
    assert unseen.recordings.unseen + unseen.recordings.unstored == unseen.recordings.pairs.height > 0
    assert unseen.recordings.unstored > 0
    assert not unseen.failing()["kind"].is_in(["same_recording"]).any()
    mirrors = unseen.leaks.filter(pl.col("id").str.ends_with("_mirror") & (pl.col("column") == "split"))
    assert set(mirrors.select("kind", "breaks").rows()) == {("shared_recording", False)}


def test_a_copy_without_a_kept_crop_is_not_confirmed(out: Path, found: Audit) -> None:
    """The gates rejected every face of it: its hashes match, and that is all that can be said."""
    lost = scan(str(out), "videos").filter(pl.col("crops_kept") == 0).select("video_id").collect()["video_id"]
    assert len(lost)
    rows = found.leaks.filter(
        (pl.col("column") == "split")
        & pl.col("id").str.split("+").list.set_intersection(lost.implode()).list.len().gt(0)
    )
    assert set(
        rows.filter(pl.col("kind").is_in(["same_recording", "shared_recording"])).select("kind", "breaks").rows()
    ) == {("shared_recording", False)}
    assert rows["note"].str.contains("match by hash, not confirmed: no crop of one").any()


def test_the_report_draws_the_pair_with_what_was_done(out: Path, found: Audit) -> None:
    rows = found.builds[0].copies.filter(kind="same_recording").head(2)
    sheets = gallery.recordings(gallery.Gallery(str(out)), rows)
    assert [len(sheet.pictures) for sheet in sheets] == [2, 2]
    for sheet, row in zip(sheets, rows.iter_rows(named=True), strict=True):
        assert sheet.title.startswith(f"{row['video']} ({row['split']}) and {row['other']} ({row['other_split']})")
        assert sheet.pictures[1].caption in (row["how"], "the same picture, encoded or coloured anew")


def test_a_build_without_the_hashes_says_so(out: Path, tmp_path: Path) -> None:
    """As builds of an earlier version: what was found before is found, and what is not searched is said."""
    older = tmp_path / "older"
    older.mkdir()
    for path in out.rglob("*"):
        to = older / path.relative_to(out)
        if path.is_dir():
            to.mkdir()
        elif path.suffix == ".parquet" and path.parent.name in ("samples", "rejects"):
            pl.read_parquet(path).drop("aligned_phash", "aligned_phash_mirrored").write_parquet(to)
        else:
            to.symlink_to(path)
    judged = audit([str(older)])
    assert judged.recordings is not None
    assert (judged.recordings.videos, judged.recordings.pairs.height) == (0, 0)
    assert any("mirrored, cropped or framed copies were not searched for" in one.what for one in judged.findings)
    assert judged.near is not None
