"""The shortcut audit: what it may see, what it finds, and that it says nothing where there is nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from semblance import manifests
from semblance.manifests import schema
from semblance.manifests.errors import SemblanceError
from semblance.quality.checks import matching, separability, shortcuts
from tests.conftest import Run
from tests.quality import planted
from tests.quality.planted import Faults


def table(families: int, seed: int, *, shift: float = 0.0, fakes: int = 2) -> pl.DataFrame:
    """A ``video_table`` whose reals and fakes have the family's acquisition, with noise, and fakes ``shift`` more."""
    chance = np.random.default_rng(seed)
    rows = []
    for family in range(families):
        size, rate, length = chance.choice([360, 720, 1080]), chance.choice([25.0, 30.0]), chance.uniform(5, 20)
        for number in range(1 + fakes):
            rows.append(
                {
                    "video_id": f"v{family}_{number}",
                    "dataset": "folder",
                    "label": int(number > 0),
                    "family_id": f"f{family}",
                    "method": f"method {number}" if number else "pristine",
                    "compression": None,
                    "width": int(size * 16 / 9),
                    "height": int(size),
                    "fps": float(rate),
                    "duration_s": length,
                    "bit_rate": float(size * 1000 * chance.lognormal(shift * (number > 0), 0.3)),
                    "codec": str(chance.choice(["h264", "vp9"])),
                    "box_x": chance.uniform(0.3, 0.7),
                    "box_side": chance.uniform(80, 300),
                    **{name: chance.uniform(0, 1) for name in shortcuts.FACE},
                }
            )
    frame = pl.DataFrame(rows)
    absent = [name for name in shortcuts.ACQUISITION if name not in frame.columns]
    return frame.with_columns(pl.lit(None, pl.Float64).alias(name) for name in absent)


def test_no_column_that_exists_because_of_the_label_is_seen() -> None:
    seen = {*shortcuts.ACQUISITION, *shortcuts.FACE}
    assert not seen & set(shortcuts.BARRED)
    ids = {name for name in schema.SAMPLES.names + schema.VIDEOS.names if name.endswith("_id") or "split" in name}
    assert not seen & (ids | {"label", "change", "change_peak", "guide", "method", "verdict", "shard", "status"})


def test_what_lies_away_from_the_face_can_give_the_label_away() -> None:
    """Fakes whose frames are smoother all over are told by their acquisition, and by that column."""
    chance = np.random.default_rng(5)
    frame = table(40, 1)
    sharp = 100 - 40 * frame["label"].to_numpy() + chance.normal(0, 15, frame.height)
    found = shortcuts.compare(frame.with_columns(blur_outside=sharp))[0]
    assert found.acquisition.verdict == "shortcut"
    assert found.acquisition.found.giveaways[0].column == "blur_outside"


def test_sound_and_resampling_can_give_the_label_away(tmp_path: Path) -> None:
    """A silent file has a known rate of 0, one that does not state its rate an unknown one."""
    out = tmp_path / "out"
    planted.build(out, 24)
    frame = shortcuts.table_of(str(out))
    assert frame["resampling"].to_list() == pytest.approx([160 / 224] * frame.height)
    fake = pl.col("label") == 1
    videos = manifests.scan(str(out), "videos").with_columns(
        has_audio=pl.when(pl.col("video_id") == frame["video_id"][0]).then(None).otherwise(~fake),
        audio_rate=pl.when(~fake).then(44100).cast(pl.Int32),
        audio_bit_rate=pl.lit(None, pl.Int64),
    )
    samples = manifests.scan(str(out), flags=False).with_columns(crop_side=pl.when(fake).then(300).otherwise(150))
    heard = shortcuts.video_table(samples, videos, 224).filter(pl.col("video_id") != frame["video_id"][0])
    assert heard.filter(fake)["audio_rate"].unique().to_list() == [0]
    assert heard.filter(fake)["audio_bit_rate"].unique().to_list() == [0]
    assert heard.filter(~fake)["audio_rate"].unique().to_list() == [44100]
    assert heard.filter(~fake)["audio_bit_rate"].null_count() == heard.filter(~fake).height
    found = shortcuts.compare(heard)[0].acquisition
    assert found.verdict == "shortcut"
    told = {one.column for one in found.found.giveaways if one.auc > 0.99}
    assert {"audio_rate", "has_audio", "resampling"} <= told
    assert "audio_bit_rate" in found.found.unused


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_a_null_pattern_tells_nothing(share: float) -> None:
    """Reals and fakes alike in all but what is missing: values that are equal within a family give ties, 0.5."""
    frame = table(40, 1, fakes=1)
    values = [name for name in (*shortcuts.ACQUISITION, *shortcuts.FACE) if frame[name].null_count() == 0]
    frame = frame.with_columns(pl.col(name).first().over("family_id") for name in values)
    chance = np.random.default_rng(2)
    holes = pl.Series(chance.random(frame.height) < share) & (frame["label"] == 1)
    punched = frame.with_columns(pl.when(~holes).then(pl.col(name)).alias(name) for name in ("fps", "bit_rate", "blur"))
    for columns in (shortcuts.ACQUISITION, shortcuts.FACE):
        found = separability.measure(punched, list(columns))
        assert found.auc is not None
        if share > 1 - separability.KNOWN:
            assert {"fps", "bit_rate", "blur"} & set(found.unused)
            assert found.auc == 0.5
        else:
            assert found.low is not None
            assert found.low <= 0.5  # videos are left out, so not every pair ties any more
            assert abs(found.auc - 0.5) < 0.1
    one = shortcuts.compare(punched)[0]
    assert one.acquisition.verdict == "even"


def test_the_same_table_in_any_order_gives_the_same_figure() -> None:
    frame = table(30, 3, shift=0.3)
    first = separability.measure(frame, list(shortcuts.ACQUISITION))
    second = separability.measure(frame.sample(fraction=1.0, shuffle=True, seed=5), list(shortcuts.ACQUISITION))
    assert (first.auc, first.low, first.giveaways) == (second.auc, second.low, second.giveaways)


def test_few_families_are_too_few_and_no_family_stands_on_both_sides_of_a_fold() -> None:
    alike = table(19, 4)
    known = alike.with_columns(codec=pl.when(pl.col("label") == 0).then(pl.lit("h264")).otherwise(pl.lit("vp9")))
    assert "codec, real h264, fake vp9" in shortcuts.compare(known)[0].acquisition.found.constant
    assert shortcuts.compare(alike)[0].acquisition.found.constant == ()
    few = shortcuts.compare(table(19, 4, shift=9))
    assert {one.acquisition.verdict for one in few} == {"too few to tell"}
    assert shortcuts.warnings(few) == []
    enough = shortcuts.compare(table(20, 4, shift=9))
    assert enough[0].acquisition.verdict == "shortcut"
    names = [f"f{number % 23}" for number in range(200)]
    folds = separability.folds_of(names, 0)
    assert all(len({int(fold) for name, fold in zip(names, folds, strict=True) if name == one}) == 1 for one in names)


def test_face_statistics_are_never_an_alarm() -> None:
    frame = table(30, 6).with_columns(blur=pl.col("label").cast(pl.Float64))
    found = shortcuts.compare(frame)
    assert found[0].face.verdict == "baseline"
    assert found[0].face.found.auc == 1.0
    assert found[0].acquisition.verdict == "even"
    assert shortcuts.warnings(found) == []


def test_matching_takes_the_shortcut_away() -> None:
    frame = table(150, 7, shift=0.35, fakes=1)
    matched = matching.match_table(frame, "here")
    assert matched.before.low is not None
    assert matched.before.low > shortcuts.ALARM
    assert matched.after.low is not None
    assert matched.after.low <= shortcuts.ALARM
    assert set(matched.kept["video_id"]) < set(frame["video_id"])
    assert matched.kept.height > 60
    with pytest.raises(SemblanceError, match="hardly overlap in bit_rate"):
        matching.match_table(table(40, 8, shift=30), "here")
    with pytest.raises(SemblanceError, match="too few to match"):
        matching.match_table(table(10, 8), "here")


def test_reals_c40_and_fakes_c23_from_command_to_repacking(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planted.build(out, 30, Faults(shortcut=True))
    file = tmp_path / "shortcuts.json"
    assert "quality match" in run("quality", "shortcuts", out, "--json", file).stdout
    said = json.loads(file.read_text())
    assert said[0]["acquisition"]["auc"] > 0.95
    assert said[0]["acquisition"]["verdict"] == "shortcut"
    top = {way["column"] for way in said[0]["acquisition"]["giveaways"] if way["auc"] > 0.95}
    assert {"compression", "bit_rate"} <= top
    keep = tmp_path / "keep.parquet"
    with pytest.raises(SemblanceError, match="hardly overlap in bit_rate"):
        matching.match(str(out))
    clean = tmp_path / "clean"
    planted.build(clean, 30)
    run("quality", "match", clean, "--to", keep)
    to = tmp_path / "repacked"
    run("shards", "repack", clean, "--split", "family", "--keep", keep, "--to", to)
    ids = set(manifests.scan(str(to)).collect()["video_id"])
    assert ids == set(pl.read_parquet(keep)["video_id"]) & set(manifests.scan(str(clean)).collect()["video_id"])


def test_few_clean_tables_raise_an_alarm() -> None:
    alarms = sum(bool(shortcuts.warnings(shortcuts.compare(table(30, seed)))) for seed in range(100, 103))
    assert alarms == 0


@pytest.mark.slow
def test_false_alarms_over_200_clean_splits() -> None:
    """200 tables resampled by families; every comparison of every one may alarm."""
    nothing = [pl.lit(None, pl.Float64).alias(name) for name in shortcuts.FACE]  # never an alarm
    whole, alarms = table(300, 9).with_columns(nothing), 0
    for seed in range(200):
        chance = np.random.default_rng(seed)
        drawn = chance.choice(300, 60, replace=False)
        part = whole.filter(pl.col("family_id").is_in([f"f{number}" for number in drawn]))
        alarms += bool(shortcuts.warnings(shortcuts.compare(part, seed)))
    print(f"{alarms} of 200 clean splits raised an alarm")
    assert alarms <= 2
