"""The effect of recipe settings on one video: sampling, faces, crops, gates, encoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from semblance.ingest.detector.door import Detector
from semblance.ingest.process.video import Job, process
from semblance.ingest.recipe import NAMED, parse
from semblance.ingest.sources import source
from semblance.manifests import storage
from semblance.manifests.records import Outcome, Video
from semblance.quality import codec


@pytest.fixture(scope="module")
def reals(demo: Path) -> list[Video]:
    found = source("dfdc").discover(str(demo), storage.walk(str(demo))).videos
    return sorted((video for video in found if video.label == 0), key=lambda video: video.video_id)


def run(demo: Path, video: Video, detector: Detector, values: dict[str, Any], **more: Any) -> Outcome:
    recipe = parse(values, "test")
    return process(Job(root=str(demo), video=video, recipe=recipe, decoder="pyav", **more), detector).outcome


def people(demo: Path, reals: list[Video], detector: Detector, count: int) -> Video:
    """The first original with this many people."""
    for video in reals:
        rows = [sample.row for sample in run(demo, video, detector, {"sampling": {"n": 1}}).samples]
        if len(rows) == count:
            return video
    raise AssertionError(count)


@pytest.fixture(scope="module")
def one_person(demo: Path, reals: list[Video], detector: Detector) -> Video:
    return people(demo, reals, detector, 1)


@pytest.fixture(scope="module")
def two_people(demo: Path, reals: list[Video], detector: Detector) -> Video:
    return people(demo, reals, detector, 2)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({"mode": "first", "n": 3}, [0, 1, 2]),
        ({"mode": "every", "k": 15}, [0, 15, 30]),
        ({"mode": "fps", "fps": 2.5}, [0, 12, 24]),
        ({"mode": "clips", "clips": 2, "length": 2, "stride": 3}, [8, 11, 24, 27]),
        ({"mode": "list", "table": "frames.csv"}, [5, 17]),
    ],
)
def test_sampled_frames_are_the_requested_ones(
    demo: Path, one_person: Video, detector: Detector, sampling: dict[str, Any], expected: list[int]
) -> None:
    """The clips of the demo have 36 frames at 30 frames per second."""
    outcome = run(demo, one_person, detector, {"sampling": sampling}, listed=(5, 17, 99999))
    assert (outcome.video["frames_total"], outcome.video["fps"]) == (36, 30.0)
    assert sorted({sample.row["frame_index"] for sample in outcome.samples}) == expected
    assert outcome.video["frames_sampled"] == len(expected)


def test_largest_keeps_one_face_per_frame_and_gives_a_reason_for_the_other(
    demo: Path, two_people: Video, detector: Detector
) -> None:
    sampling = {"sampling": {"n": 3}}
    every = run(demo, two_people, detector, sampling)
    outcome = run(demo, two_people, detector, sampling | {"faces": "largest"})
    assert (len(every.samples), len(outcome.samples)) == (6, 3)
    for sample in outcome.samples:
        (other,) = [r.row for r in outcome.rejections if r.row["frame_index"] == sample.row["frame_index"]]
        sides = [max(row["box_x1"] - row["box_x0"], row["box_y1"] - row["box_y0"]) for row in (sample.row, other)]
        areas = [(row["box_x1"] - row["box_x0"]) * (row["box_y1"] - row["box_y0"]) for row in (sample.row, other)]
        assert areas[0] >= areas[1]
        assert (other["stage"], other["reason"]) == ("limit", "not_largest")
        assert (other["limit"], other["measured"]) == pytest.approx(sides)
    assert outcome.video["faces_seen"] == outcome.video["crops_kept"] + outcome.video["crops_rejected"] == 6


def test_gates_that_mark_store_what_they_would_reject(demo: Path, one_person: Video, detector: Detector) -> None:
    sharp: dict[str, Any] = {"sampling": {"n": 4}, "gates": {"blur": 1e6, "brightness": (0.99, 1.0)}}
    rejected = run(demo, one_person, detector, sharp)
    assert (len(rejected.samples), len(rejected.rejections)) == (0, 4)
    assert all(len(rejection.picture or b"") > 0 for rejection in rejected.rejections)
    assert all(rejection.row["reasons"] == ["dark", "blur"] for rejection in rejected.rejections)
    assert all(
        rejection.row["reason"] == "dark" and rejection.row["limit"] == 0.99 for rejection in rejected.rejections
    )
    sharp["gates"]["mode"] = "mark"
    marked = run(demo, one_person, detector, sharp)
    assert [sample.row["verdict"] for sample in marked.samples] == ["dark"] * 4
    assert marked.video["crops_kept"] == 0
    assert marked.video["crops_rejected"] == marked.video["faces_seen"] == 4
    kept = run(demo, one_person, detector, {"sampling": {"n": 4}, "gates": {"mode": "mark"}})
    assert [sample.row["verdict"] for sample in kept.samples] == ["keep"] * 4
    assert [sample.picture for sample in kept.samples] == [sample.picture for sample in marked.samples]


def test_deepfakebench_crops_are_aligned(demo: Path, two_people: Video, detector: Detector) -> None:
    """256 px with level, centred eyes, checked by detecting the face in the crop again."""
    outcome = run(demo, two_people, detector, NAMED["deepfakebench"] | {"sampling": {"n": 3}})
    assert len(outcome.samples) == 3
    for sample in outcome.samples:
        image = codec.decode(sample.picture)
        assert image.shape == (256, 256, 3)
        border = cv2.copyMakeBorder(image, 80, 80, 80, 80, cv2.BORDER_REPLICATE)
        face = detector.find(np.asarray(border, np.uint8))[0]
        (left_x, left_y), (right_x, right_y) = np.array(face.landmarks).reshape(5, 2)[:2] - 80
        assert abs(left_y - right_y) < 6
        assert abs((left_x + right_x) / 2 - 128) < 6


def test_selim_crops_are_wider(demo: Path, one_person: Video, detector: Detector) -> None:
    outcome = run(demo, one_person, detector, dict(NAMED["selim"]))
    assert sorted(sample.row["frame_index"] for sample in outcome.samples) == [0, 10, 20, 30]
    for sample in outcome.samples:
        row = sample.row
        side = max(row["box_x1"] - row["box_x0"], row["box_y1"] - row["box_y0"])
        assert row["crop_side"] == pytest.approx(side * 5 / 3, abs=1.5)
        assert codec.decode(sample.picture).shape == (380, 380, 3)


@pytest.mark.parametrize(("form", "magic"), [("png", b"\x89PNG"), ("webp", b"RIFF")])
def test_lossless_pictures(demo: Path, one_person: Video, detector: Detector, form: str, magic: bytes) -> None:
    lossy = run(demo, one_person, detector, {"sampling": {"n": 2}})
    lossless = run(demo, one_person, detector, {"sampling": {"n": 2}, "encoding": {"format": form}})
    for exact, jpeg in zip(lossless.samples, lossy.samples, strict=True):
        assert exact.picture.startswith(magic)
        difference = codec.decode(exact.picture).astype(int) - codec.decode(jpeg.picture)
        assert 0 < np.abs(difference).mean() < 2
