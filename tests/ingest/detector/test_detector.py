"""The fast cascade against facenet-pytorch: the same weights must make the same decisions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import nms

from semblance.ingest.demo.people import make_person, render
from semblance.ingest.detector import door, mtcnn, openvino
from semblance.ingest.detector.door import DetectConfig, Detector
from semblance.manifests.records import Image
from semblance.quality import video
from tests.benchmarks.detector import Find, compare
from tests.benchmarks.detector import reference as make_reference


@pytest.fixture(scope="module")
def reference() -> Find:
    return make_reference()


def check(images: list[Image], detector: Detector, reference: Find, least: int) -> None:
    agreement = compare(images, detector, reference)
    assert agreement.recall.faces >= least
    assert agreement.recall.found >= 0.99
    assert agreement.precision.found >= 0.99
    assert agreement.recall.overlap >= agreement.own.overlap
    assert agreement.recall.landmark_error <= max(0.03, agreement.own.landmark_error)


def frames_of(path: Path, step: int) -> list[Image]:
    total = video.probe(str(path)).frames_total or 0
    return [frame.image for frame in video.frames(str(path), range(0, total, step), decoder="pyav")]


def test_the_same_faces_on_invented_people(detector: Detector, reference: Find) -> None:
    images = []
    for number in (3, 11, 13, 20, 29, 31, 110, 57):
        for time in (0.0, 0.5):
            people = [(make_person(number), (320.0, 185.0), 0.98)]
            images.append(render(people, make_person(5).background, time, 0.0, (640, 360)))
    agreement = compare(images, detector, reference)
    assert agreement.recall.faces >= 16
    assert agreement.recall.found == agreement.precision.found == 1
    assert agreement.recall.overlap >= 0.9


@pytest.mark.shared
def test_the_same_faces_at_1080p(shared: Path, detector: Detector, reference: Find) -> None:
    images = frames_of(shared / "data/bench/fhd_30fps_300.mp4", 50)
    for path in sorted((shared / "data/dfdc").glob("*/*.mp4"))[::2]:
        images += frames_of(path, 25)
    check(images, detector, reference, least=20)


@pytest.mark.shared
def test_the_same_faces_at_480(shared: Path, detector: Detector, reference: Find) -> None:
    images = []
    for path in sorted((shared / "data/ffpp/original_sequences").glob("*/*/videos/*.mp4"))[::2]:
        images += frames_of(path, 16)
    check(images, detector, reference, least=40)


def test_converted_networks_give_the_modules_outputs() -> None:
    networks = openvino.load(door.weights())
    mtcnn_modules = MTCNN()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    for name, side, batch in (("pnet", 48, 1), ("rnet", 24, 3), ("onet", 48, 3)):
        given_BHWC = np.ascontiguousarray(pixels[:batch, :side, :side])
        with torch.no_grad():
            plain = (torch.from_numpy(given_BHWC).permute(0, 3, 1, 2).float() - 127.5) * 0.0078125
            wanted = getattr(mtcnn_modules, name)(plain)
        for converted, expected in zip(networks[name](given_BHWC), wanted, strict=True):  # type: ignore[index]
            np.testing.assert_allclose(converted, expected.numpy(), atol=2e-5)


def test_earlier_frames_do_not_affect_a_frame(detector: Detector) -> None:
    rng = np.random.default_rng(1)
    face = render([(make_person(3), (320.0, 185.0), 0.98)], make_person(5).background, 0.0, 0.0, (640, 360))
    first = detector.find(face)
    for shape in ((97, 131, 3), (360, 640, 3), (721, 405, 3)):
        detector.find(rng.integers(0, 256, shape, dtype=np.uint8))
        assert detector.find(face) == first
    assert Detector(DetectConfig()).find(face) == first


def mixed() -> list[Image]:
    """Frames of several sizes with two faces, one, none, and noise."""
    people = [(make_person(3), (180.0, 185.0), 0.98), (make_person(11), (460.0, 185.0), 0.8)]
    background = make_person(5).background
    noise = np.random.default_rng(2).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    two = render(people, background, 0.0, 0.0, (640, 360))
    one = render(people[:1], background, 0.5, 0.0, (640, 360))
    return [two, np.full((360, 640, 3), 90, np.uint8), one, noise, np.ascontiguousarray(two[:, :401]), one[:79]]


@settings(max_examples=8)
@given(st.permutations(range(6)), st.integers(1, 6))
def test_a_batch_gives_what_each_frame_gives(detector: Detector, order: list[int], size: int) -> None:
    images = [mixed()[place] for place in order]
    alone = [detector.find(image) for image in images]
    batched = [faces for start in range(0, 6, size) for faces in detector.find_all(images[start : start + size])]
    assert batched == alone
    assert max(map(len, alone)) == 2
    assert detector.find_all([]) == []


def test_a_batch_on_a_gpu_gives_what_each_frame_gives() -> None:
    """The GPU path, run by torch on the CPU: equal sizes as one batch, mixed sizes one by one."""
    find, images = door._facenet(DetectConfig()), mixed()
    blank, small = images[1:2] * 2, images[-1:] * 2
    for batch in (images[:3], images, blank, small):
        for image, (boxes, scores, points) in zip(batch, find(batch), strict=True):
            alone = find([image])[0]
            assert len(boxes) == len(alone[0])
            np.testing.assert_allclose(boxes, alone[0], atol=0.05)
            np.testing.assert_allclose(scores, alone[1], atol=1e-4)
            np.testing.assert_allclose(points, alone[2], atol=0.05)


@pytest.mark.parametrize("fault", [IndexError("mask does not fit"), RuntimeError("expected a non-empty list")])
def test_degenerate_candidates_are_detected_with_a_border(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    """facenet-pytorch raises if a candidate is completely outside: the frame is tried again with a border."""
    image = render([(make_person(0), (320.0, 185.0), 0.98)], make_person(3).background, 0.0, 0.0, (640, 360))
    (plain,) = Detector(DetectConfig()).find(image)
    find, detect, shapes = door._facenet(DetectConfig()), MTCNN.detect, []

    def first_fails(self: MTCNN, images: list[Image], landmarks: bool) -> object:
        shapes.append(images[0].shape)
        if len(shapes) == 1:
            raise fault
        return detect(self, images, landmarks=landmarks)

    monkeypatch.setattr(MTCNN, "detect", first_fails)
    boxes, scores, points = find([image])[0]
    assert shapes[1][0] == shapes[0][0] + 160
    assert scores[0] > 0.95
    assert np.allclose(boxes[0], plain.box, atol=16)  # the pyramid levels differ
    assert np.allclose(points[0].reshape(-1), plain.landmarks, atol=16)


def test_candidates_outside_the_frame_are_dropped() -> None:
    boxes = np.array([[-90, -90, -10, -10, 1], [10, 10, 60, 60, 1], [200, 10, 260, 70, 1]], np.float32)
    cut, kept = mtcnn._cut(boxes, mtcnn._halves(np.zeros((100, 120, 3), np.uint8)), 24)
    assert cut.shape == (1, 24, 24, 3)
    assert np.array_equal(kept, boxes[1:2])


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.sampled_from([0.5, 0.7]))
def test_suppression_equals_torchvision(seed: int, count: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(5, 40, (count, 2)), rng.permutation(count)[:, None]], 1)
    boxes = boxes.astype(np.float32)
    wanted = nms(torch.from_numpy(boxes[:, :4]), torch.from_numpy(boxes[:, 4]), limit)
    assert mtcnn.suppressed(boxes, limit).tolist() == wanted.tolist()


def test_openvino_sends_no_usage_statistics() -> None:
    """It would fork a process for them at each import; in a fresh process, since this one has imported it."""
    code = (
        "import sys; from semblance.ingest.detector.door import DetectConfig, Detector; Detector(DetectConfig()); "
        "import openvino; print(sys.modules['openvino_telemetry'], 'multiprocessing.popen_fork' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "False"]
