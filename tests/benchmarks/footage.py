"""Faces, tracks, persons and face labels on real, hard footage: ``python -m tests.benchmarks.footage`` writes
``tests/benchmarks/CLIPS.md``.

The truth was marked by hand at some six key frames a clip: who is where, and who is forged. Between two key frames of
one shot a person is taken to be on the straight line between them.
"""

from __future__ import annotations

import csv
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2

from semblance.ingest import plan as planning
from semblance.ingest.recipe import Recipe
from semblance.manifests.records import Box, Outcome, Video
from tests.ingest import in_process

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("CLIPS.md")
Row = Mapping[str, Any]

_KEY: Final = 0.6  # of the face's side: how far a face may be from a hand-drawn one at a key frame
_BETWEEN: Final = 0.9  # and between key frames, where the truth is interpolated
_LIKE: Final = 2.0  # how much larger or smaller it may be


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What was marked in one clip: the boxes (x, y, w, h) of each person by key frame, the cuts, who is forged."""

    persons: Mapping[str, Mapping[int, Box]]
    cuts: Sequence[int]
    altered: frozenset[str]
    count: int

    def shot(self, frame: int) -> int:
        return sum(frame >= cut for cut in self.cuts)

    def who(self, frame: int, box: Box) -> str | None:
        """The person whose face this is, None for nobody who was marked."""
        best: tuple[float, str] | None = None
        for person, boxes in self.persons.items():
            place = self._place(boxes, frame)
            if place is None:
                continue
            x, y, w, h = place
            sides = max(w, h), max(box[2] - box[0], box[3] - box[1])
            away = math.hypot(x + w / 2 - (box[0] + box[2]) / 2, y + h / 2 - (box[1] + box[3]) / 2) / min(sides)
            limit = _KEY if frame in boxes else _BETWEEN
            if away <= limit and max(sides) <= _LIKE * min(sides) and (best is None or away < best[0]):
                best = away, person
        return best[1] if best else None

    def _place(self, boxes: Mapping[int, Box], frame: int) -> Box | None:
        near = sorted(key for key in boxes if self.shot(key) == self.shot(frame))
        if not near:
            return None
        before = max((key for key in near if key <= frame), default=near[0])
        after = min((key for key in near if key >= frame), default=near[-1])
        part = (frame - before) / (after - before) if after != before else 0.0
        x, y, w, h = (a + (b - a) * part for a, b in zip(boxes[before], boxes[after], strict=True))
        return x, y, w, h


@dataclass(slots=True, kw_only=True)
class Score:
    """What came out for one clip, or for all of them. Scores add up."""

    faces: int = 0  # marked at the key frames
    found: int = 0
    false: int = 0  # found at the key frames, and nobody's face
    persons: int = 0  # who were found
    named: int = 0  # persons that the build made of them
    mixed_persons: int = 0
    appearances: int = 0  # a person in a shot
    tracks: int = 0
    mixed_tracks: int = 0
    altered: int = 0  # kept crops of forged persons
    labelled: int = 0  # of those, with face_label 1
    untouched: int = 0  # kept crops of others in fakes
    wronged: int = 0  # of those, with face_label 1

    def __add__(self, other: Score) -> Score:
        return Score(**{name: getattr(self, name) + getattr(other, name) for name in self.__slots__})


def truths(folder: Path) -> dict[str, Truth]:
    """The truth of every clip, by file name."""
    boxes: dict[str, dict[str, dict[int, Box]]] = {}
    with (folder / "faces.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            x, y, w, h = (float(row[name]) for name in "xywh")
            boxes.setdefault(row["file"], {}).setdefault(row["person"], {})[int(row["frame"])] = (x, y, w, h)
    with (folder / "clips.csv").open(newline="") as file:
        return {
            row["file"]: Truth(
                persons=boxes.get(row["file"], {}),
                cuts=[int(cut) for cut in row["cuts"].split(",") if cut],
                altered=frozenset(row["altered"].split()),
                count=int(row["persons"]),
            )
            for row in csv.DictReader(file)
        }


def score(video: Video, outcome: Outcome, truth: Truth) -> Score:
    """Compare one clip's faces with what was marked."""
    kept = [sample.row for sample in outcome.samples]
    faces = [*kept, *(one.row for one in outcome.rejections if one.row["unit"] == "face")]
    people: dict[str, set[int]] = {}
    persons: dict[int, set[str]] = {}
    tracks: dict[int, set[str]] = {}
    result = Score(faces=sum(len(boxes) for boxes in truth.persons.values()))
    keys = {frame for boxes in truth.persons.values() for frame in boxes}
    for row in faces:
        who, frame = truth.who(row["frame_index"], _box(row)), row["frame_index"]
        if who is None:
            result.false += frame in keys and row["person"] is not None
            continue
        result.found += frame in truth.persons[who]
        people.setdefault(who, set()).add(truth.shot(frame))
        tracks.setdefault(row["track"], set()).add(who)
        if row["person"] is not None:
            persons.setdefault(row["person"], set()).add(who)
    result.persons, result.appearances = len(people), sum(map(len, people.values()))
    result.named, result.tracks = len(persons), len(tracks)
    result.mixed_persons, result.mixed_tracks = (sum(len(one) > 1 for one in by.values()) for by in (persons, tracks))
    if video.label == 1:
        for row in kept:
            who = truth.who(row["frame_index"], _box(row))
            if who is None and truth.count > 1:
                continue  # somebody between two key frames, far from the straight line
            forged = who in truth.altered or truth.count == 1
            result.altered += forged
            result.labelled += forged and row["face_label"] == 1
            result.untouched += not forged
            result.wronged += not forged and row["face_label"] == 1
    return result


def _box(row: Row) -> Box:
    return row["box_x0"], row["box_y0"], row["box_x1"], row["box_y1"]


def recipe(**changes: Any) -> Recipe:
    """The plan's recipe on the clips' table, all faces kept."""
    gates = dict.fromkeys(("min_face", "brightness", "face_ratio", "blur"))
    return Recipe.model_validate({"source": {"table": "table.csv"}, "gates": gates, **changes})


COLUMNS: Final = (
    *("clip", "faces found", "false", "tracks / appearances", "persons / true", "mixed tracks, persons"),
    *("forged crops labelled 1", "untouched crops labelled 1"),
)


def page(by_clip: Mapping[str, Score], heading: str) -> Iterator[str]:
    """A table of the clips, and of all of them together."""
    yield f"## {heading}"
    yield ""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|" + "---|" * len(COLUMNS)
    for clip, one in by_clip.items():
        yield _line(clip, one)
    yield _line("**all**", sum(by_clip.values(), start=Score()))
    yield ""


def _line(clip: str, one: Score) -> str:
    cells = (
        clip,
        f"{one.found} of {one.faces}",
        str(one.false),
        f"{one.tracks} / {one.appearances}" + (f" = {one.tracks / one.appearances:.2f}" if one.appearances else ""),
        f"{one.named} / {one.persons}" + (f" = {one.named / one.persons:.2f}" if one.persons else ""),
        f"{one.mixed_tracks}, {one.mixed_persons}",
        f"{one.labelled} of {one.altered}" if one.altered else "",
        f"{one.wronged} of {one.untouched}" if one.untouched else "",
    )
    return "| " + " | ".join(cells) + " |"


INTRODUCTION: Final = """# Real footage: faces, tracks, persons, labels

Made by `python -m tests.benchmarks.footage`. The clips and their truth are in `clips/` of the sample collections: some
six key frames a clip, where every face was marked by hand. *Faces found*: of those marked at key frames, with any
confidence. *False*: faces found at key frames that are none of them, and are not doubted. *Appearances*: a person in a
shot. *Persons*: true persons of whom any face was found. *Mixed*: tracks or persons that hold two people. The plan's
gates for size, light and blur are off, so that all faces count.
"""
SETTINGS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("detect.min_face 80, the plan's", {}),
    ("detect.min_face 20", {"detect": {"min_face": 20}}),
)


def scores(folder: Path, **changes: Any) -> dict[str, Score]:
    """The score of each clip of the folder."""
    marked = truths(folder)
    return {
        video.path.rpartition("/")[2]: score(video, outcome, marked[video.path.rpartition("/")[2]])
        for video, outcome in in_process.outcomes(planning.make("folder", str(folder), recipe(**changes)))
    }


def main() -> None:
    shared = Path(os.environ.get("SEMBLANCE_SHARED", REPOSITORY.parent / "shared"))
    if not (shared / "clips" / "table.csv").is_file():
        sys.exit(f"There are no clips at {shared / 'clips'}; name the sample collections with SEMBLANCE_SHARED.")
    cv2.setNumThreads(0)
    lines = [INTRODUCTION]
    for heading, changes in SETTINGS:
        for line in page(scores(shared / "clips", **changes), heading):
            print(line, flush=True)
            lines.append(line)
    TABLE.write_text("\n".join(lines))
    print(f"{TABLE.relative_to(REPOSITORY)} is written")


if __name__ == "__main__":
    main()
