"""Plans of the full datasets from their real lists: time, memory, and an independent check of every protocol."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from semblance.manifests.records import TRAIN_VAL_TEST
from tests.conftest import BIN, measured
from tests.ingest import full_sets

pytestmark = pytest.mark.shared

SECONDS, MEMORY = 60, 1_536 * 2**20


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Output and table of ``ingest plan``, its CPU time in seconds and its peak memory in bytes."""

    output: str
    table: pl.DataFrame
    seconds: float
    memory: int

    def __post_init__(self) -> None:
        assert self.seconds < SECONDS  # of the processor: another program's load does not count
        assert self.memory < MEMORY


def plan(dataset: str, shared: Path, *options: str) -> Planned:
    """The plan of the full set, whose tree is gone afterwards: it has up to 119,196 files."""
    with tempfile.TemporaryDirectory() as folder:
        root, to, output = (Path(folder) / name for name in ("set", "plan.parquet", "output.txt"))
        {"celebdf": full_sets.celebdf, "ffpp": full_sets.ffpp, "dfdc": full_sets.dfdc}[dataset](
            root, shared / "realmeta"
        )
        command = [BIN / "ingest", "plan", "--dataset", dataset, "--root", root, "--to", to, *options]
        code, seconds, memory = measured(command, output)
        assert code == 0, output.read_text()
        return Planned(
            output=output.read_text(),
            table=pl.read_parquet(to),
            seconds=seconds,
            memory=memory,
        )


def straddling(rows: Iterable[dict[str, Any]], column: str, *ids: str) -> list[str]:
    """Ids that appear in two of train, val and test."""
    splits_by_id: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        for name in ids:
            if row[name] is not None and row[column] is not None:
                splits_by_id[row[name]].add(row[column])
    return sorted(one for one, assigned in splits_by_id.items() if len(assigned) > 1)


def check_isolation(table: pl.DataFrame) -> None:
    """No family in two splits under a protocol that promises it, no person under identity; all others have a reason."""
    rows = table.to_dicts()
    for column in ("split_family", "split_identity", "split_method", "split_temporal"):
        assert straddling(rows, column, "family_id") == [], column
    assert straddling(rows, "split_identity", "target_id", "donor_id") == []
    for row in rows:
        assert row["split"] in (*TRAIN_VAL_TEST, "unassigned")
        assert (row["split"] == "unassigned") == (row["split_note"] is not None)


# Celeb-DF-v2 --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def celebdf(shared: Path) -> Planned:
    return plan("celebdf", shared)


def test_celebdf_is_whole_and_isolated(shared: Path, celebdf: Planned) -> None:
    assert sorted(celebdf.table["path"]) == full_sets.celebdf_names(shared / "realmeta")
    for what, count in (("Celeb-real", 590), ("YouTube-real", 300), ("Celeb-synthesis", 5639), ("people", 59)):
        assert re.search(rf"│ {what} +│ +{count} │ +{count} │", celebdf.output)
    check_isolation(celebdf.table)


def test_celebdf_loses_no_fake_to_identity(celebdf: Planned) -> None:
    """Counted from the names alone."""
    split_of = dict(celebdf.table.select("path", "split_identity").iter_rows())
    people: defaultdict[str, set[str | None]] = defaultdict(set)
    lost = 0
    for path, split in split_of.items():
        for person in re.findall(r"id\d+", path):
            people[person] |= {split} - {None}
        lost += split is None
    assert len(people) == 59
    assert all(len(assigned) == 1 for assigned in people.values())
    assert lost == 0
    assert "59 known people; 0 of 5639 fakes join two splits" in celebdf.output
    sizes = Counter(split_of.values())
    assert all(6529 / 20 <= sizes[split] <= 6529 / 5 for split in ("val", "test"))
    fakes = Counter(split for path, split in split_of.items() if path.startswith("Celeb-synthesis"))
    assert all(fakes[split] > 100 for split in TRAIN_VAL_TEST)


def test_people_from_youtube_are_unknown(celebdf: Planned) -> None:
    tubes = celebdf.table.filter(pl.col("part") == "YouTube-real")
    assert tubes["target_id"].null_count() == tubes.height == 300
    assert "real videos of unknown people (their isolation cannot be proven): 300" in celebdf.output


def test_celebdf_official_is_the_list_and_the_rest_is_for_training(shared: Path, celebdf: Planned) -> None:
    lines = (shared / "realmeta/celebdf_v2/List_of_testing_videos.txt").read_text().split("\n")
    listed = {line[2:] for line in lines if line}
    assert len(listed) == 518
    official = celebdf.table.select("path", "family_id", "split_official")
    assert set(official.filter(pl.col("split_official") == "test")["path"]) == listed
    rest = official.filter(pl.col("split_official") != "test")
    assert rest.height == 6529 - 518
    sizes = Counter(rest["split_official"])
    assert abs(sizes["val"] - rest.height / 9) < 1  # 10 of 80 + 10
    assert straddling(rest.to_dicts(), "split_official", "family_id") == []


def test_celebdf_cleaned_by_person_leaves_little_and_reports_it(shared: Path) -> None:
    options = ["--set", "split.protocol=official_clean", "--set", "split.against=person"]
    done = plan("celebdf", shared, *options)
    left = re.search(r"leaves little of the published train: (\d+) reals and (\d+) fakes of", done.output)
    test = {row["path"] for row in done.table.to_dicts() if row["split"] == "test"}
    assert len(test) == 518
    tested = {person for path in test for person in re.findall(r"id\d+", path)}
    kept = done.table.filter(pl.col("split").is_in(["train", "val"]))["path"]
    assert not any(set(re.findall(r"id\d+", path)) & tested for path in kept)
    train = Counter(done.table.filter(pl.col("split") == "train")["label"])
    assert left is not None
    assert (train[0], train[1]) == (int(left[1]), int(left[2]))
    assert len(tested) == 56  # of 59 people


# FaceForensics++ ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ffpp(shared: Path) -> Planned:
    return plan("ffpp", shared)


def test_ffpp_is_whole_and_isolated(ffpp: Planned) -> None:
    assert ffpp.table.height == 3 * (1_000 + 5 * 1_000 + 363 + 3_068)
    assert ffpp.table["video_id"].n_unique() == ffpp.table.height
    assert "│ c40: FaceShifter                     │  1000 │ 1000 │" in ffpp.output
    assert "│ sequences with a known YouTube video │  1000 │ 1000 │" in ffpp.output
    check_isolation(ffpp.table)


def test_ffpp_loses_no_fake_to_identity(shared: Path, ffpp: Planned) -> None:
    """From the names and the dictionary: every recording and every actor is in one split, no fake is unassigned."""
    youtube = json.loads((shared / "realmeta/ffpp/conversion_dict.json").read_text())
    splits_by_id: defaultdict[str, set[str]] = defaultdict(set)
    for path, split in ffpp.table.select("path", "split_identity").iter_rows():
        name = path.rsplit("/", 1)[1].removesuffix(".mp4")
        acted = re.match(r"(\d\d)(?:_(\d\d))?__", name)
        shown = (
            [one for one in acted.groups() if one]
            if acted
            else [youtube[one].rsplit(" ", 1)[0] for one in name.split("_")]
        )
        assert split in TRAIN_VAL_TEST
        for one in shown:
            splits_by_id[one].add(split)
    assert len(splits_by_id) == 977 + 28
    assert all(len(assigned) == 1 for assigned in splits_by_id.values())
    assert "0 of 24204 fakes join two splits" in ffpp.output
    sizes = Counter(ffpp.table["split_identity"])
    assert abs(sizes["val"] / ffpp.table.height - 0.15) < 0.01
    assert abs(sizes["test"] / ffpp.table.height - 0.15) < 0.01


def test_ffpp_official_is_by_pairs(shared: Path, ffpp: Planned) -> None:
    split_of: dict[str, str] = {}
    for split, pairs in full_sets.ffpp_pairs(shared / "realmeta").items():
        for a, b in pairs:
            split_of |= {a: split, b: split, f"{a}_{b}": split, f"{b}_{a}": split}
    for path, split in ffpp.table.select("path", "split_official").iter_rows():
        assert split == split_of.get(path.rsplit("/", 1)[1].removesuffix(".mp4"))
    counted = ffpp.table.filter(pl.col("label") == 0).group_by("split_official").len()
    assert dict(counted.iter_rows()) == {"train": 3 * 720, "val": 3 * 140, "test": 3 * 140, None: 3 * 363}


# DFDC ---------------------------------------------------------------------------------------------------------


def test_dfdc_full_plan(shared: Path) -> None:
    done = plan("dfdc", shared)
    assert done.table.height == 119_146
    assert "│ train parts       │     50 │     50 │" in done.output
    assert "split_identity is null: no names of people or recordings" in done.output
    families = done.table.group_by("family_id").agg(pl.col("split").n_unique())
    assert families["split"].max() == 1
    sizes = Counter(done.table["split"])
    assert all(abs(sizes[split] - 11_914.6) < 1 for split in ("val", "test"))
