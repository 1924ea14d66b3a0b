"""The sample collection: true layout, faces that are found, families apart, forgeries that stay in their place."""

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
from semblance.ingest.demo import people as persons
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
    made = dataset.write(str(folder), families=3)
    assert (made.originals, made.fakes, made.written) == (3, 4, True)
    return folder


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(DetectConfig())


def crop(image: Image, face: Face) -> Image:
    """The square of 1.3 times the longer side, kept inside the frame, written out here as a referee."""
    x0, y0, x1, y1 = face.box
    side = round(1.3 * max(x1 - x0, y1 - y0))
    left = min(max(round((x0 + x1 - side) / 2), 0), image.shape[1] - side)
    top = min(max(round((y0 + y1 - side) / 2), 0), image.shape[0] - side)
    return image[top : top + side, left : left + side]


def rows(folder: Path) -> dict[str, tuple[Path, dict[str, str]]]:
    tables = sorted(folder.glob("*/metadata.json"))
    return {name: (table.parent / name, row) for table in tables for name, row in json.loads(table.read_text()).items()}


def test_layout_is_dfdcs(few: Path) -> None:
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


def test_same_bytes_again(few: Path, tmp_path: Path) -> None:
    dataset.write(str(tmp_path / "again"), families=3)
    for path in sorted(few.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(few)).read_bytes(), path.name


def test_whatever_shows_it_says_that_it_is_synthetic(few: Path, built: Path, run: Run) -> None:
    assert json.loads((built / "dataset.json").read_text())["synthetic"] is True
    assert (built / "CARD.md").read_text().startswith("# SYNTHETIC collection in the layout of: ")
    assert "(SYNTHETIC: nobody in it exists)" in run("ingest", "plan", "--dataset", "dfdc", "--root", few).stdout


def test_written_once_and_redone_when_broken_off(tmp_path: Path) -> None:
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


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SemblanceError, match="did not make"):
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
                own = np.abs(crop(ours, face).astype(float) - crop(theirs, face)).mean(-1)
                edge = int((side - max(x1 - x0, y1 - y0)) / 2)
                inside = measures.block_means(own[edge:-edge, edge:-edge].astype(np.float32), 12)
                whole = measures.block_means(own.astype(np.float32), 16)
                peaks.append(np.percentile(inside, 95) / max(0.5, np.median(whole)))
                difference[max(y0 - 12, 0) : y1 + 12, max(x0 - 12, 0) : x1 + 12] = 0
            assert max(peaks) > 5
            assert sorted(peaks)[:-1] == [peak for peak in peaks if peak < 3]
            assert difference.mean() < 2.0  # of 255: what encoding leaves


def test_every_face_is_found_and_families_are_apart(detector: Detector) -> None:
    """Over all families: frames as drawn, originals and fakes, the first and the last of each."""
    hashes: dict[tuple[int, ...], list[imagehash.ImageHash]] = {}
    for cast, fakes in dataset.CASTS:
        if not cast:
            continue
        people = [persons.person(number) for number in cast]
        casts = [people]
        for place, donor in fakes:
            forged = persons.forged(people[place], persons.person(donor))
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
    apart = [a - b for one, two in combinations(hashes, 2) for a in hashes[one] for b in hashes[two]]
    assert min(apart) >= 12


def test_the_empty_room_is_empty(detector: Detector) -> None:
    assert not [face for index in INDICES for face in detector.find(dataset.scene_frame([], (), index))]
