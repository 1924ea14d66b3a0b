"""The preview's layout, its people and pairs; every file has one place, every contradiction is counted."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.ingest.sources import SOURCES
from semblance.ingest.sources.base import Discovery
from semblance.manifests.errors import SemblanceError
from semblance.manifests.splits import DatasetTraits, SplitConfig, assign, plan_frame
from tests.ingest.trees import by_path, escaped, kinds, places
from tests.ingest.trees import discover as discover_tree

REAL_KEY = "original_videos/1003254/1003254_A_001"
FAKE_KEY = "method_A/1003254/1003254_A/1255229_1003254_A_001.mp4"
REAL = {"label": "real", "set": "train", "augmentations": [], "target_id": 1003254, "swapped_id": None}
FAKE = {"label": "fake", "set": "train", "augmentations": [], "target_id": 1003254, "swapped_id": 1255229}


def discover(tree: Mapping[str, object]) -> Discovery:
    return discover_tree("dfdc-preview", tree)


def row_notes(found: Discovery) -> list[str]:
    return [finding.reason for finding in found.findings if finding.kind == "bad_row"]


@pytest.mark.parametrize("folder", ["", "dfdc_preview_set/", "a/b/"])
@pytest.mark.parametrize("suffix", ["", ".mp4"])
def test_layout(folder: str, suffix: str) -> None:
    found = discover(
        {
            f"{folder}dataset.json": {REAL_KEY + suffix: REAL, FAKE_KEY: FAKE},
            f"{folder}{REAL_KEY}.mp4": b"1",
            f"{folder}{FAKE_KEY}": b"22",
        }
    )
    fake, real = found.videos
    assert (real.video_id, fake.video_id) == (
        "dfdc_preview-original_videos-1003254_A_001",
        "dfdc_preview-method_A-1255229_1003254_A_001",
    )
    assert (real.label, real.method, real.bytes, real.part) == (0, "pristine", 1, "original_videos")
    assert (fake.label, fake.method, fake.bytes, fake.part) == (1, "method_A", 2, "method_A")
    assert fake.family_id == real.family_id == real.video_id
    assert (real.target_id, real.donor_id) == ("dfdc_preview-1003254", None)
    assert (fake.target_id, fake.donor_id) == ("dfdc_preview-1003254", "dfdc_preview-1255229")
    assert {video.split_official for video in found.videos} == {"train"}
    assert kinds(found) == [(f"{folder}dataset.json", "metadata")]
    assert [(line.what, line.found, line.full) for line in found.coverage] == [
        ("real videos", 1, 1131),
        ("fake videos", 1, 4119),
        ("people", 2, 66),
    ]
    assert SOURCES["dfdc-preview"].info.val_from_train
    assert SOURCES["dfdc-preview"].info.paired
    assert found.facts == ()


def full_set(seed: int) -> tuple[dict[str, dict[str, object]], dict[str, tuple[str, str]]]:
    """Invented rows in the full set's numbers, and key -> (target, donor) as they were drawn."""
    rng = random.Random(seed)
    people = rng.sample(range(100_000, 2_000_000), 66)
    split = {one: "test" if place < 12 else "train" for place, one in enumerate(people)}
    rows: dict[str, dict[str, object]] = {}
    truth: dict[str, tuple[str, str]] = {}
    reals = []
    for number in range(1131):
        one = people[number % 66]
        stem = f"{one}_{'ABC'[number % 3]}_{number:03d}"
        reals.append((one, stem))
        rows[f"original_videos/{one}/{stem}.mp4"] = REAL | {"target_id": one, "set": split[one]}
        truth[f"original_videos/{one}/{stem}.mp4"] = (str(one), "")
    number = 0
    while len(rows) < 1131 + 4119:
        target, stem = reals[number % 1131]
        donor = rng.choice([one for one in people if split[one] == split[target] and one != target])
        number += 1
        key = f"method_{'AB'[number % 2]}/{target}/{stem.rsplit('_', 1)[0]}/{donor}_{stem}.mp4"
        rows[key] = FAKE | {"target_id": target, "swapped_id": donor, "set": split[target]}
        truth[key] = (str(target), str(donor))
    return rows, truth


def test_full_set_is_paired_and_people_stay_apart() -> None:
    rows, truth = full_set(1)
    found = discover({"dataset.json": rows, **dict.fromkeys(rows, b"")})
    assert [line.found for line in found.coverage] == [line.full for line in found.coverage] == [1131, 4119, 66]
    videos = by_path(found)
    assert videos.keys() == rows.keys()
    stems = {key.rsplit("/", 1)[1] for key in rows if key.startswith("original_videos/")}
    for key, (target, donor) in truth.items():
        video = videos[key]
        assert (video.target_id, video.donor_id) == (
            f"dfdc_preview-{target}",
            f"dfdc_preview-{donor}" if donor else None,
        )
        if donor:
            real = key.rsplit("/", 1)[1].removeprefix(f"{donor}_")
            assert real in stems
            assert video.family_id == videos[f"original_videos/{target}/{real}"].video_id
    traits = DatasetTraits(basis="person", val_from_train=True)
    table = assign(plan_frame(found.videos), SplitConfig(fractions=(0.8, 0.1, 0.1)), 0, traits).table
    assert set(table["split_official"]) == {"train", "val", "test"}
    assigned: dict[str, set[str]] = {}
    for target, donor, split in table.select("target_id", "donor_id", "split_identity").iter_rows():
        for person in (target, donor):
            if person and split:
                assigned.setdefault(person, set()).add(split)
    assert len(assigned) == 66
    assert all(len(one) == 1 for one in assigned.values())


def test_rows_without_files_and_files_without_rows() -> None:
    rows = {REAL_KEY: REAL, FAKE_KEY: FAKE}
    other = "method_B/1003254/1003254_A/1255229_1003254_A_001.mp4"
    found = by_path(discover({"dataset.json": rows, other: b"3"}))
    assert {path: video.fault for path, video in found.items()} == {
        f"{REAL_KEY}.mp4": "missing",
        FAKE_KEY: "missing",
        other: "unlabelled",
    }
    assert found[other].label is None
    assert found[other].method is None
    assert len({video.family_id for video in found.values()}) == 1


def test_absent_and_unlabelled_originals_are_counted() -> None:
    facts = dict(discover({"dataset.json": {FAKE_KEY: FAKE}, FAKE_KEY: b""}).facts)
    assert facts == {"fakes whose original is not on disk (detected without a guide)": 1}
    facts = dict(discover({"dataset.json": {FAKE_KEY: FAKE}, FAKE_KEY: b"", f"{REAL_KEY}.mp4": b""}).facts)
    assert facts == {"fakes whose original has no label (detected without a guide)": 1}
    facts = dict(discover({"dataset.json": {"method_A/odd.mp4": {"label": "fake"}}, "method_A/odd.mp4": b""}).facts)
    assert facts == {
        "fakes without an original in their name (each is its own family)": 1,
        "videos without a set": 1,
    }


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5, "is not an object"),
        ([], "is not an object"),
        ({}, "has no label"),
        ({"label": "MAYBE"}, "neither real nor fake"),
        ({"label": 1}, "neither real nor fake"),
        ({"label": ["fake"]}, "neither real nor fake"),
        (REAL, "is labelled real, but is in method_A"),
    ],
)
def test_bad_row_leaves_its_file_unlabelled(value: object, words: str) -> None:
    found = discover({"dataset.json": {FAKE_KEY: value, REAL_KEY: REAL}, FAKE_KEY: b"", f"{REAL_KEY}.mp4": b""})
    assert {video.path: video.fault for video in found.videos} == {FAKE_KEY: "unlabelled", f"{REAL_KEY}.mp4": None}
    assert any(words in reason for reason in row_notes(found))


def test_an_original_that_is_called_a_fake_is_not_trusted() -> None:
    found = discover({"dataset.json": {FAKE_KEY: FAKE, REAL_KEY: FAKE}, FAKE_KEY: b"", f"{REAL_KEY}.mp4": b""})
    assert by_path(found)[f"{REAL_KEY}.mp4"].fault == "unlabelled"
    assert by_path(found)[FAKE_KEY].label == 1
    assert any("is labelled fake, but is in original_videos" in reason for reason in row_notes(found))


@pytest.mark.parametrize(
    ("change", "words", "expected"),
    [
        ({"target_id": 7}, "'7' differs from the 1003254 in its name", (None, "dfdc_preview-1255229", "train")),
        ({"swapped_id": "7"}, "'7' differs from the 1255229", ("dfdc_preview-1003254", None, "train")),
        ({"target_id": None, "swapped_id": None}, "", ("dfdc_preview-1003254", "dfdc_preview-1255229", "train")),
        ({"target_id": "01003254"}, "", ("dfdc_preview-1003254", "dfdc_preview-1255229", "train")),
        ({"target_id": {}}, "not a number", ("dfdc_preview-1003254", "dfdc_preview-1255229", "train")),
        ({"target_id": True}, "not a number", ("dfdc_preview-1003254", "dfdc_preview-1255229", "train")),
        ({"set": "val"}, "neither train nor test", ("dfdc_preview-1003254", "dfdc_preview-1255229", None)),
        ({"set": 3}, "neither train nor test", ("dfdc_preview-1003254", "dfdc_preview-1255229", None)),
        ({"augmentations": 3}, "not a list", ("dfdc_preview-1003254", "dfdc_preview-1255229", "train")),
    ],
)
def test_what_is_odd_beside_the_label_is_said(
    change: dict[str, object], words: str, expected: tuple[str | None, str | None, str | None]
) -> None:
    found = discover({"dataset.json": {FAKE_KEY: FAKE | change}, FAKE_KEY: b""})
    (video,) = found.videos
    assert (video.target_id, video.donor_id, video.split_official) == expected
    assert video.label == 1
    assert bool(row_notes(found)) == bool(words)
    assert all(words in reason for reason in row_notes(found))


def test_names_that_stand_twice() -> None:
    same, other = json.dumps(FAKE), json.dumps(FAKE | {"set": "test"})
    for second, label in ((same, 1), (other, None)):
        for name in (FAKE_KEY, FAKE_KEY.removesuffix(".mp4")):
            text = f'{{"{FAKE_KEY}": {same}, "{name}": {second}}}'
            found = discover({"dataset.json": text, FAKE_KEY: b""})
            assert [video.label for video in found.videos] == [label]
            assert len(row_notes(found)) == 1
    text = f'{{"{FAKE_KEY}": {{"label": "fake", "label": "fake"}}}}'
    assert discover({"dataset.json": text, FAKE_KEY: b""}).videos[0].fault == "unlabelled"


def test_of_two_places_of_a_missing_video_the_first_is_named() -> None:
    rows = {f"copy/{FAKE_KEY}": FAKE, FAKE_KEY: FAKE, REAL_KEY: REAL}
    for entries in (rows, dict(reversed(rows.items()))):
        found = discover({"dataset.json": entries, f"{REAL_KEY}.mp4": b""})
        assert [video.path for video in found.videos if video.fault] == [f"copy/{FAKE_KEY}"]


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../b", "a//b", "a\\b", "a\nb", ".a", "", "a/\ud800", "a\x00"])
def test_bad_name_plans_nothing(name: str) -> None:
    found = discover({"dataset.json": {name: FAKE, FAKE_KEY: FAKE}, FAKE_KEY: b""})
    assert [video.path for video in found.videos] == [FAKE_KEY]
    assert "is not a plain path" in row_notes(found)[0]


@pytest.mark.parametrize("content", ["", "{", "[]", "3", b"\xff\xfe", "[" * 200_000, '{"a":' * 100_000])
def test_unreadable_metadata(content: str | bytes) -> None:
    found = discover({"dataset.json": content, "b/dataset.json": {FAKE_KEY: FAKE}, f"b/{FAKE_KEY}": b""})
    assert [video.label for video in found.videos] == [1]
    assert ("dataset.json", "unreadable_metadata") in kinds(found)
    with pytest.raises(SemblanceError, match="is readable"):
        discover({"dataset.json": content, FAKE_KEY: b""})


def test_nothing_usable_is_refused() -> None:
    with pytest.raises(SemblanceError, match="No mp4"):
        discover({"dataset.json": {}})
    with pytest.raises(SemblanceError, match="is readable"):
        discover({FAKE_KEY: b""})
    with pytest.raises(SemblanceError, match="would both be"):
        discover({"dataset.json": {}, FAKE_KEY: b"", f"copy/{FAKE_KEY}": b""})


TOPS = st.sampled_from(["original_videos", "method_A", "method_B", "x-y", "copy/method_A", ".hidden", ""])
STEMS = st.sampled_from(["1_A_001", "2_A_001", "2_1_A_001", "3_1_A_001", "1_2_A_001", "odd", "n\udcff", "e f", "._1"])
PATHS = st.tuples(TOPS, STEMS, st.sampled_from([".mp4", ".MP4", "", ".txt"])).map(
    lambda parts: f"{parts[0]}/{parts[1]}{parts[2]}".lstrip("/")
)
VALUES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"label": st.sampled_from(["real", "fake", "FAKE", "?", 1, None])},
    optional={
        "set": st.sampled_from(["train", "test", "val", 0, None]),
        "target_id": st.sampled_from([1, 2, "1", -1, None, [], 10**20]),
        "swapped_id": st.sampled_from([1, 2, 3, None, "x"]),
        "augmentations": st.sampled_from([[], ["fps"], None, 3]),
    },
) | st.sampled_from([None, 3, [], {}])
ROWS = st.dictionaries(PATHS, VALUES, max_size=8)


@settings(deadline=None, max_examples=200)
@given(st.sets(PATHS), ROWS, ROWS, st.randoms(use_true_random=False))
def test_law_every_file_has_one_place(
    files: set[str], rows: dict[str, object], more: dict[str, object], rng: random.Random
) -> None:
    tree: dict[str, object] = dict.fromkeys(sorted(files), b"")
    tree |= {"dataset.json": rows, "z/dataset.json": more, "method_Z/z.mp4": b""}
    try:
        found = discover(tree)
    except SemblanceError as error:
        if "would both be video" not in str(error):
            raise
        return
    assert places(found) == dict.fromkeys(map(escaped, tree), 1)
    assert not {video.path for video in found.videos if video.fault == "missing"} & tree.keys()
    assert len({video.video_id for video in found.videos}) == len(found.videos)
    assert all((video.label is None) == (video.fault == "unlabelled") for video in found.videos)
    shuffled = list(tree)
    rng.shuffle(shuffled)
    assert discover({path: tree[path] for path in shuffled}) == found
    entries = list(rows.items())
    rng.shuffle(entries)
    assert discover(tree | {"dataset.json": dict(entries)}) == found
