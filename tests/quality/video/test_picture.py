"""Geometry, streams, time, HDR and interlacing: what a player shows, by both decoders."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from semblance.manifests.errors import VideoError
from semblance.manifests.records import Image
from semblance.quality import video
from tests.quality.video.test_colour import truth
from tests.quality.video.test_video import ffmpeg

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")

# a, b, c, d: a stored x, y is shown at a x + c y, b x + d y.
MATRICES = [(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1)]
MATRICES += [(0, 1, 1, 0), (0, -1, 1, 0), (0, 1, -1, 0), (0, -1, -1, 0)]


def installed(decoder: video.DecoderName) -> None:
    if decoder not in video.available():
        pytest.skip("decord is not installed")


def corner(height: int = 240, width: int = 320) -> Image:
    """Nothing in it is symmetric."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 200 // width + 30, y * 200 // height + 30, np.full_like(x, 60)], axis=-1).astype(np.uint8)
    image[: height // 4, : width // 3] = (220, 40, 200)
    return image


def shown(image: Image, matrix: tuple[int, int, int, int]) -> Image:
    """Each pixel put to where the matrix says."""
    a, b, c, d = matrix
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    to_x, to_y = a * x + c * y, b * x + d * y
    to_x, to_y = to_x - to_x.min(), to_y - to_y.min()
    result = np.zeros((to_y.max() + 1, to_x.max() + 1, 3), np.uint8)
    result[to_y, to_x] = image
    return result


def apart(a: Image, b: Image) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


def lay(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write the matrix into the header of the mp4's only track (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    place = data.index(b"tkhd") + 4 + 40
    data[place : place + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(data)


@pytest.mark.parametrize("matrix", MATRICES)
def test_all_eight_orientations(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    path = tmp_path / "clip.mp4"
    video.write_h264(str(path), [corner()] * 3, 25, crf=5)
    lay(path, matrix)
    expected = shown(corner(), matrix)
    for decoder in video.available():
        (frame,) = video.frames(str(path), [1], decoder=decoder)
        assert apart(frame.image, expected) < 2
    (again,) = video.recompressed(str(path), [1], crf=5, decoder="pyav")
    assert apart(again.image, expected) < 2
    known = video.probe(str(path))
    assert (known.height, known.width) == expected.shape[:2]
    upright = np.rot90(corner(), (known.rotation or 0) // 90)
    assert np.array_equal(upright[:, ::-1] if known.mirrored else upright, expected)


@pytest.mark.parametrize("aspect", ["4/3", "2/3", "16/11"])
@pytest.mark.parametrize("turned", [False, True])
def test_pixels_become_square(tmp_path: Path, aspect: str, turned: bool) -> None:
    """A circle stays a circle, and no side becomes shorter."""
    ratio = Fraction(aspect)
    wide, high = max(ratio, Fraction(1)), max(1 / ratio, Fraction(1))
    circle = np.full((round(240 * high), round(320 * wide), 3), 60, np.uint8)
    cv2.circle(circle, (160, 120), 80, (200, 180, 160), -1, cv2.LINE_AA)
    small = cv2.resize(circle[..., ::-1], (320, 240), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "circle.png"), small)
    path = tmp_path / "clip.mp4"
    still = ("-loop", 1, "-i", tmp_path / "circle.png", "-frames:v", 3, "-c:v", "libx264", "-crf", 5)
    ffmpeg(*still, "-vf", f"setsar={aspect},format=yuv420p", path)
    expected = circle
    if turned:
        lay(path, (0, -1, 1, 0))
        expected = np.rot90(circle)
    for decoder in video.available():
        (frame,) = video.frames(str(path), [1], decoder=decoder)
        assert apart(frame.image, expected) < 3
    (again,) = video.recompressed(str(path), [1], crf=5, decoder="pyav")
    assert apart(again.image, expected) < 3
    known = video.probe(str(path))
    assert (known.height, known.width) == expected.shape[:2]
    assert known.pixel_aspect == pytest.approx(float(ratio))


def test_limits_hold_for_the_picture_that_is_shown(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=s=320x240:d=0.2", "-vf", "setsar=100/1", tmp_path / "wide.mp4")
    bounds = video.Bounds(pixels=1_000_000, frames=100, seconds=100)
    with pytest.raises(VideoError, match="32000x240 pixels"):
        video.probe(str(tmp_path / "wide.mp4"), bounds)


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    video.write_h264(str(tmp_path / "plain.mp4"), [corner()] * 5, 25)
    cv2.imwrite(str(tmp_path / "cover.png"), np.full((600, 600, 3), 255, np.uint8))
    first = ("-map", "1", "-map", "0", "-c", "copy", "-disposition:v:0", "attached_pic")
    ffmpeg("-i", tmp_path / "plain.mp4", "-i", tmp_path / "cover.png", *first, tmp_path / "cover.mp4")
    known = video.probe(str(tmp_path / "cover.mp4"))
    assert (known.width, known.height, known.frames_total, known.video_streams) == (320, 240, 5, 1)
    for decoder in video.available():
        (frame,) = video.frames(str(tmp_path / "cover.mp4"), [2], decoder=decoder)
        assert apart(frame.image, corner()) < 4


def test_a_cover_alone_is_no_video(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "cover.png"), np.full((60, 60, 3), 255, np.uint8))
    song = ("-f", "lavfi", "-i", "sine=duration=1", "-i", tmp_path / "cover.png", "-map", "0", "-map", "1")
    ffmpeg(*song, "-c:v", "copy", "-disposition:v:0", "attached_pic", tmp_path / "song.m4a")
    with pytest.raises(VideoError, match="no video stream but a still picture") as caught:
        video.probe(str(tmp_path / "song.m4a"))
    assert caught.value.status == "empty"


@pytest.mark.parametrize(("default", "chosen"), [(None, 1), (0, 0), (1, 1)])
def test_of_several_streams_ffmpegs_is_taken(tmp_path: Path, default: int | None, chosen: int) -> None:
    """The small one comes first in the file."""
    small, large = corner(60, 80), 255 - corner()
    for name, image in (("small", small), ("large", large)):
        video.write_h264(str(tmp_path / f"{name}.mp4"), [image] * 4, 25, crf=5)
    path = tmp_path / "two.mkv"
    marks = [f"-disposition:v:{place}" for place in range(2)]
    given = [word for place, mark in enumerate(marks) for word in (mark, "default" if place == default else "0")]
    both = ("-i", tmp_path / "small.mp4", "-i", tmp_path / "large.mp4", "-map", "0", "-map", "1", "-c", "copy")
    ffmpeg(*both, *given, "-default_mode", "passthrough", path)
    expected = (small, large)[chosen]
    raw = ffmpeg("-i", path, "-frames:v", 1, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    assert len(raw) == expected.size
    (frame,) = video.frames(str(path), [1], decoder="pyav")
    assert apart(frame.image, expected) < 2
    assert video.probe(str(path)).video_streams == 2
    if "decord" in video.available():
        with pytest.raises(VideoError, match="which of the file's video streams"):
            list(video.frames(str(path), [1], decoder="decord"))


@pytest.mark.parametrize(
    ("decoder", "suffix"), [("pyav", "mp4"), ("pyav", "mkv"), ("pyav", "ts"), ("decord", "mp4"), ("decord", "mkv")]
)
def test_time_counts_from_the_first_frame(tmp_path: Path, decoder: video.DecoderName, suffix: str) -> None:
    installed(decoder)
    video.write_h264(str(tmp_path / "plain.mp4"), [corner()] * 8, 25)
    late = tmp_path / f"late.{suffix}"
    ffmpeg("-i", tmp_path / "plain.mp4", "-c", "copy", "-output_ts_offset", 7, late)
    every = [frame.time_s for frame in video.frames(str(late), range(8), decoder=decoder)]
    assert every == pytest.approx([i / 25 for i in range(8)], abs=2e-3)
    assert [frame.time_s for frame in video.frames(str(late), [6], decoder=decoder)] == pytest.approx([0.24], abs=2e-3)


def _hdr(path: Path, transfer: str) -> Image:
    """The truth at 203 nits, as PQ or HLG: the command of the shared case ``hdr``."""
    image = truth()
    cv2.imwrite(str(path.with_suffix(".png")), image[..., ::-1])
    curve = f"t={transfer}:p=bt2020:m=bt2020nc:r=limited:npl=203,format=yuv420p10le"
    tags = f"-colorspace bt2020nc -color_primaries bt2020 -color_trc {transfer} -color_range tv -tag:v hvc1"
    still = ("-loop", 1, "-i", path.with_suffix(".png"), "-frames:v", 3)
    convert = f"format=gbrp,zscale=transferin=iec61966-2-1:primariesin=bt709:matrixin=gbr:rangein=full:{curve}"
    codec = "-c:v libx265 -preset veryfast -crf 4 -x265-params log-level=error:pools=none"
    ffmpeg(*still, "-vf", convert, *codec.split(), *tags.split(), path)
    return image


@pytest.mark.parametrize(("transfer", "most"), [("smpte2084", 1.5), ("arib-std-b67", 4.0)])
def test_hdr_becomes_the_sdr_that_it_was_made_of(tmp_path: Path, transfer: str, most: float) -> None:
    """zimg's HLG has no luminance-based OOTF (BT.2100), so its colours differ a little from the standard's."""
    path = tmp_path / "hdr.mov"
    image = _hdr(path, transfer)
    (frame,) = video.frames(str(path), [1], decoder="pyav")
    dark = image.max(axis=2) < 225  # above the knee, highlights are compressed on purpose
    assert dark.mean() > 0.9
    assert np.abs(frame.image.astype(int) - image)[dark].mean() < most
    (again,) = video.recompressed(str(path), [1], crf=2, decoder="pyav")
    assert np.abs(again.image.astype(int) - image)[dark].mean() < most + 3  # PQ in 8 bit has coarse steps
    known = video.probe(str(path))
    assert (known.colour_transfer, known.colour_primaries, known.colour_matrix) == (transfer, "bt2020", "bt2020nc")
    if "decord" in video.available():
        (frame,) = video.frames(str(path), [1], decoder="decord")
        assert np.abs(frame.image.astype(int) - image)[dark].mean() < most + 8


def _combing(image: Image) -> float:
    grey = image.astype(int).mean(axis=2)
    return float(np.abs(2 * grey[1:-1] - grey[:-2] - grey[2:]).mean())


def test_interlaced_frames_are_told_and_woven_anew(tmp_path: Path) -> None:
    images = [np.roll(corner(), 12 * i, axis=1) for i in range(16)]
    path = tmp_path / "interlaced.mp4"
    raw = b"".join(image.tobytes() for image in images)
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "320x240", "-r", "50", "-i", "-"]
    codec = "-vf interlace=scan=tff -c:v libx264 -crf 8 -pix_fmt yuv420p -flags +ilme+ildct -x264opts tff=1 -threads 1"
    subprocess.run(["ffmpeg", "-v", "error", *source, *codec.split(), str(path)], input=raw, check=True)
    assert video.probe(str(path)).interlaced is True
    stored = list(video.frames(str(path), range(8), decoder="pyav"))
    woven = list(video.frames(str(path), range(8), decoder="pyav", deinterlace=True))
    assert [frame.index for frame in woven] == [frame.index for frame in stored] == list(range(8))
    assert [frame.time_s for frame in woven] == [frame.time_s for frame in stored]
    clean = np.mean([_combing(image) for image in images])
    combed, mended = (np.mean([_combing(frame.image) for frame in frames]) for frames in (stored, woven))
    assert combed > 2 * clean
    assert mended < clean + (combed - clean) / 4
    assert apart(woven[3].image, images[6]) < 5  # a frame's first field is its time
    (alone,) = video.frames(str(path), [5], decoder="pyav", deinterlace=True)
    assert np.array_equal(alone.image, woven[5].image)
    again = list(video.recompressed(str(path), [3], crf=8, decoder="pyav", deinterlace=True))
    assert _combing(again[0].image) < clean + (combed - clean) / 3


def test_progressive_frames_pass_through(tmp_path: Path) -> None:
    video.write_h264(str(tmp_path / "plain.mp4"), [np.roll(corner(), 9 * i, axis=1) for i in range(6)], 25)
    path = str(tmp_path / "plain.mp4")
    assert video.probe(path).interlaced is False
    pairs = zip(*(video.frames(path, range(6), decoder="pyav", deinterlace=on) for on in (False, True)), strict=True)
    assert all(np.array_equal(a.image, b.image) for a, b in pairs)


def test_the_quantiser_is_the_encoders(tmp_path: Path) -> None:
    """x264 in constant QP: I frames are 3 below it."""
    images = [np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)] * 3
    with av.open(str(tmp_path / "q.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "30", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    known = video.probe(str(tmp_path / "q.mp4"))
    assert (known.qp_mean, known.qp_spread) == (27.0, 0.0)


def test_the_sound_is_told(tmp_path: Path) -> None:
    """Codec, rate and bit rate, where the container states them: WebM states no bit rate of Opus."""
    video.write_h264(str(tmp_path / "plain.mp4"), [corner()] * 25, 25)
    tone = ("-f", "lavfi", "-i", "sine=duration=1")
    aac = ("-c:v", "copy", "-c:a", "aac", "-ar", "22050", "-b:a", "48k")
    ffmpeg("-i", tmp_path / "plain.mp4", *tone, *aac, tmp_path / "aac.mp4")
    ffmpeg("-i", tmp_path / "plain.mp4", *tone, "-c:v", "libvpx", "-c:a", "libopus", tmp_path / "opus.webm")
    ffmpeg("-i", tmp_path / "plain.mp4", *tone, "-c:v", "copy", "-c:a", "pcm_s16le", tmp_path / "pcm.mov")
    known = video.probe(str(tmp_path / "aac.mp4"))
    assert (known.audio_codec, known.audio_rate) == ("aac", 22050)
    assert known.audio_bit_rate is not None
    assert 30_000 < known.audio_bit_rate < 60_000
    opus = video.probe(str(tmp_path / "opus.webm"))
    assert (opus.audio_codec, opus.audio_rate, opus.audio_bit_rate) == ("opus", 48000, None)
    pcm = video.probe(str(tmp_path / "pcm.mov"))
    assert (pcm.audio_rate, pcm.audio_bit_rate) == (44100, 44100 * 16)
    plain = video.probe(str(tmp_path / "plain.mp4"))
    assert (plain.has_audio, plain.audio_codec, plain.audio_rate, plain.audio_bit_rate) == (False, None, None, None)
