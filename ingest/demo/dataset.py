"""A small synthetic collection in DFDC's layout: invented people, some of them forged, always marked as synthetic."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from semblance.ingest.demo.people import Person, background, forge, make_person, render
from semblance.ingest.sources.base import SYNTHETIC
from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError
from semblance.manifests.ids import digest
from semblance.manifests.records import Image
from semblance.quality import video

VERSION: Final = 2
DEMO_RECIPE: Final[dict[str, Any]] = {"name": "demo", "split": {"fractions": [0.5, 0.25, 0.25]}}
COMMENT: Final = "synthetic (semblance demo)"
SIZE: Final = (480, 360)
FRAMES: Final = 36
_PARTS: Final = ("dfdc_train_part_0", "dfdc_train_part_1")
_ONE_PLACE: Final = [((240.0, 185.0), 1.15)]  # centre of the face in the frame, and its scale
_TWO_PLACES: Final = [((130.0, 185.0), 0.98), ((350.0, 185.0), 0.98)]

# The people in each original, and the donors of its fakes as (place in the cast, donor): seeds of ``make_person``.
# Chosen by ``tests/ingest/choose_people.py`` over 13 frames per video before encoding: MTCNN finds every face with a
# confidence above 0.985, and crops of two families, fakes included, differ by at least 14 bits of perceptual hash.
# 17, 24, 47 and 62 were removed by hand: after encoding, a face had low confidence, was blurred, was changed too little
# or was too similar to another family. The remaining families differ by at least 12 bits in ten frames of each encoded
# video.
CASTS: Final[tuple[tuple[tuple[int, ...], tuple[tuple[int, int], ...]], ...]] = (
    ((3,), ((0, 55), (0, 12))),
    ((114, 118), ((0, 11), (1, 0))),
    ((), ()),
    ((11,), ((0, 0), (0, 55))),
    ((13,), ((0, 12), (0, 20))),
    ((15,), ((0, 50), (0, 79))),
    ((20,), ((0, 12), (0, 55))),
    ((29,), ((0, 277), (0, 55))),
    ((85, 91), ((0, 18), (1, 20))),
    ((31,), ((0, 79), (0, 85))),
    ((33,), ((0, 91), (0, 118))),
    ((35,), ((0, 0), (0, 4))),
    ((39,), ((0, 118), (0, 1))),
    ((41,), ((0, 0), (0, 169))),
    ((94, 202), ((0, 11), (1, 12))),
    ((110,), ((0, 55), (0, 162))),
    ((57,), ((0, 12), (0, 277))),
    ((75,), ((0, 79), (0, 11))),
    ((79,), ((0, 0), (0, 12))),
    ((1, 55), ((0, 0), (1, 11))),
    ((95,), ((0, 55), (0, 12))),
    ((100,), ((0, 85), (0, 94))),
    ((101,), ((0, 20), (0, 118))),
    ((105,), ((0, 50), (0, 33))),
)

_NOTE: Final = """SYNTHETIC

Nobody in these videos exists. `ingest demo` made them from one photograph (NASA's portrait of the astronaut
Eileen Collins, public domain, as shipped with scikit-image) by warping, recolouring and re-lighting it into
invented people before invented backgrounds; the forgeries blend one invented face into another's video.
They use DFDC's layout so that Semblance can be tried out. They are not part of DFDC and support no claim about it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """The collection in ``folder``; ``written`` is False if it already existed."""

    folder: str
    originals: int
    fakes: int
    written: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """One video to write: its people, the forged face with its donor, and the frame rate."""

    name: str
    part: str
    family: int
    cast: tuple[int, ...]  # seeds of the people; none: an empty room
    fps: int
    original: str | None = None  # file name, of a fake
    altered: int | None = None  # place in the cast
    donor: int | None = None


def write(
    folder: str, *, seed: int = 0, families: int | None = None, report: Callable[[int, int], None] | None = None
) -> Demo:
    """Write the collection unless it exists: 24 originals and 46 fakes, or the first ``families``.

    ``report`` is called with the numbers of written and planned videos. Raises SemblanceError if ``folder`` contains
    files that this function did not write.
    """
    target = Path(folder)
    scenes = list(_scenes(seed))
    numbers = sorted({scene.family for scene in scenes})[:families]
    scenes = [scene for scene in scenes if scene.family in numbers]
    fakes = sum(scene.original is not None for scene in scenes)
    marker = {
        "made_by": "ingest demo",
        "version": VERSION,
        "seed": seed,
        "families": len(numbers),
        "files": _files(scenes),
    }
    exists = _is_complete(target, marker)
    if not exists:
        _clear(target, marker)
        for number, scene in enumerate(scenes):
            _write_scene(target, scene)
            if report is not None:
                report(number + 1, len(scenes))
        _write_tables(target, scenes)
        _mark(target, marker | {"complete": True})
    return Demo(folder=folder, originals=len(scenes) - fakes, fakes=fakes, written=not exists)


def _scenes(seed: int) -> Iterator[_Scene]:
    """Each original, followed by its fakes."""
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
    """Ten letters as in DFDC; they do not depend on the label."""
    letters = digest("demo", seed, family, number)
    return "".join(chr(ord("a") + int(letters[2 * i : 2 * i + 2], 16) % 26) for i in range(10)) + ".mp4"


def _write_scene(target: Path, scene: _Scene) -> None:
    folder = target / scene.part
    folder.mkdir(parents=True, exist_ok=True)
    video.write_h264(str(folder / scene.name), _frames(scene), scene.fps, crf=20, comment=COMMENT)


def _frames(scene: _Scene) -> Iterator[Image]:
    people = [make_person(seed) for seed in scene.cast]
    if scene.altered is not None and scene.donor is not None:
        people[scene.altered] = forge(people[scene.altered], make_person(scene.donor))
    for index in range(FRAMES):
        yield scene_frame(people, scene.cast, index)


def scene_frame(people: list[Person], cast: tuple[int, ...], index: int) -> Image:
    """Frame ``index`` of the scene with seeds ``cast`` and these people in it: (360, 480, 3)."""
    behind = people[0].background if people else background(np.random.default_rng(10_000))
    places = _TWO_PLACES if len(people) == 2 else _ONE_PLACE
    phase = 0.13 * cast[0] if cast else 0.0
    placed = [(person, *place) for person, place in zip(people, places, strict=False)]
    return render(placed, behind, index / FRAMES, phase, SIZE)


def _write_tables(target: Path, scenes: list[_Scene]) -> None:
    for part in sorted({scene.part for scene in scenes}):
        rows = {}
        for scene in sorted((scene for scene in scenes if scene.part == part), key=lambda scene: scene.name):
            label = {"label": "FAKE" if scene.original else "REAL", "split": "train"}
            rows[scene.name] = label | ({"original": scene.original} if scene.original else {})
        (target / part / "metadata.json").write_text(json.dumps(rows), "utf-8")
    (target / "SYNTHETIC.txt").write_text(_NOTE, "utf-8")
    (target / "recipe.yaml").write_text(yaml.safe_dump(DEMO_RECIPE, sort_keys=False), "utf-8")


def _files(scenes: list[_Scene]) -> list[str]:
    tables = {f"{scene.part}/metadata.json" for scene in scenes}
    return sorted({f"{scene.part}/{scene.name}" for scene in scenes} | tables | {"SYNTHETIC.txt", "recipe.yaml"})


def _is_complete(target: Path, marker: dict[str, Any]) -> bool:
    """Whether the folder has exactly this collection; raises SemblanceError if it has files of the user."""
    if not (target / SYNTHETIC).is_file():
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise SemblanceError(
                f"{target} contains files that `ingest demo` did not write; choose another folder with --to."
            )
        return False
    complete = _read_marker(target) == marker | {"complete": True}
    return complete and all((target / name).is_file() for name in marker["files"])


def _read_marker(target: Path) -> dict[str, Any]:
    """The content of the marker; raises SemblanceError if it is damaged or names files outside the folder."""
    try:
        marker: dict[str, Any] = json.loads((target / SYNTHETIC).read_text("utf-8"))
        inside = all(".." not in Path(name).parts and not Path(name).is_absolute() for name in marker["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise SemblanceError(
            f"{target / SYNTHETIC} is damaged or from another version; delete {target} or choose another folder "
            "with --to."
        ) from error
    if not inside:
        raise SemblanceError(f"{target / SYNTHETIC} names files outside its folder; choose another folder with --to.")
    return marker


def _clear(target: Path, marker: dict[str, Any]) -> None:
    """Remove the files listed by the marker of an earlier demo, and claim the folder with the new marker."""
    if (target / SYNTHETIC).is_file():
        for name in _read_marker(target)["files"]:
            (target / name).unlink(missing_ok=True)
        for part in _PARTS:
            if (target / part).is_dir() and not any((target / part).iterdir()):
                (target / part).rmdir()
    target.mkdir(parents=True, exist_ok=True)
    _mark(target, marker)


def _mark(target: Path, value: dict[str, Any]) -> None:
    """Write the marker atomically."""
    storage.write_bytes(str(target / SYNTHETIC), json.dumps(value).encode())
