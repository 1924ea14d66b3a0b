"""Containers other than mp4: the same frames are the same crops, and what is not read is printed."""

from __future__ import annotations

import json
import mimetypes
import re
import subprocess
from pathlib import Path

import polars as pl
import pytest

from semblance import manifests
from semblance.ingest import plan
from semblance.ingest.recipe import parse
from semblance.ingest.sources import base
from tests.conftest import Run
from tests.ingest import in_process

# Suffix -> format of ffmpeg: the same stream in another container.
REMUXED = {
    **dict.fromkeys(("m4v", "mpeg4", "mpg4", "mp4v", "lrv", "insv"), "mp4"),
    **dict.fromkeys(("ts", "mts", "m2ts", "m2t", "tp", "trp", "tod"), "mpegts"),
    **dict.fromkeys(("mkv", "mk3d"), "matroska"),
    **dict.fromkeys(("mov", "qt"), "mov"),
    **dict.fromkeys(("h264", "264"), "h264"),
    **{name: name for name in ("flv", "3gp", "3g2", "f4v", "ismv", "nut")},
}
MPEG1 = ("-c:v", "mpeg1video", "-q:v", "2")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2")
THEORA = ("-c:v", "libtheora", "-q:v", "9", "-f", "ogg")
ENCODED = {
    **dict.fromkeys(("avi", "divx", "xvid"), ("-c:v", "mpeg4", "-q:v", "2", "-f", "avi")),
    **dict.fromkeys(("wmv", "asf"), ("-c:v", "wmv2", "-b:v", "6M")),
    **dict.fromkeys(("ogv", "ogm", "ogx"), THEORA),
    **dict.fromkeys(("mpeg", "mpe", "mpeg1"), (*MPEG1, "-f", "mpeg")),
    **dict.fromkeys(("vob", "vro", "mod", "mpg", "m2p", "mpg2", "mpeg2"), (*MPEG2, "-f", "vob")),
    **dict.fromkeys(("m2v", "mpv"), (*MPEG2, "-f", "mpeg2video")),
    **dict.fromkeys(("h265", "265", "hevc"), ("-c:v", "libx265", "-x265-params", "log-level=none", "-f", "hevc")),
    **dict.fromkeys(("mjpeg", "mjpg"), ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p", "-f", "mjpeg")),
    **dict.fromkeys(("rm", "rmvb"), ("-c:v", "rv20", "-b:v", "6M", "-f", "rm")),
    "m1v": MPEG1,
    "mxf": MPEG2,
    "wtv": MPEG2,
    "webm": ("-c:v", "libvpx", "-b:v", "6M"),
    "ivf": ("-c:v", "libvpx", "-b:v", "6M"),
    "y4m": (),
    "dv": ("-vf", "scale=720:576", "-r", "25"),
    "gif": ("-pix_fmt", "pal8", "-vf", "split[a][b];[a]palettegen[p];[b][p]paletteuse"),
}
# What FFmpeg writes with a picture in it, and is no video: sound, documents, lists and single pictures.
NO_VIDEO = {
    *(
        "a64",
        "A64",
        "aif",
        "aiff",
        "afc",
        "aifc",
        "fits",
        "flac",
        "mp3",
        "m4a",
        "m4b",
        "wma",
        "ra",
        "isma",
        "ogg",
        "ico",
    ),
    *("mpd", "m3u8", "webp", "avif", "rgb", "bmp", "dpx", "exr", "jls", "jpeg", "jpg", "jxl", "ljpg", "pam", "pbm"),
    *(
        "pcx",
        "pfm",
        "pgm",
        "pgmyuv",
        "phm",
        "png",
        "ppm",
        "sgi",
        "tga",
        "tif",
        "tiff",
        "jp2",
        "j2c",
        "j2k",
        "xwd",
        "sun",
    ),
    *("ras", "rs", "im1", "im8", "im24", "sunras", "vbn", "xbm", "xface", "pix", "y", "qoi"),
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
    for suffix, form in REMUXED.items():
        ffmpeg(plain, folder / f"real/{suffix}.{suffix}", "-c", "copy", "-f", form)
    for suffix, options in ENCODED.items():
        ffmpeg(plain, folder / f"real/{suffix}.{suffix.upper()}", "-pix_fmt", "yuv420p", *options)
    return folder


def test_every_container_is_built(root: Path, tmp_path: Path) -> None:
    """With equal pixels where the stream is the same."""
    out = str(tmp_path / "out")
    recipe = parse({"sampling": {"n": 1}, "gates": {"mode": "mark"}}, "test")
    in_process.build(plan.make("folder", str(root), recipe), out)
    videos = manifests.scan(out, "videos").collect()
    assert set(videos["path"]) == {f"real/{path.name}" for path in (root / "real").iterdir()}
    assert videos.height == 1 + len(REMUXED) + len(ENCODED)
    assert set(videos["status"]) == {"ok"}, videos.filter(pl.col("status") != "ok").select("path", "error").rows()
    assert set(videos["frames_total"]) == {8}
    assert all(24 < fps < 61 for fps in videos["fps"].drop_nulls())  # not the clock of a container
    samples = manifests.scan(out).collect().join(videos.select("video_id", "path"), on="video_id")
    hashes = {path: tuple(rows.sort("frame_index", "track")["sha256"]) for (path,), rows in samples.group_by("path")}
    assert len(hashes) == videos.height
    for suffix in REMUXED:
        assert hashes[f"real/{suffix}.{suffix}"] == hashes["real/plain.mp4"], suffix


def test_every_suffix_that_is_read_is_tested() -> None:
    assert set(base.VIDEO_SUFFIXES) == {".mp4", *(f".{suffix}" for suffix in (*REMUXED, *ENCODED))}


def test_no_suffix_of_a_video_vanishes() -> None:
    """Every suffix with which ffmpeg writes videos, and every video type of the standard library."""
    listing = subprocess.run(["ffmpeg", "-v", "error", "-muxers"], check=True, capture_output=True, text=True).stdout
    known = {suffix for suffix, kind in mimetypes.MimeTypes().types_map[True].items() if kind.startswith("video/")}
    for name in re.findall(r"^ +E +(\S+)", listing, re.MULTILINE):
        described = subprocess.run(
            ["ffmpeg", "-v", "error", "-h", f"muxer={name}"], check=True, capture_output=True, text=True
        ).stdout
        if "Default video codec" in described and (found := re.search(r"Common extensions: (.*)\.", described)):
            known |= {f".{suffix}" for suffix in re.findall(r"\w+", found[1]) if suffix not in NO_VIDEO}
    assert len(known) > 40
    known |= {".mp4.part", ".MPEG4", ".mov.crdownload", ".r3d", ".braw"}
    assert not [suffix for suffix in known if not base.looks_like_video(f"real/street{suffix}")]


def test_what_is_not_read_is_printed(root: Path, run: Run) -> None:
    (root / "real/old.swf").write_bytes(b"x")
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
