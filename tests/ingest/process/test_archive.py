"""Archives of cropped faces: pictures are unchanged, gates use the known measures, each fault is one row."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from semblance.ingest.process.archive import ArchiveJob, process
from semblance.ingest.recipe import parse
from semblance.ingest.run import tasks
from semblance.ingest.sources import source
from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Outcome
from semblance.quality import codec, measures
from semblance.shards.write import check_conservation
from tests.ingest.archives import archive, face, png, write_tree

PNG = {"encoding": {"format": "png"}}


def job(root: Path, values: dict[str, Any] | None = None, listed: tuple[int, ...] = ()) -> ArchiveJob:
    """The job of the single archive below ``root``."""
    discovery = source("wilddeepfake").discover(str(root), storage.walk(str(root)))
    assert len({video.path for video in discovery.videos}) == 1
    return ArchiveJob(
        root=str(root),
        path=discovery.videos[0].path,
        videos=discovery.videos,
        pictures=tuple(discovery.pictures[video.video_id] for video in discovery.videos),
        listed=(listed,) * len(discovery.videos),
        recipe=parse(values or {}, "test"),
    )


def run(root: Path, values: dict[str, Any] | None = None, **more: Any) -> list[Outcome]:
    outcomes = process(job(root, values, **more))
    for outcome in outcomes:
        check_conservation(outcome)
    return list(outcomes)


def run_sequence(root: Path, pictures: dict[str, bytes], values: dict[str, Any] | None = None, **more: Any) -> Outcome:
    """The outcome of one sequence with these pictures."""
    members = {f"1/fake/0/{name}": data for name, data in pictures.items()}
    write_tree(root, {"fake_train/1.tar.gz": archive(members, packed=True)})
    (outcome,) = run(root, values, **more)
    return outcome


@pytest.fixture(scope="module")
def faces() -> dict[str, bytes]:
    """Forty pictures, every 25th frame of a video, in the order of their names and not of time."""
    pictures = {f"{25 * i}.png": png(face(i)) for i in range(40)}
    return dict(sorted(pictures.items()))


def frames(outcome: Outcome) -> list[int]:
    return [sample.row["frame_index"] for sample in outcome.samples]


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({"n": 4}, [125, 375, 625, 875]),
        ({"n": 100}, [25 * i for i in range(40)]),
        ({"mode": "first", "n": 3}, [0, 25, 50]),
        ({"mode": "every", "k": 13}, [0, 325, 650, 975]),
        ({"mode": "clips", "clips": 2, "length": 2, "stride": 2}, [225, 275, 700, 750]),
        ({"mode": "list", "table": "frames.csv"}, [50, 975]),
    ],
)
def test_sampling_counts_existing_pictures_and_rows_have_their_numbers(
    tmp_path: Path, faces: dict[str, bytes], sampling: dict[str, Any], expected: list[int]
) -> None:
    outcome = run_sequence(tmp_path, faces, {"sampling": sampling}, listed=(975, 50, 51))
    assert frames(outcome) == expected
    assert outcome.video["frames_sampled"] == len(expected)
    assert outcome.video["frames_total"] == 40


def test_a_picture_of_the_recipes_size_is_stored_bit_for_bit(tmp_path: Path, faces: dict[str, bytes]) -> None:
    outcome = run_sequence(tmp_path, faces, {"sampling": {"n": 5}} | PNG)
    for sample in outcome.samples:
        original = codec.decode(faces[f"{sample.row['frame_index']}.png"])
        assert np.array_equal(codec.decode(sample.picture), original)
        grey = measures.grey(original)
        assert sample.row["blur"] == measures.blur(grey)
        assert sample.row["brightness"] == measures.brightness(grey)
        assert sample.row["phash"] == measures.phash(original)
        unknowns = ("confidence", "box_x0", "landmarks", "crop_side", "face_ratio", "blur_face")
        for unknown in (*unknowns, "frame_phash", "aligned_phash", "aligned_phash_mirrored"):
            assert sample.row[unknown] is None
        assert (sample.row["track"], sample.row["face_label"], sample.row["time_s"]) == (0, 1, None)
    row = outcome.video
    assert (row["status"], row["codec"], row["width"], row["height"], row["decoder"]) == (
        "ok",
        "png",
        224,
        224,
        "opencv",
    )
    assert row["fps"] is row["duration_s"] is row["has_audio"] is row["guide"] is None


@pytest.mark.parametrize(("side", "size", "seen"), [(224, 96, 224), (224, 380, 224), (160, 224, 160), (500, 224, 224)])
def test_another_size_is_resized_once_and_measured_at_most_at_224(
    tmp_path: Path, side: int, size: int, seen: int
) -> None:
    picture = face(1, side, sigma=1)
    outcome = run_sequence(tmp_path, {"0.png": png(picture)}, {"crop": {"size": size}} | PNG)
    (sample,) = outcome.samples
    assert codec.decode(sample.picture).shape == (size, size, 3)
    assert outcome.video["width"] == side
    if side == seen:
        assert sample.row["blur"] == measures.blur(measures.grey(picture))


def test_gates_judge_only_known_measures(tmp_path: Path) -> None:
    pictures = {"0.png": face(0), "1.png": face(1) // 4, "2.png": face(2, sigma=30), "3.png": face(3, side=40)}
    outcome = run_sequence(tmp_path, {name: png(image) for name, image in pictures.items()})
    assert frames(outcome) == [0, 3]  # 40 px is not rejected: the size of the face in its frame is unknown
    reasons = {rejection.row["frame_index"]: rejection.row["reasons"] for rejection in outcome.rejections}
    assert reasons == {1: ["dark", "blur"], 2: ["blur"]}
    assert all(len(rejection.picture or b"") > 0 for rejection in outcome.rejections)
    assert (outcome.video["width"], outcome.video["height"]) == (None, None)  # the sizes differ
    everything_off = {"gates": {"confidence": 1.0, "min_face": 1e6, "face_ratio": 1.0}}
    assert frames(run_sequence(tmp_path, {"0.png": png(face(0))}, everything_off)) == [0]
    marked = run_sequence(tmp_path, {name: png(image) for name, image in pictures.items()}, {"gates": {"mode": "mark"}})
    assert [sample.row["verdict"] for sample in marked.samples] == ["keep", "dark", "blur", "keep"]


def claimed(width: int, height: int) -> bytes:
    """A PNG whose header claims this size; its data is far too short."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def test_each_unusable_picture_is_a_row_with_its_reason(tmp_path: Path) -> None:
    good = png(face(0))
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    pictures = {
        "0.png": good,
        "1.png": good[:-20],
        "2.png": bytes(flipped),
        "3.png": b"",
        "4.png": b"no picture",
        "5.png": claimed(60_000, 60_000),
        "6.png": claimed(64, 64),
        "7.png": png(np.zeros((10, 20, 3), np.uint8)),
        "8.png": b"\x89PNG\r\n\x1a\n" + good[33:],
    }
    outcome = run_sequence(tmp_path, pictures)
    rows = {rejection.row["frame_index"]: rejection.row for rejection in outcome.rejections}
    assert {index: row["reason"] for index, row in rows.items()} == dict.fromkeys(
        (1, 2, 3, 4, 6, 8), "decode_error"
    ) | {5: "too_large", 7: "not_square"}
    assert (rows[5]["measured"], rows[7]["measured"], rows[7]["limit"]) == (60_000, 20, 10)
    assert {(row["unit"], row["stage"]) for row in rows.values()} == {("frame", "decode")}
    assert frames(outcome) == [0]
    assert outcome.video["status"] == "partial"
    assert "8 of 9 wanted frames" in outcome.video["error"]
    nothing = run_sequence(tmp_path, {"0.png": b"", "1.png": b""})
    assert (nothing.video["status"], nothing.video["frames_failed"]) == ("decode_error", 2)


def test_only_intact_pngs_have_a_size() -> None:
    """A PNG that is cut anywhere or has any byte changed is refused before decoding."""
    data = png(face(0, side=16))
    assert codec.png_size(data) == (16, 16)
    for cut in range(len(data)):
        with pytest.raises(SemblanceError):
            codec.png_size(data[:cut])
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x10
        with pytest.raises(SemblanceError):
            codec.png_size(bytes(changed))


def test_an_empty_sequence_and_its_neighbours(tmp_path: Path) -> None:
    members = {"1/real/0/": b"", "1/real/1/0.png": png(face(0))}
    write_tree(tmp_path, {"real_train/1.tar.gz": archive(members)})
    empty, full = run(tmp_path)
    assert (empty.video["status"], full.video["status"]) == ("empty", "ok")
    assert "no picture" in empty.video["error"]


def test_sequences_of_a_damaged_archive_keep_their_readable_pictures(tmp_path: Path) -> None:
    members = {f"1/real/{i}/{j}.png": png(face(10 * i + j, 64)) for i in range(3) for j in range(4)}
    data = archive(members)
    path = write_tree(tmp_path, {"real_train/1.tar.gz": data}) / "real_train/1.tar.gz"
    work = job(tmp_path)
    path.write_bytes(data[: data.index(b"1/real/1/2.png") + 700])  # cut after planning, inside a picture
    first, second, third = process(work)
    assert [outcome.video["status"] for outcome in (first, second, third)] == ["partial", "partial", "decode_error"]
    assert all("cut short" in outcome.video["error"] for outcome in (first, second, third))
    assert (frames(first), frames(second), frames(third)) == ([0, 1, 2, 3], [0, 1], [])
    assert [len(outcome.rejections) for outcome in (first, second, third)] == [0, 2, 4]


def test_members_that_are_outside_or_duplicated_are_not_read(tmp_path: Path) -> None:
    first, second = png(face(1)), png(face(2))
    members = [("1/real/0/0.png", first), ("1/real/0/0.png", second), ("../1/real/0/1.png", second)]
    write_tree(tmp_path, {"real_train/1.tar.gz": archive(members)})
    (outcome,) = run(tmp_path, PNG)
    (sample,) = outcome.samples
    assert np.array_equal(codec.decode(sample.picture), face(1))


def test_an_archive_is_opened_once_for_all_its_sequences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {f"1/real/{i}/{j}.png": png(face(j, 64)) for i in range(5) for j in range(3)}
    write_tree(tmp_path, {"real_train/1.tar.gz": archive(members, packed=True)})
    work = job(tmp_path)
    opened = []
    reading = storage.reading
    monkeypatch.setattr(storage, "reading", lambda url: opened.append(url) or reading(url))  # type: ignore[func-returns-value]
    assert [len(outcome.samples) for outcome in process(work)] == [3] * 5
    assert len(opened) == 1


def test_an_object_store_gives_the_same(tmp_path: Path) -> None:
    members = {f"1/real/{i}/{j}.png": png(face(j, 64)) for i in range(2) for j in range(3)}
    data = archive(members, packed=True)
    write_tree(tmp_path, {"real_train/1.tar.gz": data})
    store = fsspec.filesystem("memory")
    store.pipe_file("/precut/real_train/1.tar.gz", data)
    local = job(tmp_path)
    remote = replace(local, root="memory://precut")
    for left, right in zip(process(local), process(remote), strict=True):
        assert len(left.samples) == 3
        assert [(s.row, s.picture) for s in left.samples] == [(s.row, s.picture) for s in right.samples]


def test_sequence_by_sequence_gives_the_same(tmp_path: Path, faces: dict[str, bytes]) -> None:
    """The fallback after a fault does the same work."""
    members = {f"1/real/{i}/{name}": data for i in range(3) for name, data in list(faces.items())[i::7]}
    write_tree(tmp_path, {"real_train/1.tar.gz": archive(members)})
    work = job(tmp_path, {"sampling": {"n": 4}})
    together = process(work)
    alone = [outcome for part in work.per_sequence() for outcome in process(part)]
    for left, right in zip(together, alone, strict=True):
        assert [(s.row, s.picture) for s in left.samples] == [(s.row, s.picture) for s in right.samples]
        times = {"seconds_decode": 0, "seconds_detect": 0, "seconds_total": 0}
        assert dict(left.video) | times == dict(right.video) | times


def test_an_exceeded_limit_is_the_status_of_each_sequence(tmp_path: Path) -> None:
    picture = png(face(0, side=1600))  # many enough that the parent checks while the child still works
    members = {f"1/real/{i}/{j}.png": picture for i in range(2) for j in range(8)}
    write_tree(tmp_path, {"real_train/1.tar.gz": archive(members)})
    outcomes = tasks.run_archive(job(tmp_path, {"limits": {"cpu_seconds": 0.01}}))
    assert [outcome.video["status"] for outcome in outcomes] == ["timeout", "timeout"]
    assert [outcome.video["member"] for outcome in outcomes] == ["1/real/0", "1/real/1"]
