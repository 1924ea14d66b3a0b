"""Celeb-DF-v2's names, people and list (in which 1 is real); every file has one place, contradictions are counted."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.ingest.sources import SOURCES
from semblance.ingest.sources.base import IN_ROOT, Discovery, SourceConfig
from semblance.manifests.errors import SemblanceError
from semblance.manifests.splits import DatasetTraits, SplitConfig, assign, plan_frame
from tests.ingest.trees import by_path, escaped, kinds, places
from tests.ingest.trees import discover as discover_tree

LIST = "List_of_testing_videos.txt"
REAL, FAKE, TUBE = "Celeb-real/id1_0003.mp4", "Celeb-synthesis/id1_id16_0003.mp4", "YouTube-real/00170.mp4"


def discover(tree: Mapping[str, object], config: SourceConfig = IN_ROOT) -> Discovery:
    return discover_tree("celebdf", tree, config)


def assigned(found: Discovery) -> dict[str, str | None]:
    return {path: video.split_official for path, video in by_path(found).items()}


def row_notes(found: Discovery) -> list[str]:
    return [finding.reason for finding in found.findings if finding.kind == "bad_row"]


@pytest.mark.parametrize("base", ["", "Celeb-DF-v2/", "a/b/"])
@pytest.mark.parametrize("level", ["", "videos/"])
def test_layout(base: str, level: str) -> None:
    real, fake, tube = (f"{base}{path.replace('/', f'/{level}')}" for path in (REAL, FAKE, TUBE))
    found = discover({real: b"1", fake: b"22", tube: b"", f"{base}{LIST}": f"1 {TUBE}\n0 {FAKE}"})
    videos = by_path(found)
    assert [videos[path].video_id for path in (real, fake, tube)] == [
        "celebdf-id1_0003",
        "celebdf-id1_id16_0003",
        "celebdf-00170",
    ]
    assert [videos[path].label for path in (real, fake, tube)] == [0, 1, 0]
    assert [videos[path].method for path in (real, fake, tube)] == ["pristine", "CelebDF", "pristine"]
    assert videos[fake].family_id == videos[real].family_id == videos[real].video_id
    assert (videos[fake].target_id, videos[fake].donor_id) == ("celebdf-id1", "celebdf-id16")
    assert (videos[real].target_id, videos[real].donor_id) == ("celebdf-id1", None)
    assert videos[fake].recording_id == videos[real].recording_id
    assert videos[tube].target_id is None  # unknown person
    assert assigned(found) == {real: "train", fake: "test", tube: "test"}  # the first line and the last are data
    assert kinds(found) == [(f"{base}{LIST}", "metadata")]
    assert SOURCES["celebdf"].info.val_from_train
    assert found.facts == ()


@pytest.mark.parametrize("level", ["", "videos/"])
def test_the_methods_of_the_larger_set_have_ids_of_their_own(level: str) -> None:
    """Celeb-DF++: the same name in every method, with type and method as folders and in the list."""
    places_ = ("FaceSwap/Celeb-DF", "FaceSwap/SimSwap", "FaceReenact/LIA", "TalkingFace/SadTalker")
    fakes = {f"Celeb-synthesis/{place}/{level}id1_id16_0003.mp4": place for place in places_}
    listed = f"1 {REAL}\n0 Celeb-synthesis/FaceReenact/LIA/id1_id16_0003.mp4\n"
    found = discover({REAL: b"", TUBE: b"", LIST: listed} | dict.fromkeys(fakes, b""))
    videos = by_path(found)
    assert videos[REAL].video_id == "celebdf-id1_0003"
    assert {videos[path].video_id for path in fakes} == {
        f"celebdf-{place.replace('/', '-')}-id1_id16_0003" for place in places_
    }
    assert [videos[path].method for path in fakes] == ["CelebDF", "SimSwap", "LIA", "SadTalker"]
    assert [videos[path].part for path in fakes] == [f"Celeb-synthesis/{place.split('/')[0]}" for place in places_]
    assert {video.family_id for path, video in videos.items() if path != TUBE} == {"celebdf-id1_0003"}
    tested = {path for path, split in assigned(found).items() if split == "test"}
    assert tested == {REAL, f"Celeb-synthesis/FaceReenact/LIA/{level}id1_id16_0003.mp4"}
    counts = {line.what: line.found for line in found.coverage}
    assert (counts["Celeb-synthesis"], counts["methods of Celeb-DF++"]) == (1, 4)
    assert counts["published test videos of Celeb-DF++"] == 2


def test_the_folder_is_believed_where_the_list_says_otherwise() -> None:
    found = discover({REAL: b"", FAKE: b"", TUBE: b"", LIST: f"0 {REAL}\n1 {FAKE}\r\n1 {TUBE}\n"})
    assert [video.label for video in found.videos] == [0, 0, 1]
    assert set(assigned(found).values()) == {"test"}
    assert len(row_notes(found)) == 2
    assert all("its folder says otherwise and is used" in note for note in row_notes(found))


def test_odd_lines_are_counted() -> None:
    lines = ["", "2 " + REAL, REAL, "1 ../x.mp4", "1 YouTube-real/x.mp4", f"1  {TUBE}", f"1 {TUBE} more", "x" * 10_000]
    found = discover({REAL: b"", TUBE: b"", LIST: "\n".join([*lines, f"1 {REAL}", f"1 {REAL}", f"0 {FAKE}"])})
    assert assigned(found) == {REAL: "test", TUBE: "test"}  # a second blank does no harm
    assert len(row_notes(found)) == 7  # six lines, and one that occurs twice
    assert f"row '{REAL[:-4]}': occurs 2 times" in row_notes(found)
    assert dict(found.facts) == {f"videos of the published test set ({LIST}) that are not on disk": 1}


@pytest.mark.parametrize("content", [None, "", "\n\n", b"\xff\xfe", "label path\n"])
def test_without_a_usable_list_nothing_is_published(content: str | bytes | None) -> None:
    found = discover({REAL: b"", FAKE: b""} | ({} if content is None else {LIST: content}))
    assert set(assigned(found).values()) == {None}
    assert dict(found.facts) == {f"videos without a published split, since there is no usable {LIST}": 2}


def test_a_list_elsewhere_is_read_and_hashed(tmp_path: Path) -> None:
    (tmp_path / LIST).write_text(f"0 {FAKE}")
    for lists in (tmp_path, tmp_path / LIST):
        found = discover({REAL: b"", FAKE: b"", LIST: f"1 {REAL}"}, SourceConfig(lists=str(lists)))
        assert assigned(found) == {REAL: "train", FAKE: "test"}
        assert [name for name, _ in found.tables] == [LIST]
        assert sorted(kinds(found)) == sorted([(LIST, "other"), (str(tmp_path / LIST), "metadata")])
    with pytest.raises(SemblanceError, match="has none of List_of_testing_videos"):
        discover({REAL: b""}, SourceConfig(lists=str(tmp_path / "x")))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("Celeb-real/id1.mp4", "not of the form id0_0000.mp4"),
        ("Celeb-real/id1_id2_0000.mp4", "not of the form id0_0000.mp4"),
        ("Celeb-synthesis/id1_0000.mp4", "not of the form id0_id1_0000.mp4"),
        ("YouTube-real/a.mp4", "not of the form 00000.mp4"),
        (f"YouTube-real/{'0' * 9}{'x' * 10_000}.mp4", "not of the form 00000.mp4"),
        ("other/id1_0000.mp4", "is in none of Celeb-real, YouTube-real, Celeb-synthesis"),
    ],
)
def test_what_is_not_of_the_dataset_has_no_label(path: str, words: str) -> None:
    video = by_path(discover({path: b"", REAL: b"", LIST: f"1 {REAL}"}))[path]
    assert (video.label, video.fault, video.split_official) == (None, "unlabelled", None)
    assert words in (video.fault_note or "")


def test_nothing_usable_is_refused() -> None:
    with pytest.raises(SemblanceError, match="No mp4 file in Celeb-real, YouTube-real or Celeb-synthesis"):
        discover({"id0_0000.mp4": b"", LIST: ""})
    with pytest.raises(SemblanceError, match="would both be video celebdf-id1_0003"):
        discover({REAL: b"", f"copy/{REAL}": b""})


def test_the_remainder_becomes_train_and_val_and_test_is_not_touched() -> None:
    tree: dict[str, object] = {f"Celeb-real/id{n}_{k:04d}.mp4": b"" for n in range(6) for k in range(4)}
    tree |= {
        f"Celeb-synthesis/id{n}_id{(n + m) % 6}_{k:04d}.mp4": b"" for n in range(6) for m in (1, 2) for k in range(4)
    }
    rng = random.Random(0)
    tested = sorted(rng.sample(sorted(tree), 20))
    found = discover(tree | {LIST: "\n".join(f"{int('real' in path)} {path}" for path in tested)})
    table = assign(plan_frame(found.videos), SplitConfig(), 0, DatasetTraits(basis="person", val_from_train=True)).table
    assert set(table.filter(table["split_official"] == "test")["path"]) == set(tested)
    rest = table.filter(table["split_official"] != "test")
    assert set(rest["split_official"]) == {"train", "val"}
    assert rest.height == len(tree) - 20
    for _, family in rest.group_by("family_id"):
        assert family["split_official"].n_unique() == 1


BASES = st.sampled_from(["", "up/", ".hidden/"])
FOLDERS = st.sampled_from(
    [
        "Celeb-synthesis/FaceSwap/SimSwap",
        "Celeb-synthesis/FaceReenact/LIA",
        "Celeb-real",
        "YouTube-real",
        "Celeb-synthesis",
        "Celeb-real/videos",
        "other",
    ]
)
STEMS = st.sampled_from(
    ["id0_0000", "id1_0000", "id0_id1_0000", "id1_id0_0000", "00000", "00001", "odd", "n\udcff", "é"]
)
PATHS = st.tuples(BASES, FOLDERS, STEMS, st.sampled_from([".mp4", ".MP4", "", ".txt"])).map(
    lambda parts: f"{parts[0]}{parts[1]}/{parts[2]}{parts[3]}"
)
LINES = st.lists(
    st.tuples(st.sampled_from(["0", "1", "2", ""]), PATHS.filter(lambda path: "\udcff" not in path)), max_size=6
)


@settings(deadline=None, max_examples=200)
@given(st.sets(PATHS, max_size=12), LINES, st.randoms(use_true_random=False))
def test_law_every_file_has_one_place(files: set[str], lines: list[tuple[str, str]], rng: random.Random) -> None:
    tree: dict[str, object] = dict.fromkeys(sorted(files), b"")
    tree |= {LIST: "\n".join(map(" ".join, lines)), "Celeb-real/id9_0000.mp4": b""}
    try:
        found = discover(tree)
    except SemblanceError as error:
        if "would both be video" not in str(error):
            raise
        return
    assert places(found) == dict.fromkeys(map(escaped, tree), 1)
    assert len({video.video_id for video in found.videos}) == len(found.videos)
    assert all((video.label is None) == (video.fault == "unlabelled") for video in found.videos)
    shuffled = list(tree)
    rng.shuffle(shuffled)
    assert discover({path: tree[path] for path in shuffled}) == found
    rng.shuffle(lines)
    assert discover(tree | {LIST: "\n".join(map(" ".join, lines))}).videos == found.videos
