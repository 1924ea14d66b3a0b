"""Frames far apart in time: length must neither select by label nor cut one person into many."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from semblance.ingest.detector.door import Detector
from semblance.ingest.process.video import Job, process
from semblance.ingest.recipe import Recipe, parse
from semblance.ingest.sources import source
from semblance.manifests import storage
from semblance.manifests.records import Outcome, Video

RECIPE = parse({"sampling": {"n": 8}}, "test")


@pytest.fixture(scope="module")
def slow(demo: Path, detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo clip with one face, slowed to some hundred seconds, as a fake without original and as a real."""
    root = tmp_path_factory.mktemp("slow")
    found = source("dfdc").discover(str(demo), storage.walk(str(demo)))
    for planned in found.videos:
        outcome = run(demo, planned, detector) if planned.label == 0 else None
        if outcome and outcome.samples and len({sample.row["person"] for sample in outcome.samples}) == 1:
            break
    for name in ("fake/swap/long.mp4", "real/other.mp4"):
        (root / name).parent.mkdir(parents=True)
        command = ["ffmpeg", "-v", "error", "-i", str(demo / planned.path), "-vf", "setpts=60*PTS", "-r", "0.5"]
        subprocess.run([*command, "-c:v", "libx264", "-preset", "veryfast", str(root / name)], check=True)
    return root


def run(root: Path, planned: Video, detector: Detector, recipe: Recipe = RECIPE) -> Outcome:
    return process(Job(root=str(root), video=planned, recipe=recipe, decoder="pyav"), detector).outcome


def test_a_long_fake_of_one_person_keeps_its_label(slow: Path, detector: Detector) -> None:
    videos = source("folder").discover(str(slow), storage.walk(str(slow))).videos
    outcomes = {video.label: run(slow, video, detector) for video in videos}
    fake, real = outcomes[1], outcomes[0]
    assert fake.video["duration_s"] > 60
    assert fake.samples
    assert {(sample.row["face_label"], sample.row["face_label_by"]) for sample in fake.samples} == {(1, "only_face")}
    assert {sample.row["person"] for sample in fake.samples} == {0}
    assert len(fake.samples) == len(real.samples)
    assert {sample.row["track"] for sample in fake.samples} == {0}
