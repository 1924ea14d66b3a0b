"""DFDC's layout: every spelling that people have, and a law: every file is planned or has a finding."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.ingest.sources import source
from semblance.ingest.sources.base import Discovery, family_roots
from semblance.ingest.sources.dfdc import part_name
from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import Video
from semblance.manifests.storage import Stat

REAL, FAKE = {"label": "REAL", "split": "train"}, {"label": "FAKE", "split": "train"}


def discover(tree: Mapping[str, object], root: str = "memory://dfdc") -> Discovery:
    """Discovery of a tree in memory: texts and bytes as they are, all else as JSON."""
    files = fsspec.filesystem("memory")
    if files.exists(root):
        files.rm(root, recursive=True)
    stats = []
    for path, content in tree.items():
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        data = text.encode() if isinstance(text, str) else text
        if path.endswith((".json", ".csv")):
            files.pipe_file(f"{root}/{path}", data)
        stats.append(Stat(path=path, bytes=len(data), version="0"))
    return source("dfdc").discover(root, stats)


def by_path(found: Discovery) -> dict[str, Video]:
    return {video.path: video for video in found.videos}


def kinds(found: Discovery) -> list[tuple[str, str]]:
    return [(finding.path, finding.kind) for finding in found.findings]


def test_sample_collection_is_planned_whole(shared: Path) -> None:
    root = shared / "data" / "dfdc"
    found = by_path(source("dfdc").discover(str(root), storage.walk(str(root))))
    truth = {row["path"]: row for row in csv.DictReader((root / "truth.csv").read_text().splitlines())}
    assert found.keys() == truth.keys()
    for path, row in truth.items():
        assert found[path].label == int(row["label"])
        assert found[path].fault is None
        if "original " in row["note"]:
            original = row["note"].rsplit("original ", 1)[1].removesuffix(".mp4")
            assert found[path].family_id == f"dfdc-{original}"


def test_broken_collection_keeps_every_row(shared: Path) -> None:
    root = shared / "data" / "dfdc_broken"
    discovery = source("dfdc").discover(str(root), storage.walk(str(root)))
    found = by_path(discovery)
    truth = {row["path"] for row in csv.DictReader((root / "truth.csv").read_text().splitlines())}
    assert found.keys() == truth
    faults = {Path(path).stem: video.fault for path, video in found.items() if video.fault}
    assert faults == {
        "raibvhslkd": "missing",
        "qyeixtaetu": "unlabelled",
        "ttdlmgnclk": "unlabelled",
        "ziyuhvzael": "unlabelled",
    }
    assert ("dfdc_train_part_2/metadata.json", "unreadable_metadata") in kinds(discovery)
    assert ("truth.csv", "other") in kinds(discovery)


def test_real_sample_metadata(shared: Path) -> None:
    text = (shared / "realmeta/dfdc/train_sample_videos_metadata.json").read_text()
    rows = json.loads(text)
    names = {f"train_sample_videos/{name}": b"x" for name in rows}
    found = discover({"train_sample_videos/metadata.json": text, **names})
    fakes = [video for video in found.videos if video.label == 1]
    assert (len(found.videos), len(fakes)) == (400, 323)
    assert len({video.family_id for video in fakes}) == 209
    assert {video.part for video in found.videos} == {"train_sample"}
    absent = sum(rows[Path(video.path).name]["original"] not in rows for video in fakes)
    assert found.facts == (("fakes whose original is not on disk (detected without a guide)", absent),)


def test_all_train_names_are_planned(shared: Path) -> None:
    """119,146 real names, in 50 parts; which original a fake names is invented, the names are not."""
    with (shared / "realmeta/dfdc/train_all_names.csv").open() as file:
        rows = list(csv.DictReader(file))
    reals = [row["name"] for row in rows if row["is_fake"] == "0"]
    tree: dict[str, object] = {}
    metadata: list[dict[str, object]] = [{} for _ in range(50)]
    for place, row in enumerate(rows):
        fake = row["is_fake"] == "1"
        value = FAKE | {"original": f"{reals[place % len(reals)]}.mp4"} if fake else REAL
        metadata[place % 50][f"{row['name']}.mp4"] = value
        tree[f"dfdc_train_part_{place % 50}/{row['name']}.mp4"] = b""
    tree |= {f"dfdc_train_part_{part}/metadata.json": value for part, value in enumerate(metadata)}
    found = discover(tree)
    assert len(found.videos) == len(rows) == 119_146
    assert {video.fault for video in found.videos} == {None}
    assert len({video.family_id for video in found.videos}) == len(reals)
    assert len({video.part for video in found.videos}) == 50


@pytest.mark.parametrize(
    ("folder", "part"),
    [
        ("", "root"),
        ("videos", "root"),
        ("dfdc_train_part_7", "train_07"),
        ("dfdc_train_part_07", "train_07"),
        ("dfdc_train_part_00/dfdc_train_part_0", "train_00"),
        ("dfdc_train_part_49/videos", "train_49"),
        ("train_sample_videos", "train_sample"),
        ("dfdc/validation", "validation"),
        ("test_videos", "test"),
    ],
)
def test_parts_have_one_spelling(folder: str, part: str) -> None:
    assert part_name(folder) == part


@pytest.mark.parametrize("folder", ["", "dfdc_train_part_00/dfdc_train_part_0/", "a/train_sample_videos/"])
@pytest.mark.parametrize("level", ["", "videos/"])
@pytest.mark.parametrize("original", [{}, {"original": None}])
def test_train_spellings(folder: str, level: str, original: dict[str, None]) -> None:
    rows = {"a.mp4": REAL | original, "b.mp4": {"label": "fake", "original": "a.mp4"}}
    found = discover({f"{folder}metadata.json": rows, f"{folder}{level}a.mp4": b"1", f"{folder}{level}b.MP4": b"22"})
    real, fake = found.videos
    assert (real.label, real.method, real.family_id, real.bytes) == (0, "pristine", "dfdc-a", 1)
    assert (fake.label, fake.method, fake.family_id, fake.bytes) == (1, None, "dfdc-a", 2)
    assert fake.path == f"{folder}{level}b.MP4"
    assert kinds(found) == [(f"{folder}metadata.json", "metadata")]


def test_validation_and_test_spellings() -> None:
    found = discover(
        {
            "validation/labels.csv": "filename,label\r\n4000.mp4,1\r\n4001.mp4, 0\r\n",
            "validation/4000.mp4": b"",
            "validation/4001.mp4": b"",
            "test/metadata.json": {"x.mp4": {"is_fake": 1, "augmentations": {}}, "y.mp4": {"is_fake": 0}},
            "test/x.mp4": b"",
            "test/y.mp4": b"",
        }
    )
    assert [(video.part, video.label) for video in found.videos] == [
        ("validation", 1),
        ("validation", 0),
        ("test", 1),
        ("test", 0),
    ]
    assert all(video.family_id == video.video_id for video in found.videos)
    assert found.facts == (("fakes without a named original (each is its own family)", 2),)


@pytest.mark.parametrize(
    "value",
    [
        5,
        [],
        {},
        {"label": "MAYBE"},
        {"label": 1},
        {"is_fake": 2},
        {"is_fake": "1"},
        {"label": "REAL", "is_fake": 1},
        {"label": "FAKE", "original": "../a.mp4"},
        {"label": "FAKE", "original": 3},
        {"label": "REAL", "original": "z.mp4"},
        {"label": "REAL", "split": 1},
    ],
)
def test_bad_row_leaves_its_file_unlabelled(value: object) -> None:
    found = discover({"p/metadata.json": {"a.mp4": REAL, "b.mp4": value}, "p/a.mp4": b"", "p/b.mp4": b""})
    assert [(video.label, video.fault) for video in found.videos] == [(0, None), (None, "unlabelled")]
    assert ("p/metadata.json", "bad_row") in kinds(found)


@pytest.mark.parametrize("name", ["../a.mp4", "x/a.mp4", "x\\a.mp4", "a\n.mp4", "\ud800.mp4", ".mp4", "a.avi", ""])
def test_bad_name_plans_nothing(name: str) -> None:
    found = discover({"p/metadata.json": {"b.mp4": REAL, name: REAL}, "p/b.mp4": b""})
    assert [video.path for video in found.videos] == ["p/b.mp4"]
    assert ("p/metadata.json", "bad_row") in kinds(found)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('{"a.mp4": {"label": "REAL"}, "a.mp4": {"label": "REAL"}}', 0),
        ('{"a.mp4": {"label": "REAL"}, "a.mp4": {"label": "FAKE"}, "a.mp4": {"label": "REAL"}}', None),
        ('{"a.mp4": {"label": "REAL", "label": "FAKE"}}', None),
    ],
)
def test_repeated_keys_are_trusted_only_where_they_agree(text: str, label: int | None) -> None:
    found = discover({"p/metadata.json": text, "p/a.mp4": b""})
    assert [video.label for video in found.videos] == [label]
    assert ("p/metadata.json", "bad_row") in kinds(found)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", b"\xff\xfe", "[" * 200_000, "x" * 9])
def test_unreadable_metadata_leaves_its_folder_unlabelled(content: str | bytes) -> None:
    tree = {"p/metadata.json": content, "p/a.mp4": b"", "q/metadata.json": {"b.mp4": REAL}, "q/b.mp4": b""}
    found = discover(tree)
    assert [(video.path, video.fault) for video in found.videos] == [("p/a.mp4", "unlabelled"), ("q/b.mp4", None)]
    assert ("p/metadata.json", "unreadable_metadata") in kinds(found)
    with pytest.raises(SemblanceError, match="is readable"):
        discover({"p/metadata.json": content, "p/a.mp4": b""})


def test_two_tables_of_one_folder_add_up() -> None:
    tree = {
        "test/labels.csv": "filename,label\na.mp4,1\nb.mp4,0\n",
        "test/metadata.json": {"a.mp4": {"is_fake": 1, "original": "o.mp4"}, "b.mp4": {"is_fake": 1}},
        "test/a.mp4": b"",
        "test/b.mp4": b"",
    }
    first, second = discover(tree).videos
    assert (first.label, first.family_id) == (1, "dfdc-o")
    assert second.fault == "unlabelled"  # the tables contradict each other


def test_row_without_file_is_missing_unless_planned_elsewhere() -> None:
    found = discover(
        {"p/metadata.json": {"a.mp4": REAL, "b.mp4": REAL}, "q/metadata.json": {"a.mp4": REAL}, "q/a.mp4": b""}
    )
    assert [(video.path, video.fault) for video in found.videos] == [("q/a.mp4", None), ("p/b.mp4", "missing")]
    assert ("p/metadata.json", "row_elsewhere") in kinds(found)


def test_one_id_for_two_files_is_refused() -> None:
    rows = {"x.mp4": REAL}
    with pytest.raises(SemblanceError, match=r"dfdc_train_part_0/x\.mp4 and dfdc_train_part_00/x\.mp4"):
        discover(
            {
                "dfdc_train_part_0/metadata.json": rows,
                "dfdc_train_part_0/x.mp4": b"",
                "dfdc_train_part_00/metadata.json": rows,
                "dfdc_train_part_00/x.mp4": b"",
            }
        )


def test_nothing_usable_is_refused() -> None:
    with pytest.raises(SemblanceError, match="No mp4"):
        discover({"p/metadata.json": {}})
    with pytest.raises(SemblanceError, match="readable"):
        discover({"p/a.mp4": b""})
    with pytest.raises(UsageError, match="accepts celebdf, dfdc, dfdc-preview, ffpp,"):
        source("imagenet")


def test_metadata_that_cannot_be_fetched_is_refused() -> None:
    stats = [Stat(path=name, bytes=1, version="0") for name in ("p/a.mp4", "p/metadata.json")]
    with pytest.raises(SemblanceError, match=r"p/metadata\.json .* cannot be read"):
        source("dfdc").discover("memory://nowhere", stats)


def test_fakes_of_fakes_join_one_family() -> None:
    names = {"a": "b", "b": "c", "c": "b", "d": "d", "e": "f", "f": "r"}
    rows: dict[str, object] = {f"{fake}.mp4": FAKE | {"original": f"{named}.mp4"} for fake, named in names.items()}
    found = discover({"p/metadata.json": rows | {"r.mp4": REAL}, **{f"p/{name}.mp4": b"" for name in [*names, "r"]}})
    families = {video.video_id[-1]: video.family_id[-1] for video in found.videos}
    assert families == {"a": "b", "b": "b", "c": "b", "d": "d", "e": "r", "f": "r", "r": "r"}
    assert kinds(found).count(("p/metadata.json", "bad_original")) == 5


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")))
def test_family_roots_end_and_agree_along_the_chain(originals: dict[str, str]) -> None:
    roots = family_roots(originals)
    assert roots.keys() == originals.keys()
    assert all(roots[name] == roots.get(named, named) for name, named in originals.items())


FOLDERS = st.sampled_from(["", "p/", "p/videos/", "dfdc_train_part_1/", ".hidden/", "__MACOSX/p/", "q/r/"])
NAMES = st.sampled_from(["a.mp4", "b.MP4", "c.mp4", "._a.mp4", "e f.mp4", "n\udcff.mp4", "notes.txt", "h.mp4.part"])
ROWS = st.dictionaries(
    st.sampled_from(["a.mp4", "b.mp4", "c.mp4", "../a.mp4", "missing.mp4"]),
    st.sampled_from([REAL, FAKE, FAKE | {"original": "a.mp4"}, FAKE | {"original": "b.mp4"}, 7, {"label": "?"}]),
)
TABLES = st.dictionaries(
    st.tuples(FOLDERS, st.sampled_from(["metadata.json"])).map("".join), st.one_of(ROWS, st.just("{")), max_size=4
) | st.dictionaries(
    st.tuples(FOLDERS, st.sampled_from(["labels.csv"])).map("".join),
    st.sampled_from(["filename,label\na.mp4,1\n", "filename,label\nb.mp4,x\n,\n", "a,b\n"]),
    max_size=2,
)


@settings(deadline=None, max_examples=150)
@given(st.sets(st.tuples(FOLDERS, NAMES).map("".join)), TABLES)
def test_law_every_file_is_planned_or_found(files: set[str], tables: dict[str, object]) -> None:
    tree: dict[str, object] = dict.fromkeys(sorted(files), b"") | tables
    tree |= {"z/metadata.json": {"z.mp4": REAL}, "z/z.mp4": b""}  # so that something can be planned
    try:
        found = discover(tree)
    except SemblanceError as error:
        if "would both be video" not in str(error):
            raise
        return
    planned = [video.path for video in found.videos if video.fault != "missing"]
    named = {finding.path for finding in found.findings}
    every = {path.encode("utf-8", "backslashreplace").decode() for path in tree}
    assert len(planned) == len(set(planned))
    assert set(planned) | named == every
    assert not set(planned) & named
    assert not {video.path for video in found.videos if video.fault == "missing"} & every
    assert len({video.video_id for video in found.videos}) == len(found.videos)
    again = discover(dict(reversed(tree.items())))
    assert again == found
