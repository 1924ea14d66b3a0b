"""Faces in a frame, by MTCNN: with OpenVINO on a CPU, with facenet-pytorch on a GPU."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from semblance.ingest.detector import openvino
from semblance.ingest.detector.mtcnn import Cascade
from semblance.ingest.detector.openvino import Floats
from semblance.manifests.config import Config
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Face, Image


class DetectConfig(Config):
    """Where the detector runs; ``min_face`` is the smallest face in its image pyramid, in pixels."""

    device: Literal["cpu", "cuda"] = "cpu"
    min_face: int = Field(default=80, ge=12)


def weights() -> dict[str, str]:
    """SHA-256 of each network's weight file in the installed facenet-pytorch, without loading torch.

    Raises SemblanceError where facenet-pytorch is not installed.
    """
    spec = importlib.util.find_spec("facenet_pytorch")
    if spec is None or not spec.submodule_search_locations:
        raise SemblanceError("facenet-pytorch is not installed; run `make install` or `pip install semblance`.")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    return {name: hashlib.sha256((folder / f"{name}.pt").read_bytes()).hexdigest() for name in openvino.NAMES}


Raw = tuple[Floats, Floats, Floats]  # boxes (N, 4), scores (N,), landmarks (N, 5, 2)
_Detect = Callable[[Sequence[Image]], list[Raw]]


def prepare(config: DetectConfig) -> None:
    """Convert the networks once on this machine, so that the workers do not all start to do it."""
    if config.device == "cpu":
        openvino.prepare(weights())


class Detector:
    """MTCNN; on a CPU the faces of a frame do not depend on any other frame."""

    def __init__(self, config: DetectConfig) -> None:
        self._detect = _cascade(config) if config.device == "cpu" else _facenet(config)

    def find(self, image_HWC: Image) -> list[Face]:
        """Every face of the (H, W, 3) RGB frame, sorted by descending confidence, then by box.

        Boxes may extend beyond the frame. Degenerate and non-finite boxes are dropped.
        """
        return self.find_all([image_HWC])[0]

    def find_all(self, images: Sequence[Image]) -> list[list[Face]]:
        """The faces of each frame; a batch of frames is faster than one at a time."""
        return [_faces(*raw) for raw in self._detect(images)]


def _cascade(config: DetectConfig) -> _Detect:
    """On a CPU: the same networks and decisions as facenet-pytorch, without torch."""
    cascade = Cascade(openvino.load(weights()), config.min_face)

    def find(images: Sequence[Image]) -> list[Raw]:
        return [(boxes[:, :4], boxes[:, 4], landmarks) for boxes, landmarks in cascade.find(images)]

    return find


def _facenet(config: DetectConfig) -> _Detect:
    """On a GPU: facenet-pytorch itself, with frames of equal size as one batch."""
    import torch  # takes seconds to load, so only where it detects
    from facenet_pytorch import MTCNN

    torch.set_num_threads(1)  # two threads would split sums differently
    mtcnn = MTCNN(keep_all=True, select_largest=False, min_face_size=config.min_face, device=config.device)

    def detect(images: Sequence[Image]) -> list[Raw]:
        """For frames of equal size."""
        if min(images[0].shape[:2]) * (12.0 / config.min_face) < 12:  # the pyramid would be empty: MTCNN raises
            return [_raw(None, None, None) for _ in images]
        return [_raw(*answer) for answer in zip(*mtcnn.detect(list(images), landmarks=True), strict=True)]

    def detect_one(image_HWC: Image) -> Raw:
        try:
            return detect([image_HWC])[0]
        except (IndexError, RuntimeError):
            # facenet-pytorch 2.5.3 skips a candidate that is completely outside the frame among its crops but not
            # among its scores, so their lengths differ. In a frame with a border the candidate is inside.
            border = config.min_face
            boxes, scores, points = detect([np.pad(image_HWC, ((border, border), (border, border), (0, 0)))])[0]
            return boxes - border, scores, points - border

    def find(images: Sequence[Image]) -> list[Raw]:
        if len(images) > 1 and len({image.shape for image in images}) == 1:
            try:
                return detect(images)
            except (IndexError, RuntimeError):  # see above: one such frame makes the batch fail
                pass
        return [detect_one(image) for image in images]

    return find


def _raw(boxes: Any, scores: Any, points: Any) -> Raw:
    """The answer of facenet-pytorch for one frame as arrays; it is None where nothing was found."""
    if boxes is None:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
    return np.asarray(boxes, np.float32), np.asarray(scores, np.float32), np.asarray(points, np.float32)


def _faces(boxes: Floats, scores: Floats, points: Floats) -> list[Face]:
    rows = zip(boxes, scores, points.reshape(len(boxes), 10), strict=True)
    faces = [_face(box, float(score), landmarks) for box, score, landmarks in rows]
    return sorted((face for face in faces if _valid(face)), key=lambda face: (-face.confidence, face.box))


def _face(box: np.ndarray, confidence: float, landmarks: np.ndarray) -> Face:
    x0, y0, x1, y1 = (float(value) for value in box)
    return Face(box=(x0, y0, x1, y1), landmarks=tuple(float(value) for value in landmarks), confidence=confidence)


def _valid(face: Face) -> bool:
    x0, y0, x1, y1 = face.box
    return bool(np.isfinite([*face.box, *face.landmarks, face.confidence]).all()) and x1 - x0 >= 1 and y1 - y0 >= 1
