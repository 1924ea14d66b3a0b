"""The demo collection: DFDC's layout, detectable faces, distinct families, forgeries limited to one face."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image as Pictures

from semblance.ingest.demo import dataset
from semblance.ingest.demo.people import forge, make_person
from semblance.ingest.detector.door import DetectConfig, Detector
from semblance.ingest.sources.base import SYNTHETIC
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Face, Image
from semblance.quality import measures, video
from tests.conftest import Run

INDICES = [0, 35]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three families: one face, two faces, none."""
    folder = tmp_path_factory.mktemp("demo") / "few"
    collection = dataset.write(str(folder), families=3)
    assert (collection.originals, collection.fakes, collection.written) == (3, 4, True)
    return folder


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(DetectConfig())


def crop(image: Image, face: Face) -> Image:
    """An independent crop: the square of 1.3 times the longer side, shifted inside the frame."""
    x0, y0, x1, y1 = face.box
    side = round(1.3 * max(x1 - x0, y1 - y0))
    left = min(max(round((x0 + x1 - side) / 2), 0), image.shape[1] - side)
    top = min(max(round((y0 + y1 - side) / 2), 0), image.shape[0] - side)
    return image[top : top + side, left : left + side]


def rows(folder: Path) -> dict[str, tuple[Path, dict[str, str]]]:
    tables = sorted(folder.glob("*/metadata.json"))
    return {name: (table.parent / name, row) for table in tables for name, row in json.loads(table.read_text()).items()}


def test_the_layout_is_that_of_dfdc(few: Path) -> None:
    found = rows(few)
    assert {path.relative_to(few) for path in few.glob("*/*.mp4")} == {p.relative_to(few) for p, _ in found.values()}
    assert {path.parent.name for path, _ in found.values()} == {"dfdc_train_part_0", "dfdc_train_part_1"}
    for name, (path, row) in found.items():
        assert len(name) == 14
        assert name[:10].isalpha()
        assert row["split"] == "train"
        if row["label"] == "REAL":
            assert set(row) == {"label", "split"}
        else:
            partner = path.parent / row["original"]
            assert found[row["original"]][1]["label"] == "REAL"
            ours, theirs = video.probe(str(path)), video.probe(str(partner))
            keys = ("width", "height", "fps", "frames_total", "codec", "encoder", "gop")
            assert [getattr(ours, key) for key in keys] == [getattr(theirs, key) for key in keys]
    assert "SYNTHETIC" in (few / "SYNTHETIC.txt").read_text()
    assert b"synthetic (semblance demo)" in path.read_bytes()


def test_the_demo_is_reproducible(few: Path, tmp_path: Path) -> None:
    dataset.write(str(tmp_path / "again"), families=3)
    for path in sorted(few.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(few)).read_bytes(), path.name


def test_it_is_marked_as_synthetic_everywhere(few: Path, built: Path, run: Run) -> None:
    assert json.loads((built / "dataset.json").read_text())["synthetic"] is True
    assert (built / "CARD.md").read_text().startswith("# SYNTHETIC collection in the layout of: ")
    assert "(SYNTHETIC: nobody in it exists)" in run("ingest", "plan", "--dataset", "dfdc", "--root", few).stdout


def test_written_once_and_again_after_an_interruption(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    write: Callable[..., dataset.Demo] = lambda **more: dataset.write(str(folder), families=1, **more)  # noqa: E731
    assert write().written
    assert not write().written
    marker = folder / SYNTHETIC
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"complete": False}))
    guest = folder / "dfdc_train_part_0" / "guest.txt"
    guest.write_text("not the demo's")
    assert write().written
    assert write(seed=1).written
    assert guest.exists()
    assert len(list(folder.glob("*/*.mp4"))) == 3


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SemblanceError, match="did not write"):
        dataset.write(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_fake_differs_inside_one_face_only(few: Path, detector: Detector) -> None:
    found = rows(few)
    for path, row in found.values():
        if row["label"] == "FAKE":
            ours = next(video.frames(str(path), [20], decoder="pyav")).image
            theirs = next(video.frames(str(path.parent / row["original"]), [20], decoder="pyav")).image
            peaks, difference = [], measures.absolute_difference(ours, theirs)
            for face in detector.find(theirs):
                x0, y0, x1, y1 = (round(value) for value in face.box)
                side = 1.3 * max(x1 - x0, y1 - y0)
                change = np.abs(crop(ours, face).astype(float) - crop(theirs, face)).mean(-1)
                edge = int((side - max(x1 - x0, y1 - y0)) / 2)
                inside = measures.block_means(change[edge:-edge, edge:-edge].astype(np.float32), 12)
                around = measures.block_means(change.astype(np.float32), 16)
                peaks.append(np.percentile(inside, 95) / max(0.5, np.median(around)))
                difference[max(y0 - 12, 0) : y1 + 12, max(x0 - 12, 0) : x1 + 12] = 0
            assert max(peaks) > 5
            assert sorted(peaks)[:-1] == [peak for peak in peaks if peak < 3]
            assert difference.mean() < 2.0  # of 255: the effect of encoding


def test_every_face_is_found_and_families_are_distinct(detector: Detector) -> None:
    """The first and last drawn frame of every original and fake of all families."""
    hashes: dict[tuple[int, ...], list[imagehash.ImageHash]] = {}
    for cast, fakes in dataset.CASTS:
        if not cast:
            continue
        people = [make_person(number) for number in cast]
        casts = [people]
        for place, donor in fakes:
            forged = forge(people[place], make_person(donor))
            casts.append([*people[:place], forged, *people[place + 1 :]])
        for index in INDICES:
            for players in casts:
                image = dataset.scene_frame(players, cast, index)
                faces = detector.find(image)
                assert len(faces) == len(cast), (cast, index)
                assert min(face.confidence for face in faces) > 0.98, (cast, index)
                for face in faces:
                    assert 100 <= max(face.box[2] - face.box[0], face.box[3] - face.box[1]) <= 190
                    assert min(face.box) >= 0
                    native = crop(image, face)
                    small = (
                        native if len(native) <= 224 else cv2.resize(native, (224, 224), interpolation=cv2.INTER_AREA)
                    )
                    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
                    assert cv2.Laplacian(grey, cv2.CV_64F, ksize=1).var() >= 80
                    assert 0.35 <= grey.mean() / 255 <= 0.8
                    hashes.setdefault(cast, []).append(imagehash.phash(Pictures.fromarray(small)))
    pairs = combinations(hashes.values(), 2)
    assert min(a - b for left, right in pairs for a in left for b in right) >= 12


def test_the_empty_room_is_empty(detector: Detector) -> None:
    assert not [face for index in INDICES for face in detector.find(dataset.scene_frame([], (), index))]
