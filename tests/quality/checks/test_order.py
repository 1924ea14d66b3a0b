"""The order of pictures in tars, which the seed mixes, and of file names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from semblance import manifests
from semblance.quality.audit import checks
from semblance.quality.checks import order, separability
from tests.quality import planted


def places(labels: list[int], places_: list[float]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "video_id": [f"v{number}" for number in range(len(labels))],
            "label": labels,
            "family_id": [f"f{number // 2}" for number in range(len(labels))],
            order.TAR: places_,
        }
    )


def test_the_seed_mixes_the_shards(tmp_path: Path) -> None:
    """The law: where a video's pictures lie in their tar says nothing of its label, and neighbours are of any video."""
    out = tmp_path / "out"
    planted.build(out, 40)
    found = order.measure(str(out))
    assert found.tar.auc is not None
    assert found.tar.low is not None
    assert found.tar.low <= 0.5
    rows = manifests.scan(str(out)).sort("shard", "tar_offset").collect()
    runs = rows.with_columns(new=pl.col("video_id").rle_id().over("shard")).select("shard", "new").unique().height
    assert runs > 0.8 * rows.height
    assert not [one for one in found.findings() if "tars" in one.what]


def test_a_tar_that_is_sorted_by_label_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    planted.build(out, 24)
    for part in sorted((out / "manifests/samples").glob("*.parquet")):  # the rows say so: the tars stay as they are
        rows = pl.read_parquet(part)
        by_label = rows.sort("label", "video_id")["sample_id"].to_list()
        offsets = dict(zip(by_label, sorted(rows["tar_offset"]), strict=True))
        rows.with_columns(pl.col("sample_id").replace_strict(offsets).alias("tar_offset")).write_parquet(part)
    found = order.measure(str(out))
    (named,) = [one for one in found.findings() if one.level == "warning"]
    assert named.law == "shortcuts"
    assert named.what.startswith("the order of pictures in the tars tells fakes from reals (AUC 1.00")
    assert any(one.what == named.what for one in checks.measure(str(out)).findings())


def test_names_are_judged_without_their_folders() -> None:
    """Folders name the label in most collections; names that mix both tell nothing, names that part them are a note."""
    videos = places([0, 1] * 30, [0.5] * 60).drop(order.TAR)
    chance = np.random.default_rng(0).permutation(60)
    mixed = [f"{'fake' if number % 2 else 'real'}/{chance[number]:03}.mp4" for number in range(60)]
    ranked = order.name_order(videos.with_columns(path=pl.Series(mixed)))
    assert [round(place * 60 - 0.5) for place in ranked[order.NAME]] == chance.tolist()
    even = separability.measure(ranked, [order.NAME])
    assert even.low is not None
    assert even.low <= 0.5
    apart = [f"videos/{'id' if number % 2 else '0'}{number:03}.mp4" for number in range(60)]
    told = separability.measure(order.name_order(videos.with_columns(path=pl.Series(apart))), [order.NAME])
    assert told.auc == 1
    notes = list(order.Order(tar=even, name=told).findings())
    assert [one.level for one in notes] == ["note"]


def test_few_families_are_too_few() -> None:
    few = separability.measure(places([0, 1] * 19, [0.1, 0.9] * 19), [order.TAR])
    assert few.auc is None
    assert not list(order.Order(tar=few, name=few).findings())
    enough = separability.measure(places([0, 1] * 20, [0.1, 0.9] * 20), [order.TAR])
    assert [one.level for one in order.Order(tar=enough, name=few).findings()] == ["warning"]


def test_equal_names_and_shards_of_one_picture_have_a_place() -> None:
    stored = pl.DataFrame({"video_id": ["a", "b", "b"], "shard": ["x", "y", "y"], "tar_offset": [512, 512, 9000]})
    assert dict(order.tar_order(stored).iter_rows()) == {"a": 0.5, "b": 0.5}
    videos = pl.DataFrame({"path": ["c23/000.mp4", "c40/000.mp4"]})
    assert order.name_order(videos)[order.NAME].to_list() == [0.5, 0.5]
