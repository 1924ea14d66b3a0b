"""The fast cascade against facenet-pytorch's own detector: the same weights must make the same decisions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import nms

from semblance.ingest.demo import people as persons
from semblance.ingest.detector import door as faces
from semblance.ingest.detector import mtcnn, openvino
from semblance.ingest.detector.door import DetectConfig, Detector
from semblance.ingest.steps import sampling
from semblance.manifests.records import Image
from semblance.quality import video
from tests.benchmarks.detector import Find, compare
from tests.benchmarks.detector import reference as make_reference


@pytest.fixture(scope="module")
def reference() -> Find:
    return make_reference()


def check(images: list[Image], detector: Detector, reference: Find, least: int) -> None:
    found = compare(images, detector, reference)
    assert found.recall.faces >= least
    assert found.recall.found >= 0.99
    assert found.precision.found >= 0.99
    assert found.recall.overlap >= found.own.overlap
    assert found.recall.landmark_error <= max(0.03, found.own.landmark_error)


def frames_of(path: Path, step: int) -> list[Image]:
    total = video.probe(str(path)).frames_total or 0
    return [frame.image for frame in sampling.decode(str(path), range(0, total, step), "pyav")]


def test_the_same_faces_on_invented_people(detector: Detector, reference: Find) -> None:
    images = []
    for number in (3, 11, 13, 20, 29, 31, 110, 57):
        for time in (0.0, 0.5):
            people = [(persons.person(number), (320.0, 185.0), 0.98)]
            images.append(persons.frame(people, persons.person(5).ground, time, 0.0, (640, 360)))
    found = compare(images, detector, reference)
    assert found.recall.faces >= 16
    assert found.recall.found == found.precision.found == 1
    assert found.recall.overlap >= 0.9


@pytest.mark.shared
def test_the_same_faces_at_1080p(shared: Path, detector: Detector, reference: Find) -> None:
    images = frames_of(shared / "data/bench/fhd_30fps_300.mp4", 100)
    for path in sorted((shared / "data/dfdc").glob("*/*.mp4"))[::2]:
        images += frames_of(path, 50)
    check(images, detector, reference, least=20)


@pytest.mark.shared
def test_the_same_faces_at_480(shared: Path, detector: Detector, reference: Find) -> None:
    images = []
    for path in sorted((shared / "data/ffpp/original_sequences").glob("*/*/videos/*.mp4"))[::2]:
        images += frames_of(path, 16)
    check(images, detector, reference, least=40)


def test_converted_networks_give_the_modules_outputs() -> None:
    ours = openvino.load(faces.weights())
    theirs = MTCNN()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    for name, side, batch in (("pnet", 48, 1), ("rnet", 24, 3), ("onet", 48, 3)):
        given_BHWC = np.ascontiguousarray(pixels[:batch, :side, :side])
        with torch.no_grad():
            plain = (torch.from_numpy(given_BHWC).permute(0, 3, 1, 2).float() - 127.5) * 0.0078125
            wanted = getattr(theirs, name)(plain)
        for one, other in zip(ours[name](given_BHWC), wanted, strict=True):  # type: ignore[index]
            np.testing.assert_allclose(one, other.numpy(), atol=2e-5)


def test_what_came_before_changes_nothing(detector: Detector) -> None:
    rng = np.random.default_rng(1)
    face = persons.frame([(persons.person(3), (320.0, 185.0), 0.98)], persons.person(5).ground, 0.0, 0.0, (640, 360))
    first = detector.find(face)
    for shape in ((97, 131, 3), (360, 640, 3), (721, 405, 3)):
        detector.find(rng.integers(0, 256, shape, dtype=np.uint8))
        assert detector.find(face) == first
    assert Detector(DetectConfig()).find(face) == first


def mixed() -> list[Image]:
    """Frames of two sizes with two faces, none, one, and noise."""
    people = [(persons.person(3), (180.0, 185.0), 0.98), (persons.person(11), (460.0, 185.0), 0.8)]
    ground = persons.person(5).ground
    noise = np.random.default_rng(2).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    two = persons.frame(people, ground, 0.0, 0.0, (640, 360))
    one = persons.frame(people[:1], ground, 0.5, 0.0, (640, 360))
    return [two, np.full((360, 640, 3), 90, np.uint8), one, noise, np.ascontiguousarray(two[:, :401]), one[:79]]


@settings(max_examples=8, deadline=None)
@given(st.permutations(range(6)), st.integers(1, 6))
def test_frames_together_are_frames_alone(detector: Detector, order: list[int], size: int) -> None:
    images = [mixed()[place] for place in order]
    alone = [detector.find(image) for image in images]
    found = [faces for start in range(0, 6, size) for faces in detector.find_all(images[start : start + size])]
    assert found == alone
    assert max(map(len, alone)) == 2
    assert detector.find_all([]) == []


def test_a_batch_on_a_gpu_gives_what_each_frame_gives() -> None:
    """As on a GPU, run by torch on the processor: one batch of one size, frames of mixed sizes one by one."""
    find, images = faces._facenet(DetectConfig()), mixed()
    blank, small = images[1:2] * 2, images[-1:] * 2
    for some in (images[:3], images, blank, small):
        for image, (boxes, scores, points) in zip(some, find(some), strict=True):
            alone = find([image])[0]
            assert len(boxes) == len(alone[0])
            np.testing.assert_allclose(boxes, alone[0], atol=0.05)
            np.testing.assert_allclose(scores, alone[1], atol=1e-4)
            np.testing.assert_allclose(points, alone[2], atol=0.05)


@pytest.mark.parametrize("fault", [IndexError("mask does not fit"), RuntimeError("expected a non-empty list")])
def test_degenerate_candidates_get_a_second_look(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    """facenet-pytorch raises where a candidate lies wholly outside: the frame is looked at with a border."""
    image = persons.frame([(persons.person(0), (320.0, 185.0), 0.98)], persons.person(3).ground, 0.0, 0.0, (640, 360))
    (plain,) = Detector(DetectConfig()).find(image)
    find, detect, shapes = faces._facenet(DetectConfig()), MTCNN.detect, []

    def first_fails(self: MTCNN, given: list[Image], landmarks: bool) -> object:
        shapes.append(given[0].shape)
        if len(shapes) == 1:
            raise fault
        return detect(self, given, landmarks=landmarks)

    monkeypatch.setattr(MTCNN, "detect", first_fails)
    boxes, scores, points = find([image])[0]
    assert shapes[1][0] == shapes[0][0] + 160
    assert scores[0] > 0.95
    assert np.allclose(boxes[0], plain.box, atol=16)  # the pyramid falls elsewhere
    assert np.allclose(points[0].reshape(-1), plain.landmarks, atol=16)


def test_candidates_outside_the_frame_are_left_out() -> None:
    boxes = np.array([[-90, -90, -10, -10, 1], [10, 10, 60, 60, 1], [200, 10, 260, 70, 1]], np.float32)
    cut, kept = mtcnn._cut(boxes, mtcnn._halves(np.zeros((100, 120, 3), np.uint8)), 24)
    assert cut.shape == (1, 24, 24, 3)
    assert np.array_equal(kept, boxes[1:2])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.sampled_from([0.5, 0.7]))
def test_suppression_is_torchvisions(seed: int, count: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(5, 40, (count, 2)), rng.permutation(count)[:, None]], 1)
    boxes = boxes.astype(np.float32)
    wanted = nms(torch.from_numpy(boxes[:, :4]), torch.from_numpy(boxes[:, 4]), limit)
    assert mtcnn.suppressed(boxes, limit).tolist() == wanted.tolist()
