"""A small synthetic DFDC: invented people, forgeries among them, true layout, marked everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from semblance.ingest.demo import people as persons
from semblance.ingest.sources.base import SYNTHETIC
from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Image, digest
from semblance.quality import video

VERSION: Final = 2
DEMO_RECIPE: Final[dict[str, Any]] = {"name": "demo", "split": {"fractions": [0.5, 0.25, 0.25]}}
COMMENT: Final = "synthetic (semblance demo)"
SIZE: Final = (480, 360)
FRAMES: Final = 36
_PARTS: Final = ("dfdc_train_part_0", "dfdc_train_part_1")
_ONE_PLACE: Final = [((240.0, 185.0), 1.15)]  # centre of the face in the frame, and its scale
_TWO_PLACES: Final = [((130.0, 185.0), 0.98), ((350.0, 185.0), 0.98)]

# Who is in each original, and who lends a face to its fakes (place in the cast, donor): numbers of
# ``persons.person``. Chosen by ``tests/ingest/choose_people.py`` over 13 frames a video before encoding: MTCNN finds
# every face above 0.985, and crops of two families, fakes included, differ by at least 14 bits of perceptual hash.
# 17, 24, 47 and 62 were struck off by hand: after encoding a face was unsure, soft, altered too little or too near
# another family's. What is left is at least 12 bits apart in ten frames of each encoded video.
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
    """Write the collection, or find it written: 24 originals and 46 fakes, or the first ``families``.

    Raises SemblanceError where ``folder`` holds anything that this function did not make.
    """
    target = Path(folder)
    scenes = list(_scenes(seed))
    kept = sorted({scene.family for scene in scenes})[:families]
    scenes = [scene for scene in scenes if scene.family in kept]
    fakes = sum(scene.original is not None for scene in scenes)
    made = {"made_by": "ingest demo", "version": VERSION, "seed": seed, "families": len(kept), "files": _files(scenes)}
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
    places = _TWO_PLACES if len(people) == 2 else _ONE_PLACE
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


def _files(scenes: list[_Scene]) -> list[str]:
    tables = {f"{scene.part}/metadata.json" for scene in scenes}
    return sorted({f"{scene.part}/{scene.name}" for scene in scenes} | tables | {"SYNTHETIC.txt", "recipe.yaml"})


def _claimed(target: Path, made: dict[str, Any]) -> bool:
    """Whether the folder holds just this collection, whole; raises SemblanceError where it is another's."""
    if not (target / SYNTHETIC).is_file():
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise SemblanceError(
                f"{target} holds files that `ingest demo` did not make; name another folder with --to."
            )
        return False
    found = _marked(target)
    return found == made | {"complete": True} and all((target / name).is_file() for name in made["files"])


def _marked(target: Path) -> dict[str, Any]:
    """What the marker says; raises SemblanceError where it cannot be read or is not ours."""
    try:
        found: dict[str, Any] = json.loads((target / SYNTHETIC).read_text("utf-8"))
        inside = all(".." not in Path(name).parts and not Path(name).is_absolute() for name in found["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise SemblanceError(
            f"{target / SYNTHETIC} is from another version or damaged; delete {target} or name another folder "
            "with --to."
        ) from error
    if not inside:
        raise SemblanceError(f"{target / SYNTHETIC} names files outside its folder; name another folder with --to.")
    return found


def _clear(target: Path, made: dict[str, Any]) -> None:
    """Remove the files that an earlier demo listed as its own, and claim the folder."""
    if (target / SYNTHETIC).is_file():
        for name in _marked(target)["files"]:
            (target / name).unlink(missing_ok=True)
        for part in _PARTS:
            if (target / part).is_dir() and not any((target / part).iterdir()):
                (target / part).rmdir()
    target.mkdir(parents=True, exist_ok=True)
    _mark(target, made)


def _mark(target: Path, value: dict[str, Any]) -> None:
    """Write the marker whole or not at all."""
    storage.write_bytes(str(target / SYNTHETIC), json.dumps(value).encode())
