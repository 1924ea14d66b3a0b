"""A person of a fake who is out of time with the original is not judged by the difference from it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from semblance.ingest.demo.people import make_person, render
from semblance.ingest.detector.door import Detector
from semblance.ingest.process.video import Job, process
from semblance.ingest.recipe import parse
from semblance.manifests.records import Image, Outcome, Video
from semblance.quality import video

RECIPE = parse(
    {"sampling": {"n": 12}, "gates": dict.fromkeys(("blur", "brightness", "face_ratio", "min_face"))}, "test"
)
SIZE = (640, 360)
LENGTH = 40


def place(moment: int, centre: float) -> float:
    return centre + 3.0 * float(np.sin(moment * 0.9))


def frame(left: int, right: int, *, forged: bool) -> Image:
    """Two people, each at a moment of their own movement; the left one's face forged or not."""
    x, y = place(left, 160), 185.0
    people = [(make_person(114), (x, y), 0.98), (make_person(118), (place(right, 480), y), 0.98)]
    image = render(people, make_person(3).background, 0.0, 0.0, SIZE)
    if forged:
        rows, columns = np.ogrid[: SIZE[1], : SIZE[0]]
        inside = ((columns - x) / 38) ** 2 + ((rows - y) / 48) ** 2 <= 1
        other = np.roll(cv2.GaussianBlur(image, (0, 0), 4), 6, axis=1)
        image = np.where(inside[..., None], np.clip(other.astype(np.int16) + 12, 0, 255).astype(np.uint8), image)
    return image


def planned(name: str, label: int) -> Video:
    return Video(
        video_id=name,
        path=f"{name}.mp4",
        dataset="folder",
        label=label,
        method="swap" if label else "pristine",
        family_id="real",
        bytes=1,
        split="train",
        shard="shards/train/folder-train-000000.tar",
        order=0,
    )


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, detector: Detector) -> dict[str, Outcome]:
    """Fakes in which the left person is forged: the right one as she was, and two frames late."""
    root = tmp_path_factory.mktemp("timing")
    write(root, "real", [frame(i, i, forged=False) for i in range(LENGTH)])
    write(root, "fake", [frame(i, i, forged=True) for i in range(LENGTH)])
    write(root, "late", [frame(i, i - 2, forged=True) for i in range(LENGTH)])
    first = process(job(root, planned("real", 0)), detector)
    found = {"real": first.outcome}
    for name in ("fake", "late"):
        found[name] = process(job(root, planned(name, 1), guide=first.guide), detector).outcome
    return found


def write(root: Path, name: str, images: list[Image]) -> None:
    video.write_h264(str(root / f"{name}.mp4"), images, Fraction(25), crf=18)


def job(root: Path, of: Video, **more: object) -> Job:
    return Job(root=str(root), video=of, recipe=RECIPE, decoder="pyav", gives_guide=True, **more)  # type: ignore[arg-type]


def by_side(outcome: Outcome) -> dict[str, list[object]]:
    sides: dict[str, list[object]] = {"left": [], "right": []}
    for sample in outcome.samples:
        sides["left" if sample.row["box_x0"] < SIZE[0] / 2 else "right"].append(sample.row)
    return sides


def values(rows: list[object], column: str) -> set[object]:
    return {row[column] for row in rows}  # type: ignore[index]


def test_both_fakes_are_guided_and_the_altered_person_is_labelled(outcomes: dict[str, Outcome]) -> None:
    for name in ("fake", "late"):
        assert outcomes[name].video["guide"] == "original"
        left = by_side(outcomes[name])["left"]
        assert len(left) >= 8
        assert values(left, "face_label_by") == {"change"}


def test_the_untouched_person_is_never_called_altered(outcomes: dict[str, Outcome]) -> None:
    for name in ("fake", "late"):
        right = by_side(outcomes[name])["right"]
        assert len(right) >= 8
        assert values(right, "face_label") == {None}


def test_only_out_of_time_the_change_is_unknown(outcomes: dict[str, Outcome]) -> None:
    assert None not in values(by_side(outcomes["fake"])["right"], "change_peak")
    assert values(by_side(outcomes["late"])["right"], "change_peak") == {None}
    assert None not in values(by_side(outcomes["late"])["left"], "change_peak")
