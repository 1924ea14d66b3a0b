"""Decoding against ffmpeg itself: the very frame for every index, and its colours within a rounding."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from semblance.ingest.demo import people
from semblance.manifests.errors import VideoError
from semblance.manifests.records import Frame, Image
from semblance.quality import video

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def ffmpeg(*arguments: object) -> bytes:
    done = subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], capture_output=True, check=True)
    return done.stdout


def reference(path: Path, width: int, height: int, matrix: str = "170m", full: bool = False) -> np.ndarray:
    """All frames as ffmpeg puts them out, (N, H, W, 3), as they are stored, converted to RGB by zimg: ffmpeg's own
    converter rounds down, 1.2 grey levels in the mean.
    """
    stored = f"matrixin={matrix}:rangein={'full' if full else 'limited'}"
    convert = f"zscale={stored}:matrix=gbr:range=full:filter=bilinear,format=gbrp"
    rgb = ("-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24")
    raw = ffmpeg("-noautorotate", "-i", path, "-vf", convert, *rgb, "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def assert_same_colours(found: Image, expected: Image) -> None:
    """Two exact converters differ by roundings only: chroma is interpolated before or after it is rounded."""
    apart = np.abs(found.astype(np.int16) - expected)
    assert apart.max() <= 3
    assert apart.mean() < 0.3


def times(path: Path, skip: video.Skip = "none") -> list[float]:
    """When ffprobe shows frames, where its decoder leaves none out or those that ``skip`` names."""
    left_out = {"none": "default", "nonref": "noref", "nonkey": "nokey"}[skip]
    show = ["-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time", "-of", "json"]
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-skip_frame", left_out, *show, str(path)], capture_output=True, check=True
    )
    return [float(frame["best_effort_timestamp_time"]) for frame in json.loads(done.stdout)["frames"]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 moving frames, B-frames, several GOPs."""
    path = tmp_path_factory.mktemp("clips") / "plain.mp4"
    one = people.make_person(0)
    images = [
        people.render([(one, (100 + 5 * i, 150.0), 0.8)], one.background, i / 40, 0, (320, 240)) for i in range(40)
    ]
    video.write_h264(str(path), images, 30, gop=15, bframes=3)
    return path


def _copy(*options: str) -> Callable[[Path, Path], None]:
    """A clip that ffmpeg makes of the plain one with these options."""

    def make(plain: Path, path: Path) -> None:
        ffmpeg("-i", plain, *options, path)

    return make


def _turned(degrees: int) -> Callable[[Path, Path], None]:
    def make(plain: Path, path: Path) -> None:
        ffmpeg("-i", plain, "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}", path)  # ffmpeg 5 and older know this

    return make


def _cut(plain: Path, path: Path) -> None:
    """The index first, then the file cut at 60 %."""
    data = plain.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])


def _holed(plain: Path, path: Path) -> None:
    """400 bytes in the middle of the pictures are lost."""
    data = bytearray(plain.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = b"\xff" * 400
    path.write_bytes(data)


X264 = ("-c:v", "libx264", "-threads", "1")
CLIPS: dict[str, Callable[[Path, Path], object]] = {
    "b_frames": lambda plain, path: shutil.copy(plain, path),
    "variable_rate": _copy("-vf", "select='not(between(mod(n,7),2,4))'", "-fps_mode", "vfr", *X264),
    "odd_yuv444": _copy("-vf", "crop=241:179:0:0", *X264, "-pix_fmt", "yuv444p"),
    "odd_yuv420": _copy("-vf", "crop=240:178:0:0", *X264, "-pix_fmt", "yuv420p"),
    "bt709": _copy(*X264, "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
    "one_frame": _copy("-frames:v", "1", *X264),
    "one_gop": _copy(*X264, "-g", "250", "-bf", "8"),
    "starts_late": _copy("-ss", "0.4", "-c", "copy"),  # an edit list hides the frames before
    "pyramid": _copy(*X264, "-bf", "8", "-x264opts", "b-pyramid=normal:b-adapt=0:ref=6"),
    "open_gop": _copy(*X264, "-bf", "3", "-x264opts", "open-gop=1:keyint=10:min-keyint=10"),
    "mpeg4": _copy("-c:v", "mpeg4", "-q:v", "3", "-bf", "2"),
    "cut": _cut,
}


@pytest.fixture(params=sorted(CLIPS))
def clip(request: pytest.FixtureRequest, plain: Path, tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    CLIPS[request.param](plain, path)
    return path


def all_frames(path: Path, decoder: video.DecoderName) -> list[Frame]:
    total = video.probe(str(path)).frames_total or 0
    return list(video.frames(str(path), range(total), decoder=decoder))


def test_every_frame_is_ffmpegs(clip: Path, request: pytest.FixtureRequest) -> None:
    properties = video.probe(str(clip))
    assert properties.width is not None
    assert properties.height is not None
    matrix = "709" if "bt709" in request.node.name else "170m"
    expected = reference(clip, properties.width, properties.height, matrix)
    found = all_frames(clip, "pyav")
    assert [frame.index for frame in found] == list(range(len(expected)))
    for frame in found:
        assert_same_colours(frame.image, expected[frame.index])
    shown = np.array(times(clip))
    assert np.allclose(np.array([frame.time_s for frame in found], float), shown - shown[0], atol=1e-4)


def test_a_frame_that_nothing_needs_is_not_decoded(plain: Path, tmp_path: Path) -> None:
    """It may be damaged beyond decoding; the frames that others need may not."""
    payload = json.loads(
        subprocess.run(
            ["ffprobe", "-v", "error", "-show_entries", "packet=pos,size,pts", "-of", "json", str(plain)],
            capture_output=True,
            check=True,
        ).stdout
    )["packets"]
    data = plain.read_bytes()
    spared: list[tuple[int, int, int]] = []
    needed: list[tuple[int, int, int]] = []
    for place, packet in enumerate(sorted(payload, key=lambda packet: packet["pts"])):
        header = data[int(packet["pos"]) + 4]  # after the length; a slice of no key frame is type 1
        alone = header & 31 == 1 and not header >> 5 & 3
        (spared if alone else needed).append((place, int(packet["pos"]), int(packet["size"])))
    assert len(spared) > 10
    wanted = [needed[5][0], needed[9][0]]
    every = all_frames(plain, "pyav")

    def damaged(packets: list[tuple[int, int, int]]) -> list[Frame]:
        bytes_left = bytearray(data)
        for _, begin, size in packets:
            bytes_left[begin + 5 : begin + size] = bytes(size - 5)
        (tmp_path / "damaged.mp4").write_bytes(bytes_left)
        return list(video.frames(str(tmp_path / "damaged.mp4"), wanted, decoder="pyav"))

    found = damaged(spared)
    assert [frame.index for frame in found] == wanted
    assert all(np.array_equal(frame.image, every[frame.index].image) for frame in found)
    worse = {frame.index: frame.image for frame in damaged(needed[1:])}
    assert not all(np.array_equal(worse[index], every[index].image) for index in wanted if index in worse) or not worse


def test_packets_are_counted_not_believed(clip: Path) -> None:
    properties = video.probe(str(clip))
    expected = reference(clip, properties.width or 0, properties.height or 0)
    assert properties.frames_total is not None
    assert 0 <= properties.frames_total - len(expected) <= 1  # the last packet of a cut file may be half a frame


def test_a_cut_file_says_more_than_it_has(plain: Path, tmp_path: Path) -> None:
    _cut(plain, tmp_path / "cut.mp4")
    properties = video.probe(str(tmp_path / "cut.mp4"))
    assert properties.frames_declared == 40
    assert (properties.frames_total or 0) < 40


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_frames_come_upright(plain: Path, tmp_path: Path, degrees: int, decoder: video.DecoderName) -> None:
    if decoder not in video.available():
        pytest.skip("decord is not installed")
    path = tmp_path / "turned.mp4"
    _turned(degrees)(plain, path)
    properties = video.probe(str(path))
    assert (properties.width, properties.height) == ((240, 320) if degrees != 180 else (320, 240))
    expected = np.rot90(reference(path, 320, 240), degrees // 90, axes=(1, 2))
    for frame in all_frames(path, decoder):
        if decoder == "pyav":
            assert_same_colours(frame.image, expected[frame.index])
        assert np.abs(frame.image.astype(int) - expected[frame.index]).mean() < 2  # decord rounds down


def test_the_fallback_gives_the_right_frame(clip: Path) -> None:
    """decord's colours may differ by a rounding; the frame that it gives must be the nearest of all to ffmpeg's."""
    if "decord" not in video.available():
        pytest.skip("decord is not installed")
    properties = video.probe(str(clip))
    expected = reference(clip, properties.width or 0, properties.height or 0).astype(np.int16)
    try:
        found = all_frames(clip, "decord")
    except VideoError:
        return  # it says so, and PyAV is the default
    for frame in found:
        if frame.index < len(expected):
            distances = np.abs(expected - frame.image).mean(axis=(1, 2, 3))
            assert distances[frame.index] == distances.min()


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_some_frames_are_the_same_as_among_all(plain: Path, decoder: video.DecoderName) -> None:
    if decoder not in video.available():
        pytest.skip("decord is not installed")
    everything = all_frames(plain, decoder)
    some = list(video.frames(str(plain), [3, 17, 39], decoder=decoder))
    assert [frame.index for frame in some] == [3, 17, 39]
    for frame in some:
        assert np.array_equal(frame.image, everything[frame.index].image)
    assert list(video.frames(str(plain), [], decoder=decoder)) == []


def test_properties(plain: Path) -> None:
    properties = video.probe(str(plain))
    assert (properties.width, properties.height, properties.rotation) == (320, 240, 0)
    assert (properties.codec, properties.fps, properties.gop) == ("h264", 30.0, 15)
    assert properties.has_audio is False
    assert properties.bytes == plain.stat().st_size
    assert properties.duration_s == pytest.approx(40 / 30)


@pytest.mark.parametrize(("content", "status"), [(b"", "empty"), (b"not a video at all\n" * 50, "decode_error")])
def test_what_is_no_video_is_said_in_one_sentence(tmp_path: Path, content: bytes, status: str) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match="get it again") as caught:
        video.probe(str(path))
    assert caught.value.status == status
    assert str(tmp_path) not in str(caught.value)


def test_a_file_without_a_video_stream_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path)
    with pytest.raises(VideoError, match="no video stream") as caught:
        video.probe(str(path))
    assert caught.value.status == "empty"


def test_an_index_that_is_lost_is_a_decode_error(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "late.mp4"
    ffmpeg("-i", plain, "-c", "copy", "-movflags", "-faststart", path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError) as caught:
        video.probe(str(path))
    assert caught.value.status == "decode_error"


def test_writing_is_deterministic_and_marked(tmp_path: Path) -> None:
    images: list[Image] = [np.full((64, 64, 3), 40 * i, np.uint8) for i in range(5)]
    for name in ("a.mp4", "b.mp4"):
        video.write_h264(str(tmp_path / name), images, 25, comment="synthetic")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "format_tags=comment", "-of", "csv=p=0", str(tmp_path / "a.mp4")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown.strip() == "synthetic"


OTHERS: dict[str, Callable[[Path, Path], object]] = {
    "full_range": _copy("-vf", "scale=out_range=full", "-color_range", "pc", *X264),
    "odd": _copy("-vf", "format=yuv444p,crop=241:179:0:0", *X264, "-pix_fmt", "yuv444p"),
    "ten_bits": _copy(*X264, "-pix_fmt", "yuv420p10le"),
    "turned": _turned(90),
    "holed": _holed,
}


@pytest.mark.parametrize("name", [*sorted(CLIPS), *OTHERS, "interlaced"])
def test_a_few_frames_are_those_of_all(plain: Path, tmp_path: Path, name: str) -> None:
    """What nothing needs is not decoded then: the same frames, pixels and times all the same."""
    path = tmp_path / "clip.mp4"
    interlaced = _copy(*X264, "-flags", "+ilme+ildct", "-x264opts", "tff=1")
    (CLIPS | OTHERS | {"interlaced": interlaced})[name](plain, path)
    every = {frame.index: frame for frame in all_frames(path, "pyav")}
    rng = np.random.default_rng(0)
    for count in (1, 2, 4, 9):
        indices = rng.choice(46, count, replace=False).tolist()
        found = list(video.frames(str(path), indices, decoder="pyav"))
        assert [frame.index for frame in found] == sorted(index for index in indices if index in every)
        for frame in found:
            assert np.array_equal(frame.image, every[frame.index].image)
            assert frame.time_s == every[frame.index].time_s


@pytest.mark.parametrize("name", [*sorted(CLIPS), *OTHERS])
def test_encoding_again_keeps_every_frame_at_its_index(plain: Path, tmp_path: Path, name: str) -> None:
    """Frames differ from each other more than crf 30 changes them; at crf 0, 8 bit 4:2:0 is as it was."""
    path = tmp_path / "clip.mp4"
    (CLIPS | OTHERS)[name](plain, path)
    before = all_frames(path, "pyav")
    total = video.probe(str(path)).frames_total or 0
    for crf in (0, 30):
        after = list(video.recompressed(str(path), range(total), crf=crf, decoder="pyav"))
        assert [frame.index for frame in after] == [frame.index for frame in before]
        assert {frame.image.shape for frame in after} == {frame.image.shape for frame in before}
        others = np.stack([frame.image for frame in before]).astype(np.int16)
        for frame in after:
            distances = np.abs(others - frame.image).mean(axis=(1, 2, 3))
            own = distances[[other.index for other in before].index(frame.index)]
            assert own == distances.min()
            if crf == 0:
                assert own <= (1.5 if name in ("odd", "odd_yuv444", "ten_bits") else 0)
    some = list(video.recompressed(str(path), [before[0].index, before[-1].index], crf=30, decoder="pyav"))
    assert np.array_equal(some[-1].image, after[-1].image)  # encoded is the whole video, whatever is wanted of it
    assert list(video.recompressed(str(path), [], crf=30, decoder="pyav")) == []


def test_the_fallbacks_frames_are_encoded_too(plain: Path) -> None:
    if "decord" not in video.available():
        pytest.skip("decord is not installed")
    before = all_frames(plain, "decord")
    after = list(video.recompressed(str(plain), range(40), crf=0, decoder="decord"))
    assert [frame.index for frame in after] == list(range(40))
    assert max(np.abs(a.image.astype(int) - b.image).mean() for a, b in zip(before, after, strict=True)) < 1.5


def test_what_cannot_be_encoded_is_said(tmp_path: Path) -> None:
    """x264 takes no side over 16384 px."""
    path = tmp_path / "wide.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=s=16500x16:d=0.1", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", path)
    with pytest.raises(VideoError, match="cannot be encoded as H"):
        list(video.recompressed(str(path), [0], crf=30, decoder="pyav"))


@pytest.mark.shared
def test_real_clips(shared: Path) -> None:
    """c23, c40 and 1080p clips, the damaged ones included: every seventh frame."""
    data = shared / "data"
    paths = [
        *sorted((data / "dfdc_broken").rglob("*.mp4")),
        data / "dfdc/dfdc_train_part_0/eidmczffjj.mp4",
        data / "ffpp/original_sequences/youtube/c23/videos/071.mp4",
        data / "ffpp/original_sequences/youtube/c40/videos/071.mp4",
    ]
    compared = 0
    for path in paths:
        try:
            properties = video.probe(str(path))
        except VideoError:
            continue
        sideways = properties.rotation in (90, 270)
        width, height = properties.width or 0, properties.height or 0
        expected = reference(path, *((height, width) if sideways else (width, height)))
        expected = np.rot90(expected, (properties.rotation or 0) // 90, axes=(1, 2))
        for frame in video.frames(str(path), range(0, len(expected), 7), decoder="pyav"):
            assert_same_colours(frame.image, expected[frame.index])
            compared += 1
    assert compared > 100


@pytest.mark.parametrize("skip", ["nonref", "nonkey"])
@pytest.mark.parametrize("name", ["b_frames", "variable_rate", "one_gop", "starts_late", "one_frame"])
def test_skipping_gives_the_nearest_of_the_frames_that_are_left(
    plain: Path, tmp_path: Path, skip: video.Skip, name: str
) -> None:
    """Which frames are left is ffmpeg's word; nearest is brute force over them; pixels are those of an exact pass."""
    path = tmp_path / "clip.mp4"
    CLIPS[name](plain, path)
    every = all_frames(path, "pyav")
    start = times(path)[0]  # time counts from the first frame
    left = [min(range(len(every)), key=lambda i: abs((every[i].time_s or 0) + start - t)) for t in times(path, skip)]
    wanted = list(range(1, len(every), 3)) or [0]

    def nearest(index: int) -> int:
        return min(left, key=lambda i: (round(abs((every[i].time_s or 0) - (every[index].time_s or 0)), 4), i))

    found = list(video.frames(str(path), wanted, decoder="pyav", skip=skip))
    assert [frame.index for frame in found] == sorted({nearest(index) for index in wanted})
    for frame in found:
        assert np.array_equal(frame.image, every[frame.index].image)
        assert frame.time_s == every[frame.index].time_s


def test_avi_counts_two_slots_for_a_frame_of_h264_with_b_frames(tmp_path: Path) -> None:
    """Its header then says twice the frames and twice the rate; a player shows neither."""
    images = [np.full((96, 128, 3), 10 * i, np.uint8) for i in range(16)]
    video.write_h264(str(tmp_path / "a.mp4"), images, 25)
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "a.mp4"), "-c", "copy", str(tmp_path / "a.avi")]
    subprocess.run(command, check=True)
    found = video.probe(str(tmp_path / "a.avi"))
    assert (found.frames_total, found.frames_declared, found.fps) == (16, 16, 25.0)
