"""A small synthetic DFDC: invented people, forgeries among them, true layout, marked everywhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from ingest import persons
from manifests.records import Image, SemblanceError, digest
from quality import video

MARKER: Final = ".semblance-demo.json"
VERSION: Final = 1
DEMO_RECIPE: Final[dict[str, Any]] = {"name": "demo", "split": {"fractions": [0.5, 0.25, 0.25]}}
COMMENT: Final = "synthetic (semblance demo)"
SIZE: Final = (480, 360)
FRAMES: Final = 36
_PARTS: Final = ("dfdc_train_part_0", "dfdc_train_part_1")
_ONE_PLACE: Final = [((240.0, 185.0), 1.15)]  # centre of the face in the frame, and its scale
_TWO_PLACES: Final = [((130.0, 185.0), 0.98), ((350.0, 185.0), 0.98)]

# Who is in each original, and who lends a face to its fakes (place in the cast, donor): numbers of
# ``persons.person``. Chosen from the first 300 by a greedy search so that MTCNN finds every face above 0.985 and
# the crops of two families, fakes included, differ by at least 14 bits of perceptual hash.
CASTS: Final[tuple[tuple[tuple[int, ...], tuple[tuple[int, int], ...]], ...]] = (
    ((0,), ((0, 85), (0, 91))),
    ((114, 118), ((0, 0), (1, 1), (0, 3))),
    ((), ()),
    ((1,), ((0, 0), (0, 4))),
    ((3,), ((0, 12), (0, 0))),
    ((4,), ((0, 7), (0, 10))),
    ((10,), ((0, 1), (0, 33))),
    ((194,), ((0, 7), (0, 18))),
    ((12,), ((0, 3), (0, 20))),
    ((15,), ((0, 4), (0, 12))),
    ((85, 91), ((0, 0), (1, 1), (0, 3))),
    ((18,), ((0, 1), (0, 10))),
    ((20,), ((0, 55), (0, 126))),
    ((33,), ((0, 118), (0, 12))),
    ((50,), ((0, 3), (0, 20))),
    ((94, 202), ((0, 0), (1, 1), (0, 3))),
    ((51,), ((0, 1), (0, 7))),
    ((55,), ((0, 12), (0, 1))),
    ((57,), ((0, 1), (0, 7))),
    ((79,), ((0, 0), (0, 1))),
)

_NOTE: Final = """SYNTHETIC

Nobody in these videos exists. `ingest demo` made them from one photograph (NASA's portrait of the astronaut
Eileen Collins, public domain, as shipped with scikit-image) by warping, recolouring and re-lighting it into
invented people before invented backgrounds; the forgeries blend one invented face into another's video.
They stand in DFDC's layout to try Semblance out. They are no part of DFDC, and no basis for any claim about it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What lies in the folder now; ``written`` is False where it was there already."""

    folder: str
    originals: int
    fakes: int
    written: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """One video to write: who is where, whose face is forged by whom, at which rate."""

    name: str
    part: str
    family: int
    cast: tuple[int, ...]  # numbers of people; none: an empty room
    fps: int
    original: str | None = None
    altered: int | None = None  # place in the cast
    donor: int | None = None


def write(
    folder: str, *, seed: int = 0, families: int | None = None, report: Callable[[int, int], None] | None = None
) -> Demo:
    """Write the collection, or find it written: 20 originals and 41 fakes, or the first ``families``.

    Raises SemblanceError where ``folder`` holds anything that this function did not make.
    """
    target = Path(folder)
    scenes = list(_scenes(seed))
    kept = sorted({scene.family for scene in scenes})[:families]
    scenes = [scene for scene in scenes if scene.family in kept]
    fakes = sum(scene.original is not None for scene in scenes)
    made = {"made_by": "ingest demo", "version": VERSION, "seed": seed, "families": len(kept)}
    done = Demo(folder=folder, originals=len(scenes) - fakes, fakes=fakes, written=False)
    if not _claimed(target, made):
        _clear(target, made)
        for number, scene in enumerate(scenes):
            _write_scene(target, scene)
            if report is not None:
                report(number + 1, len(scenes))
        _write_tables(target, scenes)
        _mark(target, made | {"complete": True})
        return Demo(folder=folder, originals=done.originals, fakes=fakes, written=True)
    return done


def _scenes(seed: int) -> Iterator[_Scene]:
    """Each original, behind it its fakes."""
    for family, (cast, fakes) in enumerate(CASTS):
        original = _Scene(
            name=_name(seed, family, 0),
            part=_PARTS[family % 2],
            family=family,
            cast=cast,
            fps=25 if family % 7 == 3 else 30,
        )
        yield original
        for number, (altered, donor) in enumerate(fakes):
            name = _name(seed, family, number + 1)
            yield replace(original, name=name, original=original.name, altered=altered, donor=donor)


def _name(seed: int, family: int, number: int) -> str:
    """Ten letters, as the real set has them: nothing in them tells the label."""
    letters = digest("demo", seed, family, number)
    return "".join(chr(ord("a") + int(letters[2 * i : 2 * i + 2], 16) % 26) for i in range(10)) + ".mp4"


def _write_scene(target: Path, scene: _Scene) -> None:
    folder = target / scene.part
    folder.mkdir(parents=True, exist_ok=True)
    video.write_h264(str(folder / scene.name), _frames(scene), scene.fps, crf=20, comment=COMMENT)


def _frames(scene: _Scene) -> Iterator[Image]:
    cast = [persons.person(number) for number in scene.cast]
    if scene.altered is not None and scene.donor is not None:
        cast[scene.altered] = persons.forged(cast[scene.altered], persons.person(scene.donor))
    for index in range(FRAMES):
        yield scene_frame(cast, scene.cast, index)


def scene_frame(people: list[persons.Person], cast: tuple[int, ...], index: int) -> Image:
    """Frame ``index`` of the scene of ``cast``, played by ``people``: (360, 480, 3)."""
    background = people[0].ground if people else persons.ground(np.random.default_rng(10_000))
    places = [((130, 185), 0.98), ((350, 185), 0.98)] if len(people) == 2 else [((240, 185), 1.15)]
    phase = 0.13 * cast[0] if cast else 0.0
    placed = [(one, *place) for one, place in zip(people, places, strict=False)]
    return persons.frame(placed, background, index / FRAMES, phase, SIZE)


def _write_tables(target: Path, scenes: list[_Scene]) -> None:
    for part in sorted({scene.part for scene in scenes}):
        rows = {}
        for scene in sorted((one for one in scenes if one.part == part), key=lambda one: one.name):
            label = {"label": "FAKE" if scene.original else "REAL", "split": "train"}
            rows[scene.name] = label | ({"original": scene.original} if scene.original else {})
        (target / part / "metadata.json").write_text(json.dumps(rows), "utf-8")
    (target / "SYNTHETIC.txt").write_text(_NOTE, "utf-8")
    (target / "recipe.yaml").write_text(yaml.safe_dump(DEMO_RECIPE, sort_keys=False), "utf-8")


def _claimed(target: Path, made: dict[str, Any]) -> bool:
    """Whether the folder holds just this collection, whole; raises SemblanceError where it is another's."""
    marker = target / MARKER
    if not marker.is_file():
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise SemblanceError(
                f"{target} holds files that `ingest demo` did not make; name another folder with --to."
            )
        return False
    try:
        return bool(json.loads(marker.read_text("utf-8")) == made | {"complete": True})
    except ValueError:
        return False


def _clear(target: Path, made: dict[str, Any]) -> None:
    """Remove what an earlier demo left in its own folder, and claim it."""
    for part in _PARTS:
        shutil.rmtree(target / part, ignore_errors=True)
    target.mkdir(parents=True, exist_ok=True)
    _mark(target, made)


def _mark(target: Path, value: dict[str, Any]) -> None:
    (target / MARKER).write_text(json.dumps(value), "utf-8")
