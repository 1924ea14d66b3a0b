"""Faults inside a video: short forms; `make faults` runs the long ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults import memory, rig, videos

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def test_a_decoder_that_fails_costs_its_video_alone_and_has_another_chance(
    demo: Path, good: Path, tmp_path: Path
) -> None:
    for line in videos.decoders(demo, good, tmp_path):
        rig.sound(line)


@needs_ffmpeg
def test_malformed_files_have_a_row_each(plain: Path, tmp_path: Path) -> None:
    rig.sound(videos.malformed(plain, tmp_path))


@needs_ffmpeg
@pytest.mark.slow
def test_what_the_recipe_does_not_allow_is_refused(plain: Path, tmp_path: Path) -> None:
    rig.sound(videos.beyond(plain, tmp_path))


@needs_ffmpeg
def test_mutated_files_have_a_row_each(plain: Path, tmp_path: Path) -> None:
    rig.sound(videos.fuzz(25, 7, plain, tmp_path))


@needs_ffmpeg
def test_a_leaking_child_is_replaced(plain: Path, tmp_path: Path) -> None:
    rig.sound(memory.leaking(10, plain, tmp_path))


@needs_ffmpeg
@pytest.mark.slow
def test_memory_is_flat(plain: Path, tmp_path: Path) -> None:
    rig.sound(memory.flat(300, plain, tmp_path, 48))
