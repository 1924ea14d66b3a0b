"""What an audit makes of splits, people, recordings and searches: each fault planted, and named in its words."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from semblance.manifests.records import Outcome
from semblance.quality.audit import findings
from semblance.quality.audit.console import show
from semblance.quality.audit.result import Audit
from semblance.quality.audit.run import audit
from semblance.quality.audit.text import verdict
from semblance.quality.builds import Audited
from tests.quality import planted
from tests.quality.planted import Faults
from tests.shards import synthetic


def _rewritten(out: Path, table: str, change: Any) -> None:
    for part in (out / "manifests" / table).glob("*.parquet"):
        frame = pl.read_parquet(part)
        change(frame).cast(dict(frame.schema)).write_parquet(part)


def test_a_split_that_cannot_be_evaluated_is_not_sound(tmp_path: Path) -> None:
    """No crop of a fake in test; in val one fake of a dozen gave a crop."""
    out = tmp_path / "out"
    planted.build(out, 48)
    plan = pl.read_parquet(out / "plan.parquet").filter((pl.col("split") == "val") & (pl.col("label") == 1))
    one = plan["video_id"][0]
    gone = (pl.col("label") == 1) & (
        (pl.col("split") == "test") | ((pl.col("split") == "val") & (pl.col("video_id") != one))
    )
    _rewritten(out, "videos", lambda rows: rows.with_columns(crops_kept=pl.when(gone).then(0).otherwise("crops_kept")))
    judged = audit([str(out)])
    said = {found.what: (found.level, found.ids) for found in judged.findings if found.law == "coverage"}
    empty = f"test has no fake ({_fakes(out, 'test')} videos, none with a kept crop): nothing can be evaluated on it"
    assert (
        said[empty] == said[f"val has hardly any fake videos: 1 of {plan.height} with a kept crop"] == ("warning", ())
    )
    assert not any(what.startswith("train") for what in said)
    assert f"warning: {empty}" in _shown(judged), "nothing follows a finding without ids"


def _shown(judged: Audit) -> list[str]:
    """The lines of an audit on a console."""
    page = io.StringIO()
    show(judged, Console(file=page, width=200))
    return page.getvalue().splitlines()


def _fakes(out: Path, split: str) -> int:
    return pl.read_parquet(out / "plan.parquet").filter((pl.col("split") == split) & (pl.col("label") == 1)).height


@pytest.mark.parametrize("protocol", ["family", "official"])
@pytest.mark.parametrize("gated", [frozenset(), frozenset({("val", 0)}), frozenset({("val", 1)})])
def test_the_advice_on_an_empty_split_fits_its_protocol_and_what_emptied_it(
    protocol: str, gated: frozenset[tuple[str, int]]
) -> None:
    """Fractions change nothing of a published split, and gates nothing where they rejected none of the label."""
    build = Audited(name="out", plan=pl.DataFrame(), description={}, protocol=protocol, against="", shards=True)
    rows = [
        {"split": split, "real": 9, "fake": 9, "used_real": 9, "used_fake": 9} for split in ("train", "val", "test")
    ]
    rows[1]["used_fake"] = 0
    (found,) = findings.of_coverage(build, rows, gated)
    assert ("split.fractions" in found.remedy) == (protocol == "family")
    assert ("split.protocol" in found.remedy) == (protocol == "official")
    assert ("gates" in found.remedy) == (("val", 1) in gated)


def test_known_people_in_two_splits_of_a_family_split_open_the_verdict(tmp_path: Path) -> None:
    out = tmp_path / "out"
    planted.build(out, 12)
    plan = pl.read_parquet(out / "plan.parquet")
    plan.with_columns(target_id=pl.lit("ann"), donor_id=pl.lit("bob")).write_parquet(out / "plan.parquet")
    judged = audit([str(out)])
    assert verdict(judged).startswith(
        f"WARNING: {out} under family: NOT promised: family does not separate people, and 2 people are in more"
    )
    assert not judged.broken
    assert {row["named"] for row in judged.builds[0].coverage} == {2}, "people are counted, not videos"


@pytest.mark.parametrize(("protocol", "level"), [("family", "warning"), ("official", "broken")])
def test_other_moments_of_one_recording_leak(tmp_path: Path, protocol: str, level: str) -> None:
    """Two real videos of two families whose frames match by hash, and whose pictures do not."""
    out, videos = tmp_path / "out", planted.videos(8, Faults())
    where = {f"folder-real_{number}": ("train", "train", "val", "test")[number % 4] for number in range(8)}

    def change(table: pl.DataFrame) -> pl.DataFrame:
        split = pl.col("family_id").replace_strict(where)
        return table.with_columns(split=split, split_official=split)

    hashes = [int(one) for one in _hashes(6)]

    def make(row: dict[str, Any]) -> Outcome:
        made = planted.outcome(row, Faults())
        if row["video_id"] not in ("folder-real_0", "folder-real_3"):
            return made
        return _with_frames(made, hashes)

    synthetic.build(out, videos, "split.protocol=family", make=make, change=change)
    described = json.loads((out / "dataset.json").read_text()) | {"split": protocol}
    (out / "dataset.json").write_text(json.dumps(described))
    judged = audit([str(out)])
    assert judged.near is not None
    (found,) = (one for one in judged.findings if one.law == "copies" and one.level != "note")
    assert (found.level, len(found.ids)) == (level, 1)
    assert set(found.ids[0].split("+")) == {"folder-real_0", "folder-real_3"}
    assert "1 pair from one recording by hash alone in more than one of train, val and test" in found.what


def _hashes(count: int) -> Iterator[int]:
    """Hashes of which half of the bits are set, far from each other."""
    chance = random.Random(1)
    for _ in range(count):
        yield sum(1 << place for place in chance.sample(range(64), 32))


def _with_frames(made: Outcome, hashes: list[int]) -> Outcome:
    """The same faces, six of them, of frames with these hashes."""
    sample = made.samples[0] if made.samples else None
    assert sample is not None, "choose a family whose real is kept"
    rows = [
        dict(sample.row)
        | {
            "frame_index": 10 * place,
            "sample_id": f"{sample.row['video_id']}-{10 * place:06d}-00",
            "frame_phash": value,
            "phash": value ^ 0xFF,
        }
        for place, value in enumerate(hashes)
    ]
    kept = tuple(type(sample)(row=row, picture=sample.picture) for row in rows)
    video = dict(made.video) | {"faces_seen": len(rows), "crops_kept": len(rows), "crops_rejected": 0}
    return Outcome(video=video, samples=kept)


def test_videos_without_a_kept_crop_are_searched(tmp_path: Path) -> None:
    """Their rejected faces have hashes; those without any face are counted."""
    out = tmp_path / "out"
    planted.build(out, 8, Faults(failed=frozenset({"folder-fake_5_1"})))
    plan = pl.read_parquet(out / "plan.parquet").filter(pl.col("label") == 0)
    train, test = (plan.filter(pl.col("split") == split)["video_id"][0] for split in ("train", "test"))
    moved = _moved_to_rejects(out, {train: 6, test: 6})
    assert moved == 12
    judged = audit([str(out)])
    assert judged.near is not None
    assert judged.near.rejected >= 2
    assert judged.near.bare == 1
    (said,) = (one for one in judged.findings if "not searched for copies" in one.what)
    assert (
        said.what == "22 of 24 videos were not searched for copies (91.7%: no hashed face 1, too few hashed frames 21)"
    )
    assert {*said.ids} == {*pl.read_parquet(out / "plan.parquet")["video_id"]} - {train, test}, (
        "planted have four frames"
    )
    first, second = _shown(judged)[:2]
    assert second == "not searched for copies: 22 of 24 videos (91.7%)"
    assert first.endswith("; not promised: people and recordings")
    (found,) = (one for one in judged.findings if one.law == "copies" and "no stored crop" in one.what)
    assert found.level == "note"  # nothing of them is used
    assert found.ids in ((f"{train}+{test}",), (f"{test}+{train}",))


def _moved_to_rejects(out: Path, frames: dict[str, int]) -> int:
    """Give videos so many rejected faces, of frames with the same hashes in each, and no kept one."""
    _rewritten(out, "samples", lambda rows: rows.filter(~pl.col("video_id").is_in(list(frames))))
    hashes = list(_hashes(max(frames.values())))
    moved = 0
    for part in (out / "manifests/rejects").glob("*.parquet"):
        rows = pl.read_parquet(part)
        shard = pl.read_parquet(out / "manifests/videos" / part.name)
        new = [
            {name: row[name] for name in rows.columns if name in shard.columns}
            | {"frame_index": place, "track": 0, "unit": "face", "stage": "gate", "reason": "blur"}
            | {"phash": hashes[place] ^ 0xFF, "frame_phash": hashes[place], "shard": None}
            for row in shard.filter(pl.col("video_id").is_in(list(frames))).iter_rows(named=True)
            for place in range(frames[row["video_id"]])
        ]
        moved += len(new)
        kept = rows.filter(~pl.col("video_id").is_in(list(frames)))
        more = pl.DataFrame(new, schema=rows.schema) if new else rows.head(0)
        pl.concat([kept, more]).write_parquet(part)
    _rewritten(
        out,
        "videos",
        lambda rows: rows.with_columns(
            crops_kept=pl.when(pl.col("video_id").is_in(list(frames))).then(0).otherwise("crops_kept")
        ),
    )
    return moved
