"""Frames of damaged files against those of the sound file."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from semblance.ingest.demo import people
from semblance.manifests.records import Frame
from semblance.quality import video
from tests.quality.video.test_video import ffmpeg

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")

COUNT = 72
VISIBLE = 5.0  # mean difference in grey levels
X264 = ("-c:v", "libx264", "-threads", "1", "-g", "24")
ENCODINGS = {
    "h264.mp4": X264,
    "h264.ts": X264,
    "open_gop.mp4": (*X264, "-x264opts", "open-gop=1:bframes=5"),
    "no_b.mp4": (*X264, "-tune", "zerolatency"),
    "mpeg4.mp4": ("-c:v", "mpeg4", "-q:v", "3", "-bf", "2", "-g", "24"),
    "mpeg2.ts": ("-c:v", "mpeg2video", "-q:v", "3", "-bf", "2", "-g", "12"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """72 frames of a moving person over noise, in several encodings."""
    folder = tmp_path_factory.mktemp("sound")
    person, noise = people.make_person(0), np.random.default_rng(0)
    grain = noise.integers(-12, 13, (240, 320, 3))
    images = [
        people.render([(person, (100 + 2 * i, 150.0), 0.8)], person.background, i / COUNT, 0, (320, 240))
        for i in range(COUNT)
    ]
    images = [np.clip(image + np.roll(grain, i, axis=1), 0, 255).astype(np.uint8) for i, image in enumerate(images)]
    video.write_h264(str(folder / "base.mp4"), images, 25, crf=12)
    for name, options in ENCODINGS.items():
        ffmpeg("-i", folder / "base.mp4", *options, folder / name)
    return {name: folder / name for name in ENCODINGS}


def _randomised(data: bytes, chance: random.Random) -> bytes:
    """The third quarter is noise."""
    begin, end = len(data) // 2, len(data) * 3 // 4
    return data[:begin] + chance.randbytes(end - begin) + data[end:]


def _flipped(data: bytes, chance: random.Random) -> bytes:
    """Ten bits within the pictures."""
    changed = bytearray(data)
    for _ in range(10):
        changed[chance.randrange(len(data) // 8, len(data) * 7 // 8)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _zeroed(data: bytes, chance: random.Random) -> bytes:
    begin = chance.randrange(len(data) // 4, len(data) // 2)
    return data[:begin] + bytes(800) + data[begin + 800 :]


DAMAGES: list[Callable[[bytes, random.Random], bytes]] = [_randomised, _flipped, _zeroed]


def given(path: Path, wanted: range = range(COUNT), skip: video.Skip = "none") -> list[Frame]:
    return list(video.frames(str(path), wanted, decoder="pyav", skip=skip))


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_sound_file_loses_no_frame(sound: dict[str, Path], name: str) -> None:
    assert [frame.index for frame in given(sound[name])] == list(range(COUNT))


def test_a_start_at_an_open_group_is_no_damage(sound: dict[str, Path], tmp_path: Path) -> None:
    """The decoder reports frames to be forgotten that it never had."""
    path = tmp_path / "late.mkv"
    ffmpeg("-ss", "1.2", "-i", sound["open_gop.mp4"], "-c", "copy", path)
    total = video.probe(str(path)).frames_total or 0
    assert total > 24
    found = [frame.index for frame in given(path, range(total))]
    assert found == list(range(len(found)))
    assert len(found) >= total - 5  # five before the start refer to what was cut off


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ENCODINGS)
def test_damaged_frames_are_missing(
    sound: dict[str, Path], tmp_path: Path, name: str, damage: Callable[[bytes, random.Random], bytes]
) -> None:
    """What is given out is what the sound file shows at that time, on each way of decoding; a frame may be lost whole
    in a damaged file, so times, not numbers, are compared.
    """
    shown = {round((frame.time_s or 0) * 25): frame.image.astype(np.int16) for frame in given(sound[name])}
    path = tmp_path / name
    path.write_bytes(damage(sound[name].read_bytes(), random.Random(1)))
    every = given(path)
    assert 0 < len(every) < COUNT
    for found in (every, given(path, range(0, COUNT, 7)), given(path, skip="nonref")):
        for frame in found:
            assert np.abs(shown[round((frame.time_s or 0) * 25)] - frame.image).mean() < VISIBLE
    again = video.recompressed(str(path), range(COUNT), crf=10, decoder="pyav")
    assert [frame.index for frame in again] == [frame.index for frame in every]


def test_the_first_frame_gives_the_times_though_it_is_damaged(sound: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(sound["h264.ts"].read_bytes())
    data[188 * 12 : 188 * 30] = random.Random(2).randbytes(188 * 18)
    (tmp_path / "start.ts").write_bytes(data)
    whole = {frame.index: frame.time_s for frame in given(sound["h264.ts"])}
    found = given(tmp_path / "start.ts")
    assert found
    assert found[0].index > 0
    assert all(frame.time_s == whole[frame.index] for frame in found)
