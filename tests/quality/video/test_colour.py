"""Colours: one truth stored in every common way comes back as it was, judged by zimg and by the truth itself."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from semblance.ingest.demo import people
from semblance.manifests.errors import VideoError
from semblance.manifests.records import Image
from semblance.quality import video
from tests.quality.video.test_video import assert_same_colours, ffmpeg

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")

SIZE = (320, 240)
H264 = "-c:v libx264 -qp 1 -threads 1"
# What is not known of untagged files whose codec settles the rest.
BY_ITSELF: dict[str, set[str]] = {"mpeg2": {"matrix"}, "mjpeg": set(), "mjpeg_444": set()}
NAMES = {"709": "bt709", "170m": "smpte170m", "2020_ncl": "bt2020nc", "gbr": "gbr"}


@dataclass(frozen=True)
class Form:
    """A way to store pictures. ``siting``: where ffmpeg takes its chroma to be."""

    pixel_format: str
    matrix: str = "709"
    full: bool = False
    codec: str = H264
    tagged: bool = True
    suffix: str = "mp4"
    siting: str = "left"


FORMS = {
    "bt709": Form("yuv420p"),
    "bt601": Form("yuv420p", "170m"),
    "bt2020": Form("yuv420p", "2020_ncl"),
    "untagged": Form("yuv420p", "170m", tagged=False),
    "full_range": Form("yuvj420p", full=True),
    "full_bt601": Form("yuvj420p", "170m", full=True),
    "h264_422": Form("yuv422p"),
    "h264_444": Form("yuv444p", "170m"),
    "h264_420_10": Form("yuv420p10le"),
    "h264_422_10": Form("yuv422p10le", full=True),
    "h264_444_10": Form("yuv444p10le", "170m", tagged=False),
    "h264_rgb": Form("gbrp", "gbr", full=True, codec="-c:v libx264rgb -qp 0 -threads 1"),
    "hevc": Form("yuv420p", codec="-c:v libx265 -x265-params log-level=error:pools=none:crf=2"),
    "hevc_10_bt2020": Form(
        "yuv420p10le", "2020_ncl", codec="-c:v libx265 -x265-params log-level=error:pools=none:crf=2"
    ),
    "vp9": Form("yuv420p", codec="-c:v libvpx-vp9 -crf 4 -b:v 0 -cpu-used 8", suffix="webm", siting="center"),
    "vp9_444": Form("yuv444p", codec="-c:v libvpx-vp9 -crf 4 -b:v 0 -cpu-used 8", suffix="webm"),
    "mpeg2": Form("yuv420p", "170m", codec="-c:v mpeg2video -q:v 1", tagged=False, suffix="mpg"),
    "mpeg4": Form("yuv420p", "170m", codec="-c:v mpeg4 -q:v 1", tagged=False, suffix="avi"),
    "mjpeg": Form("yuvj420p", "170m", True, "-c:v mjpeg -q:v 1", False, "avi", "center"),
    "mjpeg_444": Form("yuvj444p", "170m", True, "-c:v mjpeg -q:v 1", False, "avi"),
    "prores": Form("yuv422p10le", codec="-c:v prores_ks -profile:v 3", suffix="mov", siting="center"),
    "ffv1": Form("yuv420p", codec="-c:v ffv1", suffix="mkv", siting="center"),
}


def truth() -> Image:
    one = people.make_person(0)
    image = people.render([(one, (160.0, 130.0), 0.9)], one.background, 0.3, 0, SIZE)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 3))  # 4:2:0 cannot keep what changes from pixel to pixel


def store(form: Form, image: Image, path: Path) -> None:
    cv2.imwrite(str(path.with_suffix(".png")), image[..., ::-1])
    to = f"zscale=matrixin=gbr:rangein=full:matrix={form.matrix}:range={'full' if form.full else 'limited'}"
    to += f":chromal={form.siting}:filter=bilinear,format={form.pixel_format.replace('yuvj', 'yuv')}"
    if form.pixel_format.startswith("yuvj"):
        to += f",format={form.pixel_format}"
    tags = "setparams=range=unknown:colorspace=unknown:color_primaries=unknown:color_trc=unknown"
    if form.tagged:
        tags = f"setparams=range={'pc' if form.full else 'tv'}:colorspace={NAMES[form.matrix]}"
    elif form.full:
        tags = "null"
    still = ("-loop", 1, "-i", path.with_suffix(".png"), "-frames:v", 3)
    ffmpeg(*still, "-vf", f"format=gbrp,{to},{tags}", *form.codec.split(), path)


def by_zimg(form: Form, path: Path) -> Image:
    """The first frame, converted by zimg, to which everything is told."""
    stored = f"matrixin={form.matrix}:rangein={'full' if form.full else 'limited'}:chromalin={form.siting}"
    plain = f"format={form.pixel_format.replace('yuvj', 'yuv')}," if not form.full else ""
    convert = f"{plain}zscale={stored}:matrix=gbr:range=full:filter=bilinear,format=gbrp"
    raw = ffmpeg("-i", path, "-vf", convert, "-frames:v", 1, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(raw, np.uint8).reshape(240, 320, 3)


@pytest.mark.parametrize("name", sorted(FORMS))
def test_colours_come_back(tmp_path: Path, name: str) -> None:
    form = FORMS[name]
    path = tmp_path / f"clip.{form.suffix}"
    image = truth()
    store(form, image, path)
    (frame,) = video.frames(str(path), [0], decoder="pyav")
    assert_same_colours(frame.image, by_zimg(form, path))
    apart = frame.image.astype(int) - image
    assert np.abs(apart.mean(axis=(0, 1))).max() < 0.5  # per channel: no cast, no change of brightness
    assert np.abs(apart).mean() < 1.1  # of it, 0.8 are the encoder's

    known = video.probe(str(path))
    matrix = "bt470bg" if "mjpeg" in name else NAMES[form.matrix]  # which is BT.601, as JPEG demands
    assert (known.colour_matrix, known.colour_range) == (matrix, "pc" if form.full else "tv")
    assert known.pixel_format == form.pixel_format
    guessed = {"range", "matrix"} & set(known.colour_guessed or ())
    assert guessed == BY_ITSELF.get(name, set() if form.tagged else {"range", "matrix"})


@pytest.mark.parametrize("name", ["bt709", "full_range", "untagged"])
def test_the_fallback_reads_the_same_tags(tmp_path: Path, name: str) -> None:
    """decord cuts off fractions of grey levels; its matrix and range are right all the same."""
    if "decord" not in video.available():
        pytest.skip("decord is not installed")
    store(FORMS[name], truth(), tmp_path / "clip.mp4")
    (frame,) = video.frames(str(tmp_path / "clip.mp4"), [1], decoder="decord")
    assert np.abs(frame.image.astype(int) - truth()).mean() < 2


@pytest.mark.parametrize("full", [False, True])
def test_grey_is_read_by_its_range(tmp_path: Path, full: bool) -> None:
    grey = np.repeat(truth()[..., :1], 3, axis=2)
    path = tmp_path / "grey.mkv"
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    luma = f"format=gbrp,zscale=matrixin=gbr:rangein=full:matrix=709:range={'full' if full else 'limited'}"
    tags = f"format=yuv444p,extractplanes=y,setparams=range={'pc' if full else 'tv'}"
    ffmpeg("-i", tmp_path / "grey.png", "-vf", f"{luma},{tags}", "-c:v", "ffv1", "-pix_fmt", "gray", path)
    (frame,) = video.frames(str(path), [0], decoder="pyav")
    assert video.probe(str(path)).pixel_format == "gray"
    assert np.abs(frame.image.astype(int) - grey).mean() < 1


def test_masks_stay_black_and_white(tmp_path: Path) -> None:
    mask = np.zeros((240, 320, 3), np.uint8)
    mask[60:180, 80:240] = 255
    for crf in (0, 10):
        video.write_h264(str(tmp_path / "mask.mp4"), [mask] * 3, 25, crf=crf)
        (frame,) = video.frames(str(tmp_path / "mask.mp4"), [1], decoder="pyav")
        inside = frame.image[70:170, 90:230]
        assert (inside.min(), frame.image[:50].max()) == (255, 0)


def test_a_matrix_that_nothing_undoes_is_said(tmp_path: Path) -> None:
    store(Form("yuv444p", "709"), truth(), tmp_path / "clip.mp4")
    retagged = ("-c", "copy", "-bsf:v", "h264_metadata=matrix_coefficients=8")
    ffmpeg("-i", tmp_path / "clip.mp4", *retagged, tmp_path / "y.mp4")
    with pytest.raises(VideoError, match="matrix ycgco; convert the file to bt709 first"):
        list(video.frames(str(tmp_path / "y.mp4"), [0], decoder="pyav"))
