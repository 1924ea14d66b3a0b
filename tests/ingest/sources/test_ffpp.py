"""FaceForensics++'s layout, lists and recordings; every file has one place, every contradiction is counted."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.ingest.sources import SOURCES
from semblance.ingest.sources.base import IN_ROOT, Discovery, SourceConfig
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Video
from tests.ingest.trees import by_path, escaped, kinds, places
from tests.ingest.trees import discover as discover_tree

PAIRED = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
REAL = "original_sequences/youtube/c23/videos/{}.mp4"
FAKE = "manipulated_sequences/Deepfakes/c23/videos/{}.mp4"
MASK = "manipulated_sequences/Deepfakes/masks/videos/{}.mp4"
ACTOR = "original_sequences/actors/c23/videos/{}.mp4"
SWAP = "manipulated_sequences/DeepFakeDetection/c23/videos/{}.mp4"
RECORDINGS = {"000": "-aB_9 0", "001": "-aB_9 1", "002": "x y 3", "003": "zz 0"}


def discover(tree: Mapping[str, object], config: SourceConfig = IN_ROOT) -> Discovery:
    return discover_tree("ffpp", tree, config)


def row_notes(found: Discovery) -> list[str]:
    return [finding.reason for finding in found.findings if finding.kind == "bad_row"]


def one(tree: Mapping[str, object], path: str) -> Video:
    return by_path(discover(tree))[path]


@pytest.mark.parametrize("base", ["", "FaceForensics++/", "a/b/"])
@pytest.mark.parametrize(("folder", "compression"), [("raw", "raw"), ("c0", "raw"), ("c23", "c23"), ("C40", "c40")])
@pytest.mark.parametrize("level", ["videos/", "videos/videos/", ""])
def test_layout(base: str, folder: str, compression: str, level: str) -> None:
    tree: dict[str, object] = {f"{base}original_sequences/youtube/{folder}/{level}000.mp4": b"1"}
    tree |= {f"{base}manipulated_sequences/{method}/{folder}/{level}000_003.mp4": b"22" for method in PAIRED}
    tree |= {f"{base}splits/train.json": [["003", "000"]], f"{base}dataset/conversion_dict.json": RECORDINGS}
    found = discover(tree)
    assert len({video.video_id for video in found.videos}) == 6  # the stem is the same, the video is not
    assert {video.compression for video in found.videos} == {compression}
    assert {video.family_id for video in found.videos} == {"ffpp-000"}
    assert {video.split_official for video in found.videos} == {"train"}
    assert {(video.target_id, video.recording_id) for video in found.videos} == {("ffpp-youtube--aB_9",) * 2}
    real, *fakes = sorted(found.videos, key=lambda video: video.label or 0)
    assert (real.video_id, real.method, real.label) == (f"ffpp-{compression}-pristine-000", "pristine", 0)
    assert (real.donor_id, real.donor_recording_id) == (None, None)
    assert {video.method for video in fakes} == set(PAIRED)
    assert {(video.donor_id, video.donor_recording_id) for video in fakes} == {("ffpp-youtube-zz",) * 2}
    assert {video.video_id for video in fakes} == {f"ffpp-{compression}-{method}-000_003" for method in PAIRED}
    assert {kind for _, kind in kinds(found)} == {"metadata", "bad_row"}
    assert SOURCES["ffpp"].info.paired
    assert found.identity_basis == "recording"


def test_actors_are_people_and_their_scenes_recordings() -> None:
    tree = {
        ACTOR.format("24__outside_talking"): b"",
        SWAP.format("24_23__outside_talking__ABCD1234"): b"",
        "manipulated_sequences/DeepFakeDetection/masks/videos/24_23__outside_talking__ABCD1234.mp4": b"",
    }
    found = discover(tree)
    fake, real = found.videos
    assert (real.family_id, fake.family_id) == ("ffpp-24__outside_talking",) * 2
    assert (real.target_id, real.donor_id) == ("ffpp-actor-24", None)
    assert (fake.target_id, fake.donor_id, fake.method) == ("ffpp-actor-24", "ffpp-actor-23", "DeepFakeDetection")
    assert (fake.recording_id, fake.donor_recording_id) == (real.recording_id, None)
    assert fake.mask is not None
    assert real.mask is None
    assert fake.split_official is None
    assert found.identity_basis == "person"
    assert discover(tree | {REAL.format("000"): b""}).identity_basis == "recording"
    facts = dict(discover(tree | {REAL.format("000"): b""}).facts)
    assert facts["actors of DeepFakeDetection (their ids are people, the other ids are recordings)"] == 2
    assert facts["videos of DeepFakeDetection, which has no published split"] == 2


def test_masks_are_of_every_compression_and_alone_they_are_findings() -> None:
    other = "manipulated_sequences/Deepfakes/c40/videos/000_003.mp4"
    shifted = "manipulated_sequences/FaceShifter/c23/videos/000_003.mp4"
    tree = {FAKE.format("000_003"): b"", other: b"", shifted: b"", MASK.format("000_003"): b"", MASK.format("9"): b""}
    found = discover(tree)
    masks = {path: video.mask for path, video in by_path(found).items()}
    assert masks == {FAKE.format("000_003"): MASK.format("000_003"), other: MASK.format("000_003"), shifted: None}
    assert kinds(found) == [(MASK.format("9"), "other")]
    assert {line.what: line.found for line in found.coverage}["masks: Deepfakes"] == 1


def test_a_sequence_without_a_recording_counts_as_its_own() -> None:
    tree = {"conversion_dict.json": RECORDINGS, REAL.format("000"): b"", FAKE.format("002_001"): b""}
    found = by_path(discover(tree))
    fake = found[FAKE.format("002_001")]
    assert (fake.target_id, fake.donor_id) == ("ffpp-sequence-002", "ffpp-youtube--aB_9")
    assert found[REAL.format("000")].target_id == fake.donor_id
    facts = dict(discover(tree).facts)
    assert facts["sequences without an entry in conversion_dict.json (each counted as its own recording)"] == 1
    assert facts["fakes whose original is not on disk in their compression (detected without a guide)"] == 1
    assert "'x y 3' is not a YouTube video and index" in " ".join(row_notes(discover(tree)))


@pytest.mark.parametrize("place", ["", "splits/", "dataset/", "dataset/splits/", "up/", "up/splits/"])
def test_lists_are_found(place: str) -> None:
    tree = {f"{place}test.json": [["001", "000"]], f"up/{REAL.format('000')}": b"", f"up/{FAKE.format('000_001')}": b""}
    assert {video.split_official for video in discover(tree).videos} == {"test"}
    absent = {"sequences of the published test whose original is not on disk": 1}
    assert absent.items() <= dict(discover(tree).facts).items()
    far = {f"far/{place}test.json" if place == "" else f"x/{place}test.json": tree[f"{place}test.json"]}
    lost = discover({path: content for path, content in tree.items() if not path.endswith("json")} | far)
    assert {video.split_official for video in lost.videos} == {None}
    assert [kind for _, kind in kinds(lost)] == ["other"]


def test_lists_elsewhere_are_read_and_hashed(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text('[["000", "001"]]')
    tree = {REAL.format("000"): b"", "splits/test.json": [["000", "001"]]}
    found = discover(tree, SourceConfig(lists=str(tmp_path)))
    assert found.videos[0].split_official == "train"
    assert ("splits/test.json", "other") in kinds(found)
    (tmp_path / "train.json").write_text('[["000","001"]]')
    again = discover(tree, SourceConfig(lists=str(tmp_path)))
    assert again.videos == found.videos
    assert [name for name, _ in found.tables] == ["train.json"]
    assert again.tables != found.tables
    assert discover(tree, SourceConfig(lists="splits")).videos[0].split_official == "test"
    assert discover(tree, SourceConfig(lists="splits/test.json")).videos[0].split_official == "test"
    for wrong in (str(tmp_path / "absent"), "gone", "nothing://x"):
        with pytest.raises(SemblanceError, match=r"source\.lists"):
            discover(tree, SourceConfig(lists=wrong))


def test_a_fake_of_no_listed_pair_has_no_side() -> None:
    tree = {"train.json": [["000", "001"], ["002", "003"]], FAKE.format("000_002"): b"", FAKE.format("003_002"): b""}
    assigned = {path: video.split_official for path, video in by_path(discover(tree)).items()}
    assert assigned == {FAKE.format("000_002"): None, FAKE.format("003_002"): "train"}


def test_contradictions_between_lists_are_counted_and_unknown() -> None:
    tree: dict[str, object] = {REAL.format(f"{n:03d}"): b"" for n in range(6)}
    tree |= {FAKE.format(stem): b"" for stem in ("000_001", "001_000", "002_003", "002_004", "005_004")}
    tree["train.json"] = [["000", "001"], ["002", "003"], ["003", "002"], ["005", "004"]]
    tree["test.json"] = [["001", "000"], ["002", "004"]]
    found = discover(tree)
    assigned = {path.rsplit("/", 1)[1][:-4]: video.split_official for path, video in by_path(found).items()}
    assert assigned == {
        "000": None,
        "001": None,
        "002": None,  # in both, with different partners
        "003": "train",
        "004": None,
        "005": "train",
        "000_001": None,
        "001_000": None,
        "002_003": "train",
        "002_004": "test",
        "005_004": "train",
    }
    notes = [(finding.path, finding.reason) for finding in found.findings if finding.kind == "bad_row"]
    for name in ("'000_001'", "'002'", "'004'"):
        assert {path for path, reason in notes if reason.startswith(f"row {name}")} == {"train.json", "test.json"}
    assert ("train.json", "row '002_003': occurs 2 times") in notes


@pytest.mark.parametrize(
    "item",
    [["000"], ["000", "001", "002"], ["000", "000"], ["0", "1"], [0, 1], "000", None, {"000": "001"}, ["a", "b"]],
)
def test_a_bad_pair_is_counted(item: object) -> None:
    found = discover({"train.json": [item, ["002", "003"]], REAL.format("000"): b"", REAL.format("002"): b""})
    assert {video.split_official for video in found.videos} == {None, "train"}
    assert len(row_notes(found)) == 1
    assert "is not a pair of two sequences" in row_notes(found)[0]


@pytest.mark.parametrize("content", ["", "{", "3", b"\xff\xfe", "[" * 200_000])
def test_unreadable_lists(content: str | bytes) -> None:
    for name in ("train.json", "conversion_dict.json"):
        found = discover({name: content, "test.json": [["000", "001"]], REAL.format("000"): b""})
        assert (name, "unreadable_metadata") in kinds(found)
        assert found.videos[0].split_official == "test"


def test_recordings_that_differ_are_unknown() -> None:
    text = '{"000": "a 0", "000": "b 0", "001": "c 0", "001": "c 0", "1": "d 0", "002": 3}'
    found = discover({"conversion_dict.json": text, REAL.format("000"): b"", REAL.format("001"): b""})
    assert [video.target_id for video in found.videos] == ["ffpp-sequence-000", "ffpp-youtube-c"]
    assert len(row_notes(found)) == 5  # differs; occurs 2 times, twice; no sequence; no video


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (REAL.format("0000"), "not of the form NNN.mp4"),
        (REAL.format("24__x"), "not of the form NNN.mp4"),
        (ACTOR.format("000"), "not of the form AA__scene.mp4"),
        (FAKE.format("000"), "not of the form TTT_SSS.mp4"),
        (FAKE.format("24_23__x__ABCD1234"), "not of the form TTT_SSS.mp4"),
        (SWAP.format("000_001"), "not of the form TT_SS__scene__KEY.mp4"),
        (FAKE.format("000_003 (1)"), "not of the form TTT_SSS.mp4"),
        (FAKE.format("x" * 10_000), "not of the form TTT_SSS.mp4"),
        ("original_sequences/other/c23/videos/000.mp4", "neither in original_sequences/youtube nor"),
        ("manipulated_sequences/c23/videos/000_001.mp4", "it is not in a folder of manipulated_sequences"),
        ("manipulated_sequences/pristine/c23/videos/000_001.mp4", "it is not in a folder of manipulated_sequences"),
        ("stray.mp4", "is neither in original_sequences"),
    ],
)
def test_what_does_not_tell_its_original_is_not_guessed(path: str, words: str) -> None:
    video = one({path: b"", REAL.format("000"): b""}, path)
    assert (video.label, video.fault, video.split_official) == (None, "unlabelled", None)
    assert words in (video.fault_note or "")


def test_another_method_is_planned_and_said() -> None:
    odd = "x/manipulated_sequences/My Method/c23/videos/000_003.mp4"
    found = discover({odd: b"", REAL.format("000"): b""})
    fake = by_path(found)[odd]
    assert (fake.method, fake.label, fake.family_id) == ("My Method", 1, "ffpp-000")
    assert kinds(found) == [("x/manipulated_sequences/My Method/", "unknown_method")]
    assert one(
        {"manipulated_sequences/deepfakes/c23/videos/000_001.mp4": b""}, FAKE.replace("D", "d").format("000_001")
    )


def test_a_video_without_a_folder_of_its_compression() -> None:
    path = "original_sequences/youtube/videos/000.mp4"
    video = one({path: b""}, path)
    assert (video.video_id, video.compression, video.family_id) == ("ffpp-pristine-000", None, "ffpp-000")


def test_what_is_no_clip_is_a_finding() -> None:
    found = discover({REAL.format("000"): b"", "downloaded_videos/-aB_9/-aB_9.mp4": b"", "x/models/m.h5": b""})
    assert len(found.videos) == 1
    assert [kind for _, kind in kinds(found)] == ["other", "other"]


@pytest.mark.parametrize(
    ("above", "root", "compression"),
    [
        ("FaceForensics++_C23/", "memory://kaggle", "c23"),
        ("", "memory://up/FaceForensics++_C23", "c23"),
        ("ff-c40/", "memory://c23", "c40"),
        ("", "memory://up/ff", None),
        ("abc23/", "memory://up/ff", None),
    ],
)
def test_a_copy_with_one_folder_for_each_method(above: str, root: str, compression: str | None) -> None:
    """As on Kaggle: no ``original_sequences``, no ``videos``, and the compression in the name of the whole."""
    methods = (*PAIRED, "DeepFakeDetection")
    tree: dict[str, object] = {f"{above}original/000.mp4": b"1", f"{above}csv/Deepfakes.csv": "index,File Path\n"}
    tree |= {f"{above}{method}/000_003.mp4": b"22" for method in PAIRED}
    tree |= {f"{above}DeepFakeDetection/01_02__talking__ABCD1234.mp4": b"", f"{above}original/01__talking.mp4": b""}
    tree |= {f"{above}splits/train.json": [["003", "000"]], "elsewhere/000.mp4": b""}
    found = discover_tree("ffpp", tree, root=root)
    videos = by_path(found)
    level = f"{compression}-" if compression else ""
    assert {
        video.compression for path, video in videos.items() if path.startswith(above) and video.label is not None
    } == {compression}
    assert videos[f"{above}original/000.mp4"].video_id == f"ffpp-{level}pristine-000"
    assert videos[f"{above}original/000.mp4"].part == "/".join(filter(None, ["youtube", compression]))
    assert videos[f"{above}original/01__talking.mp4"].part == "/".join(filter(None, ["actors", compression]))
    for method in methods:
        (fake,) = [video for path, video in videos.items() if path.startswith(f"{above}{method}/")]
        assert (fake.label, fake.method) == (1, method)
        acted = method == "DeepFakeDetection"
        assert fake.family_id == ("ffpp-01__talking" if acted else "ffpp-000")
        assert fake.split_official == (None if acted else "train")
    assert videos["elsewhere/000.mp4"].fault == "unlabelled"
    assert (f"{above}csv/Deepfakes.csv", "other") in kinds(found)


def test_nothing_usable_is_refused() -> None:
    trees: list[dict[str, Any]] = [{"train.json": []}, {"000.mp4": b""}, {"downloaded_videos/a.mp4": b""}]
    for tree in trees:
        with pytest.raises(
            SemblanceError, match="No mp4 file in original_sequences, manipulated_sequences or a folder of a method"
        ):
            discover(tree)
    with pytest.raises(SemblanceError, match="would both be video ffpp-raw-pristine-000"):
        discover({"original_sequences/youtube/c0/000.mp4": b"", "original_sequences/youtube/raw/000.mp4": b""})


BASES = st.sampled_from(["", "up/", ".hidden/"])
TOPS = st.sampled_from(["original_sequences", "manipulated_sequences", "downloaded_videos", "other"])
GROUPS = st.sampled_from(
    ["youtube/", "actors/", "Deepfakes/", "deepfakes/", "DeepFakeDetection/", "pristine/", "a-b/", ""]
)
LEVELS = st.sampled_from(["c0/", "raw/", "c23/", "c40/videos/", "masks/videos/", "c99/", ""])
STEMS = st.sampled_from(["000", "001", "000_001", "001_000", "24__a", "24_23__a__K1", "odd", "n\udcff", "0001", "é"])
ENDS = st.sampled_from([".mp4", ".MP4", "", ".txt"])
PATHS = st.tuples(BASES, TOPS, GROUPS, LEVELS, STEMS, ENDS).map(lambda p: f"{p[0]}{p[1]}/{p[2]}{p[3]}{p[4]}{p[5]}")
SEQUENCES = st.sampled_from(["000", "001", "002", "x", 3, None])
LISTS = st.lists(st.lists(SEQUENCES, max_size=3), max_size=5)


@settings(deadline=None, max_examples=200)
@given(st.sets(PATHS, max_size=12), LISTS, LISTS, st.randoms(use_true_random=False))
def test_law_every_file_has_one_place(
    files: set[str], train: list[object], test: list[object], rng: random.Random
) -> None:
    tree: dict[str, object] = dict.fromkeys(sorted(files), b"")
    tree |= {"train.json": train, "up/splits/test.json": test, "manipulated_sequences/Z/c23/videos/000_001.mp4": b""}
    try:
        found = discover(tree)
    except SemblanceError as error:
        if "would both be video" not in str(error):
            raise
        return
    counted = places(found)
    masks = {video.mask for video in found.videos}
    assert all(counted[path] == 1 or path in masks for path in map(escaped, tree))
    assert {path for path in counted if path not in set(map(escaped, tree))} <= {
        finding.path for finding in found.findings if finding.kind == "unknown_method"
    }
    assert len({video.video_id for video in found.videos}) == len(found.videos)
    assert all((video.label is None) == (video.fault == "unlabelled") for video in found.videos)
    for video in found.videos:
        if video.label == 1:
            assert video.target_id
            assert video.donor_id
        if video.label == 0:
            assert (video.donor_id, video.mask) == (None, None)
    shuffled = list(tree)
    rng.shuffle(shuffled)
    assert discover({path: tree[path] for path in shuffled}) == found
    rng.shuffle(train)
    again = discover(tree | {"train.json": train})
    assert again.videos == found.videos


def test_the_list_is_json_as_published() -> None:
    text = json.dumps([["071", "054"]], indent=2)
    tree = {"splits/val.json": text, FAKE.format("054_071"): b"", FAKE.format("071_054"): b"", REAL.format("071"): b""}
    assert {video.split_official for video in discover(tree).videos} == {"val"}
