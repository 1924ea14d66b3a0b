"""Fakes guided by their original, on real H.264 made from the demo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semblance.ingest.detector.door import Detector
from semblance.ingest.process.video import Job, Result, process
from semblance.ingest.recipe import Recipe, parse
from semblance.ingest.sources import source
from semblance.manifests import storage
from semblance.manifests.records import Image, Video
from semblance.quality import video

RECIPE = parse({"sampling": {"n": 8}}, "test")


def discover(root: Path) -> list[Video]:
    found = source("dfdc").discover(str(root), storage.walk(str(root)))
    return sorted(found.videos, key=lambda video: (video.family_id, video.label or 0, video.video_id))


def families(root: Path, detector: Detector) -> list[tuple[Video, Result, list[Video]]]:
    """Originals with a face, processed with their guide, and their fakes."""
    videos = discover(root)
    found = []
    for original in videos:
        fakes = [video for video in videos if video.label == 1 and video.family_id == original.family_id]
        if original.label == 0 and fakes:
            found.append((original, run(root, original, detector, gives_guide=True), fakes))
    return found


def run(root: Path, planned: Video, detector: Detector, recipe: Recipe = RECIPE, **more: object) -> Result:
    return process(Job(root=str(root), video=planned, recipe=recipe, decoder="pyav", **more), detector)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def one_face(demo: Path, detector: Detector) -> tuple[Video, Result, list[Video]]:
    """A family with one face: the original, its result, its fakes."""
    return next(family for family, faces in _with_faces(demo, detector) if faces == 1)


def _with_faces(root: Path, detector: Detector) -> list[tuple[tuple[Video, Result, list[Video]], int]]:
    """The families, each with its number of tracks."""
    return [
        (family, len({sample.row["track"] for sample in family[1].outcome.samples}))
        for family in families(root, detector)
    ]


def rewritten(root: Path, planned: Video, folder: Path, change: object) -> Video:
    """The video encoded again after ``change`` was applied to its frames and rate, under a new root."""
    path = str(root / planned.path)
    total = video.probe(path).frames_total or 0
    images = [frame.image for frame in video.frames(path, range(total), decoder="pyav")]
    fps = round(video.probe(path).fps or 30)
    changed, rate = change(images, fps)
    video.write_h264(str(folder / "changed.mp4"), changed, rate, crf=20)
    return replace(planned, path="changed.mp4")


def test_guided_fakes_have_a_partner_at_every_frame_and_box(demo: Path, detector: Detector) -> None:
    for _, result, fakes in families(demo, detector):
        assert result.guide is not None
        ours = {row["sample_id"][-9:]: row for row in (sample.row for sample in result.outcome.samples)}
        for fake in fakes:
            outcome = run(demo, fake, detector, guide=result.guide).outcome
            assert outcome.video["guide"] == "original"
            assert outcome.video["seconds_detect"] == 0
            assert {sample.row["sample_id"][-9:] for sample in outcome.samples} == set(ours)
            for sample in outcome.samples:
                partner = ours[sample.row["sample_id"][-9:]]
                for name in (
                    "frame_index",
                    "track",
                    "box_x0",
                    "box_y1",
                    "landmarks",
                    "confidence",
                    "crop_x0",
                    "crop_side",
                ):
                    assert sample.row[name] == partner[name]


def test_face_label_names_the_altered_face_of_two(demo: Path, detector: Detector) -> None:
    """The demo alters the left person (track by place) in one fake and the right one in the next."""
    _, result, fakes = next(family for family, faces in _with_faces(demo, detector) if faces == 2)
    altered = []
    for fake in fakes:
        rows = [sample.row for sample in run(demo, fake, detector, guide=result.guide).outcome.samples]
        labels = {(row["box_x0"] > 200, row["face_label"]) for row in rows}
        assert {label for _, label in labels} == {1, None}
        assert len(labels) == 2
        altered.append(next(right for right, label in labels if label == 1))
        assert min(r["change_peak"] for r in rows if r["face_label"]) > RECIPE.guide.change_peak
    assert set(altered) == {False, True}


def test_a_fake_cut_to_60_percent_stays_guided(
    demo: Path, detector: Detector, one_face: tuple[Video, Result, list[Video]], tmp_path: Path
) -> None:
    _, result, fakes = one_face
    assert result.guide is not None
    short = rewritten(demo, fakes[0], tmp_path, lambda images, fps: (images[: len(images) * 6 // 10], fps))
    outcome = run(tmp_path, short, detector, guide=result.guide).outcome
    assert outcome.video["guide"] == "original"
    total = outcome.video["frames_total"]
    expected = [index for index in result.guide.indices if index < total]
    assert 0 < len(expected) < len(result.guide.indices)
    assert sorted({sample.row["frame_index"] for sample in outcome.samples}) == expected


def _mirrored(images: list[Image], fps: int) -> tuple[list[Image], int]:
    return [np.ascontiguousarray(image[:, ::-1]) for image in images], fps


def _smaller(images: list[Image], fps: int) -> tuple[list[Image], int]:
    return [np.ascontiguousarray(image[20:, :]) for image in images], fps


def _faster(images: list[Image], fps: int) -> tuple[list[Image], int]:
    return images, fps + 5


def _longer(images: list[Image], fps: int) -> tuple[list[Image], int]:
    return [*images, images[-1], images[-1]], fps


@pytest.mark.parametrize(
    ("change", "reason"), [(_mirrored, "content"), (_smaller, "size"), (_faster, "fps"), (_longer, "longer")]
)
def test_an_unsuitable_fake_is_detected_without_its_original(
    demo: Path,
    detector: Detector,
    one_face: tuple[Video, Result, list[Video]],
    tmp_path: Path,
    change: object,
    reason: str,
) -> None:
    _, result, fakes = one_face
    outcome = run(tmp_path, rewritten(demo, fakes[0], tmp_path, change), detector, guide=result.guide).outcome
    assert outcome.video["guide"] == reason
    assert outcome.video["seconds_detect"] > 0
    assert outcome.samples
    assert all(sample.row["change_peak"] is None and sample.row["face_label"] == 1 for sample in outcome.samples)


def test_without_an_original_or_its_faces_there_is_no_guide(demo: Path, detector: Detector) -> None:
    videos = discover(demo)
    fakes = [video for video in videos if video.label == 1]
    assert run(demo, fakes[0], detector).outcome.video["guide"] == "no_original"
    with_fakes = {video.family_id for video in fakes}
    (empty,) = [video for video in videos if video.family_id not in with_fakes]
    faceless = run(demo, empty, detector, gives_guide=True)
    assert faceless.guide is None
    assert faceless.outcome.video["status"] == "no_face"
    frames = [rejection.row for rejection in faceless.outcome.rejections if rejection.row["unit"] == "frame"]
    assert {(row["stage"], row["reason"]) for row in frames} == {("detect", "no_face")}


def test_re_encoding_alone_is_not_a_change(
    demo: Path, detector: Detector, one_face: tuple[Video, Result, list[Video]], tmp_path: Path
) -> None:
    """The original, encoded again, as its own fake: no face is altered."""
    original, result, _ = one_face
    again = replace(rewritten(demo, original, tmp_path, lambda images, fps: (images, fps)), label=1)
    rows = [sample.row for sample in run(tmp_path, again, detector, guide=result.guide).outcome.samples]
    assert max(row["change_peak"] for row in rows) < RECIPE.guide.change_peak
