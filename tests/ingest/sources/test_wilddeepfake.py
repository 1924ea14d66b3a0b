"""WildDeepfake's layout: archives listed without unpacking; every sequence has one place, every oddity is counted."""

from __future__ import annotations

import random
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.ingest.sources import source
from semblance.ingest.sources.base import Discovery, SourceConfig
from semblance.ingest.sources.wilddeepfake import in_order
from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Video
from semblance.manifests.splits import DatasetTraits, SplitConfig, assign, plan_frame
from semblance.shards.tar import ArchiveConfig
from tests.ingest.archives import archive, bomb, entry, write_tree
from tests.ingest.trees import discover as discover_tree
from tests.ingest.trees import kinds


def discover(tree: Mapping[str, bytes], config: ArchiveConfig | None = None) -> Discovery:
    return discover_tree("wilddeepfake", tree, SourceConfig(archive=config or ArchiveConfig()))


def sequence(folder: str, *numbers: int) -> dict[str, bytes]:
    return {f"{folder}/{number}.png": b"picture" for number in numbers}


ONE = archive(sequence("1/real/0", 10, 9, 0) | sequence("1/real/1", 5), packed=True)


@pytest.mark.parametrize("folder", ["real_train", "real train", "Real-Train", "a/deepfake_in_the_wild/real_train"])
@pytest.mark.parametrize("name", ["1.tar.gz", "1.TAR.GZ", "1.tgz", "1.tar"])
def test_layout(folder: str, name: str, tmp_path: Path) -> None:
    """The folder's spelling and the archive's suffix tell nothing else: a .tar.gz is often a plain tar."""
    write_tree(tmp_path, {f"{folder}/{name}": ONE})
    found = source("wilddeepfake").discover(str(tmp_path), storage.walk(str(tmp_path)))
    first, second = found.videos
    assert (first.video_id, first.path, first.member) == ("wilddeepfake-real_train-1-0", f"{folder}/{name}", "1/real/0")
    assert (first.label, first.method, first.part, first.split_official) == (0, "pristine", "real_train", "train")
    assert (first.bytes, second.bytes) == (21, 7)
    assert first.family_id == second.family_id == "wilddeepfake-real_train-1"
    assert first.target_id is first.recording_id is None
    assert found.pictures == {
        "wilddeepfake-real_train-1-0": ((0, "0.png"), (9, "9.png"), (10, "10.png")),
        "wilddeepfake-real_train-1-1": ((5, "5.png"),),
    }
    assert not found.findings
    info = source("wilddeepfake").info
    assert (info.paired, info.val_from_train) == (False, True)
    assert dict(found.facts) == {"pictures in the sequences": 4}


@pytest.mark.parametrize("start", ["", "./", "1/", "./7/"])
@pytest.mark.parametrize("packed", [False, True])
def test_members_may_begin_in_several_ways_and_folders_may_have_entries(start: str, packed: bool) -> None:
    inside = {f"{start}fake/": b"", f"{start}fake/3/": b""} | sequence(f"{start}fake/3", 2, 1)
    found = discover({"fake_test/1.tar.gz": archive(inside, packed=packed)})
    (video,) = found.videos
    assert (video.video_id, video.label, video.method) == ("wilddeepfake-fake_test-1-3", 1, None)
    assert video.member == f"{start.removeprefix('./')}fake/3"
    assert not found.findings


def test_shard_and_sequence_numbers_repeat_in_the_four_folders() -> None:
    tree = {
        f"{label}_{split}/{shard}.tar.gz": archive(sequence(f"{shard}/{label}/0", 1))
        for label in ("real", "fake")
        for split in ("train", "test")
        for shard in (0, 1)
    }
    found = discover(tree)
    assert len({video.video_id for video in found.videos}) == len(found.videos) == 8
    assert len({video.family_id for video in found.videos}) == 8


def test_two_folders_of_one_name_in_one_archive_are_two_sequences() -> None:
    found = discover({"real_train/1.tar.gz": archive(sequence("1/real/0", 1) | sequence("2/real/0", 1))})
    ids = [video.video_id for video in found.videos]
    assert len(set(ids)) == 2
    assert all(name.startswith("wilddeepfake-real_train-1-") and name[-9] == "-" for name in ids)


def test_one_id_for_two_archives_is_refused() -> None:
    with pytest.raises(SemblanceError, match="would both be video"):
        discover({"real_train/1.tar.gz": ONE, "real train/1.tar.gz": ONE})


def test_the_archives_folder_wins_over_the_label_inside() -> None:
    inside = sequence("1/fake/0", 1) | sequence("1/real/1", 1) | sequence("1/fake/2", 1)
    found = discover({"real_train/1.tar.gz": archive(inside)})
    assert {video.label for video in found.videos} == {0}
    (finding,) = found.findings
    assert (finding.path, finding.kind) == ("real_train/1.tar.gz", "label_disagrees")
    assert "2 of its sequences are in a folder fake" in finding.reason


def test_a_folder_without_pictures_is_an_empty_sequence() -> None:
    found = discover(
        {"real_train/1.tar.gz": archive({"1/": b"", "1/real/": b"", "1/real/7/": b"", "1/real/8/0.png": b""})}
    )
    assert [video.member for video in found.videos] == ["1/real/7", "1/real/8"]
    assert found.pictures["wilddeepfake-real_train-1-7"] == ()
    assert ("sequences without a picture", 1) in found.facts


@given(st.lists(st.integers(0, 3000), unique=True, max_size=30), st.randoms())
@settings(max_examples=50)
def test_pictures_stand_in_the_order_of_their_numbers(numbers: list[int], draw: random.Random) -> None:
    names = [f"{number}.png" for number in numbers]
    draw.shuffle(names)
    assert in_order(names) == tuple((number, f"{number}.png") for number in sorted(numbers))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["2.png", "x.png", "10.png"], ["2.png", "10.png", "x.png"]),  # a name without a number
        (["7.png", "007.png", "1.png"], ["1.png", "007.png", "7.png"]),  # one number twice
        (["9999999999.png", "1.png"], ["1.png", "9999999999.png"]),  # no frame has such a number
        (["-1.png", "٣.png"], ["-1.png", "٣.png"]),
    ],
)
def test_without_numbers_of_their_own_they_are_counted_through(names: list[str], expected: list[str]) -> None:
    assert in_order(names) == tuple(enumerate(expected))
    found = discover({"real_train/1.tar.gz": archive({f"1/real/0/{name}": b"" for name in names})})
    assert ("sequences whose pictures have no distinct numbers (numbered consecutively instead)", 1) in found.facts


HOSTILE = archive(
    [
        ("1/real/0/0.png", b"1"),
        (entry("/abs/real/0/1.png"), b"2"),
        (entry("../../real/0/2.png"), b"3"),
        (entry("1/real/0/../0/3.png"), b"3"),
        (entry("1/real/0/" + "n" * 10_000 + ".png"), b"4"),
        (entry("1/real/0/5.png", tarfile.SYMTYPE, link="/etc/passwd"), b""),
        (entry("1/real/0/6.png", tarfile.LNKTYPE, link="1/real/0/0.png"), b""),
        (entry("1/real/0/7.png", tarfile.CHRTYPE), b""),
        (entry("1/real/0/\udcff.png"), b"5"),
        ("1/real/0/0.png", b"again"),
        ("./1/real/0/0.png", b"and again"),
        ("1/real/0/notes.txt", b"text"),
        ("1/real/0/._8.png", b"by macOS"),
        ("__MACOSX/1/real/0/9.png", b"by macOS"),
        ("10.png", b"in no folder"),
        ("1/real/0/\x1b[2J.png", b"steers a terminal"),
        ("1/real/0/11.png", b"6"),
    ]
)


def test_what_is_hostile_is_passed_over_and_counted() -> None:
    found = discover({"real_train/1.tar.gz": HOSTILE})
    (video,) = found.videos
    assert found.pictures[video.video_id] == ((0, "0.png"), (1, "11.png"), (2, "\x1b[2J.png"))
    reasons = sorted((finding.kind, finding.reason.split("; the first is")[0]) for finding in found.findings)
    assert reasons == [
        ("doubled_member", "2 members skipped: its name occurred before; the first counts"),
        ("other", "2 members skipped: hidden, or a by-product of macOS"),
        ("other", "2 members skipped: not a .png file in a sequence's folder"),
        ("refused_member", "1 member skipped: it is a device or another special file"),
        ("refused_member", "1 member skipped: its name has more than 1000 characters"),
        ("refused_member", "1 member skipped: its name is absolute"),
        ("refused_member", "1 member skipped: its name is not UTF-8"),
        ("refused_member", "2 members skipped: it is a link"),
        ("refused_member", "2 members skipped: its name contains .."),
    ]
    assert all(len(finding.reason) < 400 and finding.reason.isprintable() for finding in found.findings)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is not a tar archive"),
        (b"<html>please log in</html>", "it is not a tar archive"),
        (ONE[: len(ONE) // 2], "it is cut short"),
        (bomb(200), "it unpacks to more than 20 times its size"),
    ],
)
def test_an_unreadable_archive_is_a_finding_beside_the_others(data: bytes, why: str) -> None:
    found = discover({"real_train/1.tar.gz": data, "fake_train/1.tar.gz": archive(sequence("1/fake/0", 1))})
    assert {video.path for video in found.videos} >= {"fake_train/1.tar.gz"}
    bad = next(finding for finding in found.findings if finding.kind == "bad_archive")
    assert (bad.path, bad.reason.startswith(why)) == ("real_train/1.tar.gz", True)


def test_what_a_damaged_archive_holds_before_its_fault_is_planned() -> None:
    plain = archive(sequence("1/real/0", 1, 2) | sequence("1/real/1", 1, 2))
    found = discover({"real_train/1.tar.gz": plain[:2100]})  # cut in the third header
    assert [video.member for video in found.videos] == ["1/real/0"]
    assert "planned" in found.findings[0].reason


def test_limits_are_the_recipes() -> None:
    many = {"real_train/1.tar.gz": archive(sequence("1/real/0", *range(9)))}
    found = discover(many, ArchiveConfig(members=4))
    assert len(found.pictures["wilddeepfake-real_train-1-0"]) == 4
    assert kinds(found) == [("real_train/1.tar.gz", "bad_archive")]
    with pytest.raises(SemblanceError, match="larger than 3 bytes"):
        discover(many, ArchiveConfig(member_bytes=3))


def test_without_archives_or_sequences_it_refuses_in_one_sentence() -> None:
    with pytest.raises(SemblanceError, match="do not unpack the archives"):
        discover({"real_train/1/real/0/0.png": b"", "elsewhere/1.tar.gz": ONE})
    with pytest.raises(SemblanceError, match="has a sequence of pictures"):
        discover({"real_train/1.tar.gz": archive({"readme.txt": b"hello"})})


@given(st.randoms())
@settings(max_examples=20)
def test_order_of_files_changes_nothing_and_every_file_has_its_place(draw: random.Random) -> None:
    tree = {
        "real_train/1.tar.gz": ONE,
        "real train/2.tar.gz": archive(sequence("2/real/0", 1)),
        "fake_test/1.tar.gz": b"junk",
        "readme.md": b"text",
        "real_train/.DS_Store": b"",
    }
    names = list(tree)
    draw.shuffle(names)
    found, same = discover({name: tree[name] for name in names}), discover(tree)
    assert (found.videos, found.findings, found.pictures) == (same.videos, same.findings, same.pictures)
    placed = {video.path for video in found.videos} | {finding.path for finding in found.findings}
    assert placed == tree.keys()


def test_val_is_cut_from_train_by_whole_archives_with_both_labels() -> None:
    draw = random.Random(4)
    tree = {
        f"{label}_{split}/{shard}.tar.gz": archive(
            {name: b"" for number in range(draw.randint(1, 6)) for name in sequence(f"{shard}/{label}/{number}", 1)}
        )
        for label in ("real", "fake")
        for split, shards in (("train", 7), ("test", 2))
        for shard in range(shards)
    }
    found = discover(tree)
    traits = DatasetTraits(paired=False, val_from_train=True)
    assigned = assign(plan_frame(found.videos), SplitConfig(fractions=(0.8, 0.1, 0.1)), 0, traits)
    assert assigned.protocol == "official"
    splits_of: dict[str, set[str]] = {}
    labels: dict[str, set[int]] = {}
    published: dict[str, Video] = {video.video_id: video for video in found.videos}
    for row in assigned.table.iter_rows(named=True):
        splits_of.setdefault(row["path"], set()).add(row["split"])
        labels.setdefault(row["split"], set()).add(row["label"])
        was = published[row["video_id"]].split_official
        assert (row["split"] == "test") == (was == "test")
        assert row["split_family"] is row["split_identity"] is row["split_method"] is None
    assert all(len(splits) == 1 for splits in splits_of.values())
    assert labels == {"train": {0, 1}, "val": {0, 1}, "test": {0, 1}}
