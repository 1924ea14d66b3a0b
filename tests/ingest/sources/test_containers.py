"""Containers other than mp4: the same frames are the same crops, and what is not read is printed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import polars as pl
import pytest

from semblance import manifests
from semblance.ingest import plan
from semblance.ingest.recipe import parse
from tests.conftest import Run
from tests.ingest import in_process

REMUXED = ("ts", "mts", "m2ts", "flv", "3gp", "mkv", "mov", "m4v")  # the same stream in another container
ENCODED = {
    "wmv": ("-c:v", "wmv2", "-b:v", "6M"),
    "webm": ("-c:v", "libvpx", "-b:v", "6M"),
    "ogv": ("-c:v", "libtheora", "-q:v", "9"),
    "avi": ("-c:v", "mpeg4", "-q:v", "2"),
    "mpg": ("-c:v", "mpeg2video", "-q:v", "2"),
    "mpeg": ("-c:v", "mpeg1video", "-q:v", "2"),
    "gif": ("-vf", "split[a][b];[a]palettegen[p];[b][p]paletteuse"),
}


def ffmpeg(source: Path, target: Path, *options: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, "-frames:v", "8", *options, target], check=True)


@pytest.fixture(scope="module")
def root(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first frames of one original of the demo, in every container."""
    folder = tmp_path_factory.mktemp("containers")
    metadata = min(demo.rglob("metadata.json"))
    name = min(name for name, row in json.loads(metadata.read_text()).items() if row["label"] == "REAL")
    (folder / "real").mkdir()
    plain = folder / "real/plain.mp4"
    ffmpeg(metadata.parent / name, plain, "-c:v", "libx264", "-crf", "10", "-bf", "0", "-pix_fmt", "yuv420p", "-an")
    for suffix in REMUXED:
        more = ("-f", "mpegts") if suffix == "mts" else ()
        ffmpeg(plain, folder / f"real/{suffix}.{suffix}", "-c", "copy", *more)
    for suffix, options in ENCODED.items():
        ffmpeg(
            plain,
            folder / f"real/{suffix}.{suffix.upper()}",
            "-pix_fmt",
            "yuv420p" if suffix != "gif" else "pal8",
            *options,
        )
    return folder


def test_every_container_is_built(root: Path, tmp_path: Path) -> None:
    """With equal pixels where the stream is the same."""
    out = str(tmp_path / "out")
    recipe = parse({"sampling": {"n": 2}, "gates": {"mode": "mark"}}, "test")
    in_process.build(plan.make("folder", str(root), recipe), out)
    videos = manifests.scan(out, "videos").collect()
    assert set(videos["path"]) == {f"real/{path.name}" for path in (root / "real").iterdir()}
    assert videos.height == 1 + len(REMUXED) + len(ENCODED)
    assert set(videos["status"]) == {"ok"}, videos.filter(pl.col("status") != "ok").select("path", "error").rows()
    assert set(videos["frames_total"]) == {8}
    samples = manifests.scan(out).collect().join(videos.select("video_id", "path"), on="video_id")
    hashes = {path: tuple(rows.sort("frame_index", "track")["sha256"]) for (path,), rows in samples.group_by("path")}
    assert len(hashes) == videos.height
    for suffix in REMUXED:
        assert hashes[f"real/{suffix}.{suffix}"] == hashes["real/plain.mp4"], suffix


def test_what_is_not_read_is_printed(root: Path, run: Run) -> None:
    (root / "real/old.vob").write_bytes(b"x")
    (root / "real/._plain.mp4").write_bytes(b"x")
    (root / "fake").mkdir()
    (root / "fake/gone.mp4").symlink_to("/nonexistent.mp4")
    done = run("ingest", "plan", "--dataset", "folder", "--root", root)
    assert (
        "2 files have the suffix of a video and are not read (hidden, or a by-product of macOS: 1; a video with such a "
        "suffix is read only if a table lists it: 1); the first is real/._plain.mp4\n"
    ) in done.stdout
    assert (
        "1 link or folder was not read; the first is fake/gone.mp4: a link to /nonexistent.mp4, which does not exist\n"
    ) in done.stdout


def test_a_part_on_another_disk_is_read(demo: Path, tmp_path: Path, run: Run) -> None:
    """One part of the demo is a link; the plan is that of the demo itself."""
    for path in demo.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/gone").symlink_to("/nonexistent")  # a finding, and no warning
    expected, found = plan.make("dfdc", str(demo)), plan.make("dfdc", str(tmp_path))
    assert found.videos == expected.videos
    assert {(one.path, one.kind) for one in found.findings} - {(one.path, one.kind) for one in expected.findings} == {
        (".cache/gone", "other"),
        ("loop", "not_listed"),
    }
    assert "1 link or folder was not read; the first is loop: a link to a folder above itself" in run(
        "ingest", "plan", "--dataset", "dfdc", "--root", tmp_path
    ).stdout.replace("\n", " ")


def test_an_error_names_the_link_behind_which_the_videos_may_be(tmp_path: Path, run: Run) -> None:
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "dfdc_train_part_0").symlink_to("/nonexistent")
    error = run("ingest", "plan", "--dataset", "dfdc", "--root", tmp_path, expect=1).stderr
    assert (
        "1 link or folder was not read, e.g. dfdc_train_part_0: a link to /nonexistent, which does not exist." in error
    )
