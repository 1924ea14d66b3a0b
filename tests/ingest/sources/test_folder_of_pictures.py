"""Folders of pictures are videos: the same frames give the same crops, and no picture is a frame by guess."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import fsspec
import numpy as np
import polars as pl
import pytest

from semblance import manifests
from semblance.ingest import plan
from semblance.ingest.detector.door import Detector
from semblance.ingest.process.video import Job, process
from semblance.ingest.recipe import Recipe, parse
from semblance.ingest.sources.base import SourceConfig
from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.quality import video
from tests.conftest import Run
from tests.ingest import in_process
from tests.ingest.trees import by_path, discover, kinds

FRAMES = 12


def test_folders_are_videos_and_their_pictures_frames() -> None:
    files = {
        "real/v1/frame_2.png": b"1",
        "real/v1/frame_10.png": b"22",
        "real/v1/notes.txt": b"",
        "fake/swap/v1/1.JPG": b"333",
        "fake/swap/deep/er/v.2/1.jpeg": b"",
        "fake/v3/1.png": b"",
        "test/real/v4/1.png": b"",
        "real/clip.mp4": b"",
        "docs/figure.png": b"",
    }
    found = discover("folder", files)
    videos = by_path(found)
    assert {path: (one.label, one.method, one.split_official, one.bytes) for path, one in videos.items()} == {
        "real/v1": (0, "pristine", None, 3),
        "real/clip.mp4": (0, "pristine", None, 0),
        "fake/swap/v1": (1, "swap", None, 3),
        "fake/swap/deep/er/v.2": (1, "swap", None, 0),
        "fake/v3": (1, None, None, 0),
        "test/real/v4": (0, "pristine", "test", 0),
    }
    assert videos["fake/swap/v1"].family_id == videos["real/v1"].family_id
    assert kinds(found) == [("docs/figure.png", "other"), ("real/v1/notes.txt", "other")]
    facts = dict(found.facts)
    assert facts["folders of pictures, each read as a video of 1 to 2 frames in the order of their names"] == 5
    assert sum(count for fact, count in facts.items() if fact.startswith("pictures that are not read")) == 1


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (("real/1.png", "train/fake/2.jpg", "real/train/3.png"), "a picture that is in no folder of its own video"),
        (("fake/swap/x.mp4", "fake/swap/cover.jpg"), "a picture beside videos"),
        (
            ("real/v/1.png", "real/v/mask/1.png", "real/v/mask/deep/1.png"),
            "a picture in a folder that has pictures and also folders of pictures",
        ),
    ],
)
def test_pictures_of_unknown_videos_are_counted_and_not_read(files: tuple[str, ...], reason: str) -> None:
    tree = dict.fromkeys(["real/sound/1.png", *files], b"")
    found = discover("folder", tree)
    pictures = [path for path in files if not path.endswith(".mp4")]
    assert set(by_path(found)) == {"real/sound", *files} - set(pictures)
    assert [(one.path, one.reason) for one in found.findings] == [(path, reason) for path in sorted(pictures)]
    assert [(f"pictures that are not read ({reason}; " in fact, count) for fact, count in found.facts][-1] == (
        True,
        len(pictures),
    )
    if len(pictures) == len(files):
        with pytest.raises(SemblanceError, match="has a label") as error:
            discover("folder", dict.fromkeys(pictures, b""))
        assert f"; pictures that are not read ({reason}; " in str(error.value)


def test_a_table_lists_folders_of_pictures() -> None:
    rows = "path,label,original\nframes/a,0,\nframes/b/,1,a\nclip,0,\n"
    files = ["frames/a/1.png", "frames/b/1.jpg", "frames/b/2.jpg", "frames/c/1.png", "clip.mp4"]
    found = discover("folder", {"t.csv": rows, **dict.fromkeys(files, b"1")}, SourceConfig(table="t.csv"))
    videos = by_path(found)
    assert {path: (one.label, one.bytes, one.fault) for path, one in videos.items()} == {
        "frames/a": (0, 1, None),
        "frames/b": (1, 2, None),
        "clip.mp4": (0, 1, None),
    }
    assert videos["frames/b"].family_id == videos["frames/a"].family_id
    assert kinds(found) == [("frames/c/1.png", "other"), ("t.csv", "metadata")]


# the real thing -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first frames of an original of the demo and of its fake, as videos and as pictures of the same pixels."""
    folder = tmp_path_factory.mktemp("frames")
    videos = plan.make("dfdc", str(demo)).videos
    fake = next(one for one in videos if one.label == 1)
    real = next(one for one in videos if one.label == 0 and one.family_id == fake.family_id)
    for name, source in (("real", real), ("fake/swap", fake)):
        target = folder / name / "v"
        target.mkdir(parents=True)
        shutil.copy(demo / source.path, target.with_suffix(".mp4"))
        for frame in video.frames(str(demo / source.path), range(FRAMES), decoder="pyav"):
            cv2.imwrite(str(target / f"{frame.index}.png"), cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
    return folder


def recipe(**more: object) -> Recipe:
    return parse({"sampling": {"mode": "first", "n": FRAMES}, "gates": {"mode": "mark"}} | more, "test")


def test_pictures_give_the_crops_of_their_video(root: Path, tmp_path: Path) -> None:
    """Also of a guided fake: the pictures of its original are its guide."""
    out = str(tmp_path / "out")
    split = tmp_path / "root"
    for kind in ("real", "fake/swap"):  # families of their own, or the videos would guide the pictures
        (split / kind).mkdir(parents=True)
        (split / kind / "pictures").symlink_to(root / kind / "v")
        (split / kind / "film.mp4").symlink_to(root / kind / "v.mp4")
    planned = plan.make("folder", str(split), recipe(source={"fps": 50.0}))
    in_process.build(planned, out)
    videos = manifests.scan(out, "videos").collect()
    paths = {"real/pictures", "real/film.mp4", "fake/swap/pictures", "fake/swap/film.mp4"}
    assert set(videos["path"]) == paths
    assert set(videos["status"]) == {"ok"}
    guided = dict(videos.select("path", "guide").rows())
    assert guided["fake/swap/pictures"] == guided["fake/swap/film.mp4"] == "original"
    pictures = videos.filter(pl.col("path") == "real/pictures").row(0, named=True)
    film = videos.filter(pl.col("path") == "real/film.mp4").row(0, named=True)
    assert (pictures["decoder"], pictures["codec"], pictures["frames_total"]) == ("opencv", "png", FRAMES)
    assert (pictures["fps"], pictures["duration_s"]) == (50.0, FRAMES / 50)
    assert (pictures["width"], pictures["height"]) == (film["width"], film["height"])
    samples = manifests.scan(out).collect().join(videos.select("video_id", "path"), on="video_id")
    for kind in ("real", "fake/swap"):
        one, other = (
            samples.filter(pl.col("path") == f"{kind}/{name}")
            .select("frame_index", "track", "sha256", "change_peak", "blur", "face_label")
            .sort("frame_index", "track")
            for name in ("pictures", "film.mp4")
        )
        assert one.height >= FRAMES
        assert one.equals(other)
    times = samples.filter(pl.col("path") == "real/pictures").select("frame_index", "time_s").rows()
    assert all(time == index / 50 for index, time in times)


def outcome(root: Path, detector: Detector, path: str = "real/v", **more: object) -> dict[str, object]:
    settings = recipe(**more)
    (one,) = [one for one in plan.make("folder", str(root), settings).videos if one.path == path]
    return dict(process(Job(root=str(root), video=one, recipe=settings, decoder="pyav"), detector).outcome.video)


def test_unreadable_pictures_are_rows_and_limits_hold(root: Path, tmp_path: Path, detector: Detector) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root / "real/v", copy / "real/v")
    row = outcome(copy, detector)
    assert (row["status"], row["fps"], row["duration_s"]) == ("ok", None, None)
    (copy / "real/v/._1.png").write_bytes(b"hidden")
    (copy / "real/v/3.png").write_bytes(b"no picture")
    row = outcome(copy, detector)
    assert (row["status"], row["frames_failed"], row["frames_total"]) == ("partial", 1, FRAMES)
    assert "(first: 3.png); the others are kept; get its pictures again." in str(row["error"])
    assert "480x360" in str(outcome(copy, detector, limits={"megapixels": 0.1})["error"])
    row = outcome(copy, detector, limits={"frames": 5})
    assert row["status"] == "decode_error"
    assert f"the folder has {FRAMES} pictures, beyond the recipe's limits.frames 5" in str(row["error"])


def test_sizes_that_differ_are_unknown(tmp_path: Path) -> None:
    """And pictures are upright: JPEG can say how they are turned."""
    folder = tmp_path / "v"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index, (height, width) in enumerate([(40, 60), (40, 60), (30, 20)]):
        cv2.imwrite(str(folder / f"{index}.jpg"), rng.integers(0, 255, (height, width, 3), np.uint8))
    assert (video.probe(str(folder)).width, video.probe(str(folder)).height) == (None, None)
    (folder / "2.jpg").unlink()
    assert (video.probe(str(folder)).width, video.probe(str(folder)).height) == (60, 40)
    tag = bytes.fromhex("0112 0003 00000001 00060000")  # orientation: turn by 90 degrees
    turned = b"\xff\xe1\x00\x22Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01" + tag + bytes(4)
    for file in folder.iterdir():
        data = file.read_bytes()
        file.write_bytes(data[:2] + turned + data[2:])
    assert (video.probe(str(folder)).width, video.probe(str(folder)).height) == (40, 60)
    assert [frame.image.shape for frame in video.frames(str(folder), [0, 1, 9], decoder="decord")] == [(60, 40, 3)] * 2


def test_pictures_without_a_rate_are_guided_all_the_same(root: Path, tmp_path: Path) -> None:
    """By pictures, and by a film: only the frame's number counts, and what it shows."""
    out, copy = str(tmp_path / "out"), tmp_path / "root"
    for kind, name in (("real", "v"), ("fake/swap", "v"), ("fake/swap", "w")):
        shutil.copytree(root / kind / "v", copy / kind / name)
    shutil.copy(root / "real" / "v.mp4", copy / "real" / "w.mp4")
    in_process.build(plan.make("folder", str(copy), recipe()), out)
    videos = manifests.scan(out, "videos").collect()
    guided = dict(videos.filter(pl.col("label") == 1).select("path", "guide").rows())
    assert guided == {"fake/swap/v": "original", "fake/swap/w": "original"}


def test_the_plan_depends_on_every_picture(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root / "real", copy / "real")
    planned = plan.make("folder", str(copy), recipe())
    assert [(stat.path, stat.bytes) for stat in planned.inputs] == [
        (path, next(one.bytes for one in planned.videos if one.path == path)) for path in ("real/v", "real/v.mp4")
    ]
    assert plan.make("folder", str(copy), recipe()).fingerprint == planned.fingerprint
    os.utime(copy / "real/v/3.png", ns=(1, 1))
    assert plan.make("folder", str(copy), recipe()).fingerprint != planned.fingerprint
    with pytest.raises(UsageError, match=r"recompress\.crf encodes videos, but real/v at .* contains pictures"):
        plan.make("folder", str(copy), recipe(recompress={"crf": 30}))


def test_a_folder_on_an_object_store_is_the_same_video(root: Path, detector: Detector) -> None:
    remote = "memory://pictures"
    fsspec.filesystem("memory").put(f"{root}/", f"{remote}/", recursive=True)
    settings = recipe()
    results = []
    for place in (str(root), remote):
        (one,) = [one for one in plan.make("folder", place, settings).videos if one.path == "real/v"]
        result = process(Job(root=place, video=one, recipe=settings, decoder="pyav"), detector).outcome
        results.append([sample.picture for sample in result.samples])
        gone = process(Job(root=place, video=replace(one, path="real/gone"), recipe=settings, decoder="pyav"), detector)
        assert gone.outcome.video["status"] == "missing"
    assert results[0] == results[1]
    assert len(results[0]) >= FRAMES
    assert storage.exists(remote)


def test_the_command_builds_pictures(root: Path, tmp_path: Path, run: Run) -> None:
    for kind in ("real", "fake/swap"):
        shutil.copytree(root / kind / "v", tmp_path / "root" / kind / "v")
    options = ("--dataset", "folder", "--root", tmp_path / "root", "--set", "sampling.n=2")
    fact = f"folders of pictures, each read as a video of {FRAMES} frames in the order of their names: 2\n"
    assert fact in run("ingest", "plan", *options).stdout
    assert fact in run("ingest", "build", *options, "--out", tmp_path / "out", "--workers", 1).stdout
    assert "intact" in run("shards", "verify", tmp_path / "out", "--deep").stdout
    assert set(manifests.scan(str(tmp_path / "out"), "videos").collect()["status"]) == {"ok"}
