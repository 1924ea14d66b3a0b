"""What is seen between the wanted frames: all of it once, upright, and every cut."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from semblance.ingest.demo.people import make_person, render
from semblance.manifests.records import Frame, Image
from semblance.quality import video
from semblance.quality.video import glances

SIZE = (640, 360)


def scene(person: int, x: float) -> Image:
    return render([(make_person(person), (x, 185.0), 0.98)], make_person(person).background, 0.0, 0.0, SIZE)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames with a cut at 13; B-frames, so that some are not decoded."""
    path = tmp_path_factory.mktemp("glances") / "clip.mp4"
    images = [scene(0, 200.0 + 3 * i) for i in range(13)] + [255 - scene(33, 400.0 - 3 * i)[:, ::-1] for i in range(11)]
    video.write_h264(str(path), images, Fraction(25))
    return path


def read(path: Path, wanted: list[int]) -> list[Frame]:
    return list(video.frames(str(path), wanted, decoder="pyav", glances=True))


def test_a_cut_is_found_between_the_wanted_frames_that_it_parts(clip: Path) -> None:
    assert [frame.cut for frame in read(clip, [3, 8, 15, 20])] == [False, False, True, False]


def test_glances_end_with_the_frame_itself(clip: Path) -> None:
    for frame in read(clip, list(range(24))):
        assert len(frame.glances) == 1
        grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY).astype(np.float32)[::2, ::2]
        luma = (frame.glances[0].astype(np.float32) - 16) * 255 / 219  # limited range
        assert frame.glances[0].shape == grey.shape
        assert np.abs(luma - grey).mean() < 3


def test_what_lies_before_a_given_frame_is_not_seen_again(tmp_path: Path) -> None:
    """Where damage makes the reader begin again, the next frame tells of what came since the last one alone."""
    path = tmp_path / "clip.mp4"
    images = [scene(0, 200.0 + 2 * i) for i in range(13)] + [255 - scene(33, 400.0 - 2 * i)[:, ::-1] for i in range(59)]
    video.write_h264(str(path), images, Fraction(25), gop=24)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    broken = next(packet for packet in packets if 34 * 512 <= packet.pts < 40 * 512 and not packet.is_keyframe)
    data = bytearray(path.read_bytes())
    data[broken.pos + 8 : broken.pos + broken.size] = bytes(broken.size - 8)
    wanted = [3, 8, 15, 20, 60, 66]
    sound = read(path, wanted)
    path.write_bytes(data)
    found = read(path, wanted)
    assert [frame.index for frame in found] == [frame.index for frame in sound] == wanted
    assert [frame.cut for frame in found] == [frame.cut for frame in sound] == [False, False, True, False, False, False]
    assert found[4].glances
    assert len(found[4].glances) <= 60 - 20


def test_nobody_looks_where_glances_are_not_asked_for(clip: Path) -> None:
    for frame in video.frames(str(clip), [3, 9], decoder="pyav"):
        assert (frame.glances, frame.cut) == ((), None)


def test_too_many_glances_are_none_and_cuts_are_still_found(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glances, "MOST", 2)
    found = read(clip, [1, 12, 20])
    assert [len(frame.glances) for frame in found] == [2, 0, 0]
    assert [frame.cut for frame in found] == [False, False, True]


def test_glances_are_upright_and_small(tmp_path: Path) -> None:
    plain, turned = tmp_path / "plain.mp4", tmp_path / "turned.mp4"
    large = [cv2.resize(scene(0, 200.0), (1920, 1080))] * 2
    video.write_h264(str(plain), large, Fraction(25))  # type: ignore[arg-type]
    command = ["ffmpeg", "-v", "error", "-i", str(plain), "-c", "copy", "-metadata:s:v:0", "rotate=90", str(turned)]
    subprocess.run(command, check=True)
    (frame,) = read(turned, [1])
    height, width = frame.image.shape[:2]
    assert height > width
    assert frame.glances[-1].shape == (height // 4, width // 4)


@pytest.mark.parametrize("shift", [0, 1, 5])
def test_a_camera_that_moves_is_no_cut_and_another_picture_is(shift: int) -> None:
    rng = np.random.default_rng(3)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (48, 60)).astype(np.float32), (0, 0), 2)
    wide = (wide - wide.mean()) * 8 + 128
    other = cv2.GaussianBlur(rng.integers(0, 256, (48, 48)).astype(np.float32), (0, 0), 2)
    other = (other - other.mean()) * 8 + 128
    before = np.ascontiguousarray(wide[:, :48]).astype(np.float32)
    assert not glances.is_cut(before, np.ascontiguousarray(wide[:, shift : shift + 48]).astype(np.float32))
    assert glances.is_cut(before, other.astype(np.float32))
    black, white = np.zeros((48, 48), np.float32), np.full((48, 48), 255, np.float32)
    assert glances.is_cut(black, white)
    assert not glances.is_cut(black, black)
