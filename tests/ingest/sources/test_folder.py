"""A user's own videos: by folders or by table, every file has one place, whatever its name."""

from __future__ import annotations

import csv
import io
import json
import random
import shutil
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance import manifests
from semblance.ingest.sources.base import VIDEO_SUFFIXES, Discovery, SourceConfig
from semblance.ingest.sources.folder import place_of
from semblance.ingest.sources.folder_paths import relative
from semblance.ingest.sources.folder_table import COLUMNS
from semblance.ingest.sources.folder_videos import video_id
from semblance.manifests.errors import SemblanceError
from semblance.manifests.ids import MAX_ID
from semblance.manifests.splits import DatasetTraits, SplitConfig, assign, plan_frame
from tests.conftest import Run
from tests.ingest.trees import by_path, discover, escaped, kinds, places

Cells = Sequence[Mapping[str, object]]


def table(rows: Cells, columns: Sequence[str] | None = None) -> str:
    """The rows as CSV."""
    names = columns or list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def by_table(rows: Cells | str | bytes, files: Sequence[str], name: str = "videos.csv") -> Discovery:
    """Discovery of ``files`` with a table below the root."""
    content = rows if isinstance(rows, str | bytes) else table(rows)
    return discover("folder", {name: content, **dict.fromkeys(files, b"")}, SourceConfig(table=name))


def notes(found: Discovery) -> list[str]:
    return [finding.reason for finding in found.findings if finding.kind not in ("metadata", "other")]


# folders ------------------------------------------------------------------------------------------------------


def test_folders_say_label_method_and_pair() -> None:
    found = discover(
        "folder",
        {
            "real/a.mp4": b"1",
            "real/deep/b.MOV": b"22",
            "fake/swap/a.avi": b"",
            "fake/swap/x/b.mkv": b"",  # another folder than its real's: the name pairs them
            "fake/mask/deep/b.webm": b"",
            "fake/a.mp4": b"",
            "FAKE/swap/alone.m4v": b"",
            "fake/other/alone.MPG": b"",
            "elsewhere/c.mp4": b"",
            "real/notes.txt": b"",
        },
    )
    videos = by_path(found)
    assert {path: (video.label, video.method, video.part) for path, video in videos.items()} == {
        "real/a.mp4": (0, "pristine", "real"),
        "real/deep/b.MOV": (0, "pristine", "real"),
        "fake/swap/a.avi": (1, "swap", "fake/swap"),
        "fake/swap/x/b.mkv": (1, "swap", "fake/swap"),
        "fake/mask/deep/b.webm": (1, "mask", "fake/mask"),
        "fake/a.mp4": (1, None, "fake"),
        "FAKE/swap/alone.m4v": (1, "swap", "fake/swap"),
        "fake/other/alone.MPG": (1, "other", "fake/other"),
        "elsewhere/c.mp4": (None, None, None),
    }
    families: dict[str, set[str]] = {}
    for path, video in videos.items():
        families.setdefault(video.family_id, set()).add(path)
    assert sorted(map(sorted, families.values())) == [
        ["FAKE/swap/alone.m4v", "fake/other/alone.MPG"],
        ["elsewhere/c.mp4"],
        ["fake/a.mp4", "fake/swap/a.avi", "real/a.mp4"],
        ["fake/mask/deep/b.webm", "fake/swap/x/b.mkv", "real/deep/b.MOV"],
    ]
    assert videos["real/a.mp4"].video_id == videos["real/a.mp4"].family_id == "folder-real-a"
    assert videos["elsewhere/c.mp4"].fault == "unlabelled"
    assert videos["real/deep/b.MOV"].bytes == 2
    assert kinds(found) == [("real/notes.txt", "other")]
    assert [(fact.startswith("fakes without an original (give"), count) for fact, count in found.facts] == [(True, 2)]
    assert found.identity_basis is None
    assert found.coverage == ()


def test_a_name_that_several_reals_have_pairs_by_folder_alone() -> None:
    files = ["real/p1/clip.mp4", "real/p2/clip.mp4", "fake/m/p1/clip.mp4", "fake/m/p2/clip.mp4", "fake/m/clip.mp4"]
    found = discover("folder", dict.fromkeys(files, b""))
    videos = by_path(found)
    assert videos["fake/m/p1/clip.mp4"].family_id == videos["real/p1/clip.mp4"].family_id
    assert videos["fake/m/p2/clip.mp4"].family_id == videos["real/p2/clip.mp4"].family_id
    assert len({video.family_id for video in videos.values()}) == 3
    assert found.facts == (("fakes whose name several reals have (none is used; detected without a guide)", 1),)


def test_folders_of_splits_are_kept_as_the_published_split() -> None:
    """As Kaggle's collections have them; a pair stays a pair, also across splits if only one real has the name."""
    files = {
        "train/real/a.mp4": ("train", 0, "pristine", "train/real"),
        "Train/Fake/swap/a.mp4": ("train", 1, "swap", "train/fake/swap"),
        "train/fake/b.mp4": ("train", 1, None, "train/fake"),
        "valid/real/a.mp4": ("val", 0, "pristine", "val/real"),
        "validation/fake/x/c.mp4": ("val", 1, "x", "val/fake/x"),
        "TEST/real/b.mp4": ("test", 0, "pristine", "test/real"),
        "test/fake/swap/a.mp4": ("test", 1, "swap", "test/fake/swap"),
        "real/d.mp4": (None, 0, "pristine", "real"),
        "train/e.mp4": (None, None, None, None),
    }
    found = discover("folder", dict.fromkeys(files, b""))
    videos = by_path(found)
    assert {
        path: (video.split_official, video.label, video.method, video.part) for path, video in videos.items()
    } == files
    assert videos["train/real/a.mp4"].family_id == videos["train/real/a.mp4"].video_id == "folder-train-real-a"
    assert videos["Train/Fake/swap/a.mp4"].family_id == "folder-train-real-a"
    assert videos["train/fake/b.mp4"].family_id == "folder-test-real-b"
    assert videos["valid/real/a.mp4"].family_id == "folder-val-real-a"
    assert videos["test/fake/swap/a.mp4"].family_id == "folder-test-real-a"  # two reals have its name
    assert dict(found.facts)["fakes whose name several reals have (none is used; detected without a guide)"] == 1


@pytest.mark.parametrize("nested", [True, False])
def test_splits_below_real_and_fake_are_splits_if_all_is_in_them(nested: bool) -> None:
    files = ["real/train/a.mp4", "real/test/b.mp4", "fake/train/swap/a.mp4", "fake/test/swap/b.mp4"]
    files += [] if nested else ["fake/other/a.mp4"]
    videos = by_path(discover("folder", dict.fromkeys(files, b"")))
    fake = videos["fake/train/swap/a.mp4"]
    assert (fake.split_official, fake.method) == (("train", "swap") if nested else (None, "train"))
    assert videos["real/test/b.mp4"].split_official == ("test" if nested else None)
    assert fake.family_id == videos["real/train/a.mp4"].family_id
    assert videos["fake/test/swap/b.mp4"].family_id == videos["real/test/b.mp4"].family_id


def test_a_root_above_the_folders_is_named() -> None:
    for path in ("data/set/real/a.mp4", "data/set/train/fake/a.mp4"):
        with pytest.raises(SemblanceError, match="or pass --root memory://tree/data/set"):
            discover("folder", {path: b""})


def test_fakes_called_pristine_have_no_method() -> None:
    found = discover("folder", {"real/a.mp4": b"", "fake/pristine/a.mp4": b""})
    assert by_path(found)["fake/pristine/a.mp4"].method is None
    assert ("fake/pristine/", "bad_method") in kinds(found)


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_suffixes_in_any_case(suffix: str) -> None:
    files = [f"real/a{suffix}", f"real/b{suffix.upper()}"]
    assert set(by_path(discover("folder", dict.fromkeys(files, b"")))) == set(files)


ODD = [
    "x" * 10_000,
    "new\nline",
    "\x1b[31mred\x07",
    "[bold]markup[/bold]",
    "[/nothing]",
    "'; DROP TABLE samples; --",
    "<script>alert(1)</script>",
    "tab\there",
    "\u202egnp.exe",
    "人の顔",
    "two  spaces",
    "dots.in.name",
    "hy-phen",
    "nul\x00",
]


@pytest.mark.parametrize("name", ODD)
def test_any_name_is_a_video_with_a_plain_id(name: str) -> None:
    files = [f"real/{name}.mp4", f"fake/{name}/{name}.mp4", "real/other.mp4"]
    found = discover("folder", dict.fromkeys(files, b""))
    videos = by_path(found)
    assert set(videos) == set(files)
    assert videos[files[0]].family_id == videos[files[1]].family_id != videos[files[2]].family_id
    for video in videos.values():
        assert len(video.video_id) <= MAX_ID
        assert set(video.video_id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def test_paths_that_look_alike_have_ids_of_their_own() -> None:
    paths = ["real/a-b.mp4", "real/a/b.mp4", "real/a_b.mp4", "real-a-b.mp4", "real/a.b.mp4", "real/a.mp4", "real/a.avi"]
    paths += ["real/A.mp4", "real/a.MP4", "Real/a.mp4"]
    assert len({video_id(path) for path in paths}) == len(paths)


def test_nothing_labelled_is_refused() -> None:
    for tree in ({"a.mp4": b""}, {"real/a.txt": b""}, {"real/.hidden.mp4": b""}, {"videos/real/a.mp4": b""}):
        with pytest.raises(SemblanceError, match="has a label; put videos into real/"):
            discover("folder", tree)


PARTS = st.sampled_from(
    ["train", "TEST", "real", "fake", "REAL", "a", "b", "m-1", "pristine", ".hid", "n\udcff", "[/x]", "é\n"]
)
NAMES = st.sampled_from(["a.mp4", "a.AVI", "b.mov", "a-b.mp4", "b.txt", "._a.mp4", "é\x1b.mkv", "n\udcff.mp4", "mp4"])
PATHS = st.tuples(st.lists(PARTS, max_size=3), NAMES).map(lambda parts: "/".join([*parts[0], parts[1]]))


@settings(deadline=None, max_examples=150)
@given(st.sets(PATHS), st.randoms(use_true_random=False))
def test_law_every_file_has_one_place(files: set[str], rng: random.Random) -> None:
    tree = dict.fromkeys(sorted({*files, "real/z.mp4"}), b"")
    found = discover("folder", tree)
    counts = places(found)
    assert {path: counts.pop(path) for path in map(escaped, tree)} == dict.fromkeys(map(escaped, tree), 1)
    assert all("/pristine/" in path for path in counts)  # findings about a folder
    assert len({video.video_id for video in found.videos}) == len(found.videos)
    shuffled = list(tree)
    rng.shuffle(shuffled)
    assert discover("folder", dict.fromkeys(shuffled, b"")) == found
    for video in found.videos:
        place = place_of(video.path, "real/train/" in video.path and video.split_official is not None)
        assert video.label == (None if place is None else int(place.fake))
        assert (video.label is None) == (video.fault == "unlabelled")
        assert (video.method == "pristine") == (video.label == 0)


# table --------------------------------------------------------------------------------------------------------

FULL: Cells = [
    {"path": "r1.mp4", "label": "real", "target": "Ann", "recording": "yt1", "split": "train", "date": "2021-05-06"},
    {
        "path": "r2.mp4",
        "label": "0",
        "target": "Bo",
        "recording": "yt2",
        "split": "TEST",
        "date": "2022-01-01T10:00:00",
    },
    {
        "path": "./x//f1.bin",
        "label": "1",
        "method": "swap",
        "compression": "c23",
        "original": "r1.mp4",
        "donor": "Bo",
        "donor_recording": "yt2",
        "split": "val",
        "date": "",
        "mask": "masks/f1.mp4",
    },
    {"path": "f2.mp4", "label": "Fake", "original": "gone.mp4", "target": "Cy Z."},
]
FILES = ["r1.mp4", "r2.mp4", "x/f1.bin", "masks/f1.mp4", "stray.mp4", "notes.txt"]


def as_parquet(rows: Cells) -> bytes:
    data = io.BytesIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    pl.DataFrame([{name: row.get(name) for name in names} for row in rows]).write_parquet(data)
    return data.getvalue()


def test_table_says_all() -> None:
    found = by_table(FULL, FILES)
    videos = by_path(found)
    fake = videos["x/f1.bin"]
    assert set(videos) == {"r1.mp4", "r2.mp4", "x/f1.bin", "f2.mp4", "stray.mp4"}
    assert (fake.label, fake.method, fake.compression, fake.mask) == (1, "swap", "c23", "masks/f1.mp4")
    assert (fake.split_official, fake.date) == ("val", None)
    assert fake.family_id == videos["r1.mp4"].video_id
    assert (fake.target_id, fake.donor_id) == ("folder-Ann", "folder-Bo")  # its target is its original's
    assert (fake.recording_id, fake.donor_recording_id) == ("folder-yt1", "folder-yt2")
    assert (videos["r2.mp4"].split_official, videos["r2.mp4"].date) == ("test", "2022-01-01T10:00:00")
    assert (videos["r1.mp4"].method, videos["r1.mp4"].label) == ("pristine", 0)
    assert (videos["f2.mp4"].fault, videos["f2.mp4"].family_id) == ("missing", "folder-gone")
    assert videos["f2.mp4"].target_id is not None
    assert videos["f2.mp4"].target_id.startswith("folder-Cy_Z_-")
    assert videos["stray.mp4"].fault == "unlabelled"
    assert found.identity_basis == "person"
    assert kinds(found) == [("notes.txt", "other"), ("videos.csv", "metadata")]
    assert [name for name, _ in found.tables] == ["videos.csv"]


def test_parquet_is_the_same_table() -> None:
    names = [name for name in COLUMNS if name != "date"]
    dates = [{"date": date(2021, 5, 6)}, {}, {}, {}]
    rows = [{name: row.get(name) for name in names} | more for row, more in zip(FULL, dates, strict=True)]
    plain = [row | {"date": None} | ({"date": "2021-05-06"} if place == 0 else {}) for place, row in enumerate(rows)]
    csv_found = by_table(plain, FILES)
    found = by_table(as_parquet(rows), FILES, "t.parquet")
    assert found.videos == csv_found.videos
    assert found.facts == csv_found.facts


def test_columns_with_gaps_spell_whole_numbers_alike() -> None:
    """A data frame turns ``7`` into ``7.0`` in a column that has gaps: the person stays one."""
    rows: Cells = [
        {"path": "a.mp4", "label": 0, "target": 7, "donor": None},
        {"path": "b.mp4", "label": 1, "target": 8, "donor": 7.0},
    ]
    frame = pl.DataFrame(rows, schema={"path": pl.String, "label": pl.Float64, "target": pl.Int64, "donor": pl.Float64})
    data = io.BytesIO()
    frame.write_parquet(data)
    for found in (by_table(data.getvalue(), ["a.mp4", "b.mp4"], "t.parquet"), by_table(rows, ["a.mp4", "b.mp4"])):
        a, b = found.videos
        assert (a.target_id, b.target_id, b.donor_id) == ("folder-7", "folder-8", "folder-7")


def test_basis_is_what_the_table_names() -> None:
    base = [{"path": "a.mp4", "label": 0}, {"path": "b.mp4", "label": 1, "original": "a.mp4"}]
    for more, basis, people in (
        ({}, None, (None, None)),
        ({"recording": "r", "donor_recording": "s"}, "recording", ("folder-r", "folder-s")),
        ({"donor": "p", "recording": "r"}, "person", (None, "folder-p")),
    ):
        found = by_table([base[0], base[1] | more], ["a.mp4", "b.mp4"])
        assert found.identity_basis == basis
        fake = by_path(found)["b.mp4"]
        assert (fake.target_id, fake.donor_id) == people


def test_identity_official_and_temporal_splits_come_from_the_table() -> None:
    """Forty people, a fake of each with the next one's face; splits and dates from the table."""
    rows = []
    for one in range(40):
        day = f"2024-01-{one % 28 + 1:02d}"
        split = ("train", "val", "test")[one % 3]
        rows.append({"path": f"r{one}.mp4", "label": 0, "target": one, "donor": None, "split": split, "date": day})
        fake = {"path": f"f{one}.mp4", "label": 1, "target": None, "donor": (one + 1) % 4 + one // 4 * 4}
        rows.append(fake | {"split": split, "date": day, "original": f"r{one}.mp4"})
    found = by_table(rows, [str(row["path"]) for row in rows])
    assert found.identity_basis == "person"
    table_ = assign(plan_frame(found.videos), SplitConfig(), 0, DatasetTraits(basis=found.identity_basis)).table
    given = {row["path"]: row["split"] for row in rows}
    assert all(given[path] == split for path, split in table_.select("path", "split_official").iter_rows())
    assigned: dict[str, set[str]] = {}
    for target, donor, split in table_.select("target_id", "donor_id", "split_identity").iter_rows():
        for person in filter(None, (target, donor)):
            assigned.setdefault(person, set()).add(split)
    assert len(assigned) == 40
    assert all(len(one) == 1 for one in assigned.values())
    ends = table_.group_by("split_temporal").agg(
        pl.col("date").min().alias("first"), pl.col("date").max().alias("last")
    )
    spans = {split: (first, last) for split, first, last in ends.iter_rows()}
    assert spans["train"][1] < spans["val"][0] <= spans["val"][1] < spans["test"][0]


@pytest.mark.parametrize(
    ("change", "words", "expected"),
    [
        ({"label": "2"}, "label '2' is not 0, 1, real or fake", {"label": None, "fault": "unlabelled"}),
        ({"label": ""}, "label '' is not 0, 1, real or fake", {"label": None, "fault": "unlabelled"}),
        ({"label": "nan"}, "label 'nan' is not 0, 1, real or fake", {"label": None, "fault": "unlabelled"}),
        ({"label": "0.97"}, "0.97' is not 0, 1, real or fake (a score is no label)", {"label": None}),
        ({"label": "1e-3"}, "(a score is no label)", {"label": None}),
        ({"split": "7"}, "split '7' is not train, val or test", {"label": 1, "split_official": None}),
        ({"date": "last year"}, "date 'last year' is not an ISO 8601", {"label": 1, "date": None}),
        ({"date": "2024-13-01"}, "is not an ISO 8601", {"label": 1, "date": None}),
        ({"method": "pristine"}, "its method is pristine", {"label": 1, "method": None}),
        ({"label": "real", "method": "swap"}, "is real, but has the method", {"label": 0, "method": "pristine"}),
        ({"label": "real", "donor": "p"}, "is real, but has a donor", {"label": 0, "donor_id": None}),
        ({"mask": "gone.mp4"}, "mask 'gone.mp4' is missing", {"mask": None}),
        ({"mask": "r.mp4"}, "or is a video itself", {"mask": None}),
        ({"mask": "../m.mp4"}, "mask '../m.mp4' is not a path below the root", {"mask": None}),
        ({"original": "v.mp4"}, "original 'v.mp4' is its own path", {"family_id": "folder-v"}),
        ({"original": "/r.mp4"}, "original '/r.mp4' is not a path below", {"family_id": "folder-v"}),
        ({"original": "f.mp4"}, "its original 'f.mp4' is also a fake", {"family_id": "folder-f"}),
        ({"original": "r.mp4", "target": "q"}, "has 'folder-q', its original has 'folder-p'", {"label": 1}),
        ({"colour": "red"}, "column 'colour' is not used", {"label": 1}),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, str], words: str, expected: dict[str, object]) -> None:
    rows = [{"path": "v.mp4", "label": "fake"} | change, {"path": "f.mp4", "label": "1"}]
    rows += [{"path": "r.mp4", "label": "0", "target": "p"}]
    found = by_table(rows, ["v.mp4", "r.mp4", "f.mp4"])
    video = by_path(found)["v.mp4"]
    assert {name: getattr(video, name) for name in expected} == expected
    assert [reason for reason in notes(found) if words in reason], notes(found)
    assert len(found.videos) == 3


@pytest.mark.parametrize("path", ["/etc/passwd", "../a.mp4", "a/../../b.mp4", "", ".", "s3://b/a.mp4", "C:\\a.mp4"])
def test_no_path_leads_out_of_the_root(path: str) -> None:
    found = by_table([{"path": path, "label": 1}, {"path": "a.mp4", "label": 0}], ["a.mp4"])
    assert [video.path for video in found.videos] == ["a.mp4"]
    assert any(
        reason.startswith("line 2: path ") and "is not a path below the root" in reason for reason in notes(found)
    )


def test_rows_that_stand_twice() -> None:
    row = {"path": "a.mp4", "label": "1", "method": "m"}
    good = {"path": "b.mp4", "label": "0"}
    for second, fault in (
        (row, None),
        (row | {"path": "./a.mp4", "label": "fake"}, None),
        (row | {"method": "n"}, "unlabelled"),
        (row | {"label": "0"}, "unlabelled"),
        (row | {"label": "?"}, "unlabelled"),
    ):
        found = by_table([row, good, second], ["a.mp4", "b.mp4"])
        assert by_path(found)["a.mp4"].fault == fault
        assert any("occurs 2 times" in one or "occurs twice with different values" in one for one in notes(found))
    assert set(by_path(by_table([row, row | {"method": "n"}, good], ["b.mp4"]))) == {"b.mp4"}  # nothing sure is there


def test_copies_of_an_original_are_of_its_family() -> None:
    rows = [
        {"path": "raw/a.mp4", "label": 0, "compression": "raw"},
        {"path": "c40/a.mp4", "label": 0, "compression": "c40", "original": "raw/a.mp4"},
        {"path": "c40/f.mp4", "label": 1, "compression": "c40", "original": "raw/a.mp4"},
        {"path": "c40/g.mp4", "label": 1, "compression": "c40", "original": "c40/a.mp4"},
    ]
    assert {video.family_id for video in by_table(rows, [str(row["path"]) for row in rows]).videos} == {"folder-raw-a"}


def test_table_may_lie_anywhere(tmp_path: Path) -> None:
    rows = [{"path": "a.mp4", "label": 0}]
    outside = tmp_path / "t.csv"
    outside.write_text("\ufeff" + table(rows).replace("path", " Path ").replace("\n", "\r\n"))
    found = discover("folder", {"a.mp4": b"", "t.csv": b"other"}, SourceConfig(table=str(outside)))
    assert [video.label for video in found.videos] == [0]
    assert ("t.csv", "other") in kinds(found)
    assert found.tables[0][0] == "t.csv"
    inside = by_table(rows, ["a.mp4"], "sub/t.csv")
    assert kinds(inside) == [("sub/t.csv", "metadata")]


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("", "t.csv", "The table t.csv is empty"),
        (" , \n", "t.csv", "The table t.csv is empty"),
        ("path,label\n\n", "t.csv", "has a header and no rows"),
        ("file,label\na.mp4,1\n", "t.csv", "no column path. Its columns are 'file', 'label'"),
        ("filename,target\na.mp4,1\n", "t.csv", "rename 'filename' to path and 'target' to label."),
        ("which;state\na.mp4;1\n", "t.csv", "(read as separated by semicolons); known ones are path, label,"),
        (
            "path label\na.mp4 1\n",
            "t.csv",
            "no column label. Its columns are 'path_label' (read as separated by commas)",
        ),
        (b"path,label,method\na.mp4,1,schw\xe4rz\n", "t.csv", "byte 0xe4 in line 2 is not UTF-8"),
        ('path,label\na.mp4,0\n"b.mp4,1\n', "t.csv", "a quotation mark of line 3 is never closed"),
        ("path,label,label\na.mp4,1,1\n", "t.csv", "the column label twice"),
        ('path,label\n"a.mp4,1\n', "t.csv", "cannot be read"),
        (b"path,label\n\xff.mp4,1\n", "t.csv", "cannot be read"),
        (f"path,label\n{'x' * 200_000},1\n", "t.csv", "cannot be read"),
        (b"PAR1" + bytes(40) + b"PAR1", "t.parquet", "cannot be read"),
        (b"", "t.parquet", "cannot be read"),
        (b"x" * 99, "t.pq", "cannot be read"),
    ],
)
def test_a_table_that_is_none_is_refused(content: str | bytes, name: str, words: str) -> None:
    with pytest.raises(SemblanceError) as error:
        by_table(content, ["a.mp4"], name)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_table_that_is_absent_or_nested_is_refused() -> None:
    for name in ("gone.csv", "nul\x00.csv", "nowhere://t.csv", "memory://gone/t.parquet"):
        with pytest.raises(SemblanceError, match=r"cannot be read"):
            discover("folder", {"a.mp4": b""}, SourceConfig(table=name))
    nested = io.BytesIO()
    pl.DataFrame({"path": [["a"]], "label": [{"x": 1}]}).write_parquet(nested)
    with pytest.raises(SemblanceError, match="contains lists or records"):
        by_table(nested.getvalue(), ["a.mp4"], "t.parquet")
    binary = io.BytesIO()
    pl.DataFrame({"path": [b"\xff"], "label": [1]}).write_parquet(binary)
    with pytest.raises(SemblanceError, match="cannot be read"):
        by_table(binary.getvalue(), ["a.mp4"], "t.parquet")


def test_lines_of_odd_length_are_said() -> None:
    found = by_table("path,label,method\na.mp4,1\n\nb.mp4,0,,,\n", ["a.mp4", "b.mp4"])
    assert [video.label for video in found.videos] == [1, 0]
    assert [reason.split(": ")[1] for reason in notes(found)] == [
        "has 2 values for 3 columns",
        "has 5 values for 3 columns",
    ]


@given(st.text(st.characters(codec="utf-8")))
def test_relative_paths_stay_below_and_have_one_spelling(text: str) -> None:
    path = relative(text)
    assert path is None or (relative(path) == path and path[0] != "/" and ".." not in path.split("/"))


ROW_PATHS = st.sampled_from(
    ["a.mp4", "./a.mp4", "b.avi", "c.bin", "m.mp4", "gone.mp4", "/a.mp4", "t.csv", ".h.mp4", ""]
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"path": ROW_PATHS, "label": st.sampled_from(["0", "1", "real", "FAKE", "?", ""])},
        optional={
            "original": ROW_PATHS,
            "mask": ROW_PATHS,
            "target": st.sampled_from(["p", "q", ""]),
            "donor": st.sampled_from(["p", "q", "é\x1b"]),
            "split": st.sampled_from(["train", "x"]),
            "odd": st.just("1"),
        },
    ),
    max_size=7,
)
TREES = st.sets(st.sampled_from(["a.mp4", "b.avi", "c.bin", "m.mp4", ".h.mp4", "n\udcff.mp4", "s.txt", "d/e.mov"]))


@settings(deadline=None, max_examples=200)
@given(TREES, ROWS, st.randoms(use_true_random=False))
def test_law_every_file_has_one_place_by_table(files: set[str], rows: Cells, rng: random.Random) -> None:
    rows = [*rows, {"path": "z.mp4", "label": "0"}]
    columns = ["path", "label", "original", "mask", "target", "donor", "split", "odd"]
    config = SourceConfig(table="t.csv")
    tree = dict.fromkeys(sorted({*files, "z.mp4"}), "") | {"t.csv": table(rows, columns)}
    found = discover("folder", tree, config)
    counts = places(found)
    assert {path for path in counts if path != "t.csv"} == set(map(escaped, tree)) - {"t.csv"}
    assert all(count == 1 for path, count in counts.items() if path != "t.csv")  # findings about rows are at the table
    assert not {video.path for video in found.videos if video.fault == "missing"} & tree.keys()
    assert len({video.video_id for video in found.videos}) == len(found.videos)
    mixed = list(rows)
    rng.shuffle(mixed)
    shuffled = list((tree | {"t.csv": table(mixed, columns)}).items())
    rng.shuffle(shuffled)
    again = discover("folder", dict(shuffled), config)
    assert again.videos == found.videos
    assert again.facts == found.facts
    assert len(again.findings) == len(found.findings)
    labels = {"0": 0, "real": 0, "1": 1, "FAKE": 1}
    labels_of: dict[str, set[int | None]] = {}
    for row in rows:  # the referee: a path's label is the one that all of its rows give
        labels_of.setdefault(str(row["path"]).removeprefix("./"), set()).add(labels.get(str(row["label"])))
    for video in found.videos:
        if video.label is not None:
            assert labels_of[video.path] == {video.label}


# the real thing -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's originals and fakes as a user would have them; one name with a line break and markup."""
    root = tmp_path_factory.mktemp("own") / "videos"
    (root / "real").mkdir(parents=True)
    (root / "fake" / "blend").mkdir(parents=True)
    for metadata in sorted(demo.rglob("metadata.json")):
        for name, row in json.loads(metadata.read_text()).items():
            if row["label"] == "REAL":
                shutil.copy(metadata.parent / name, root / "real" / name)
            elif not (root / "fake" / "blend" / row["original"]).exists():
                shutil.copy(metadata.parent / name, root / "fake" / "blend" / row["original"])
    first = min(path.name for path in (root / "fake" / "blend").iterdir())
    odd = "[red]\x1b[31m\n" + first
    (root / "real" / first).rename(root / "real" / odd)
    (root / "fake" / "blend" / first).rename(root / "fake" / "blend" / odd)
    return root


def test_plan_of_own_videos(own: Path, run: Run) -> None:
    done = run("ingest", "plan", "--dataset", "folder", "--root", own)
    assert "split: family" in done.stdout
    assert "fake/blend" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_build_of_own_videos(own: Path, run: Run, tmp_path: Path) -> None:
    """Three videos by folders; the odd name and its pair among them."""
    out = tmp_path / "out"
    settings_ = ("--set", "sampling.n=2", "--limit", 3, "--workers", 1)
    run("ingest", "build", "--dataset", "folder", "--root", own, "--out", out, *settings_)
    assert "intact" in run("shards", "verify", out, "--deep").stdout
    rows = manifests.scan(str(out), "videos").collect()
    assert rows.height == 3
    assert set(rows["status"]) <= {"ok", "no_face"}
    pairs = rows.group_by("family_id").agg(pl.col("label").sort()).sort("family_id")["label"].to_list()
    assert [0, 1] in pairs
    guided = rows.filter(pl.col("label") == 1)["guide"].to_list()
    assert "original" in guided
    assert "Unknown to Semblance" in (out / "CARD.md").read_text()
