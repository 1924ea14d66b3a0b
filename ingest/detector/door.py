"""Faces in a frame: the one door to MTCNN, in whatever way it runs."""

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
    """The detector: ``min_face`` is the smallest face that the image pyramid looks for, in pixels."""

    device: Literal["cpu", "cuda"] = "cpu"
    min_face: int = Field(default=80, ge=12)


def weights() -> dict[str, str]:
    """SHA-256 of the three networks' weight files, read from the installed wheel without loading torch."""
    spec = importlib.util.find_spec("facenet_pytorch")
    if spec is None or not spec.submodule_search_locations:
        raise SemblanceError("facenet-pytorch is not installed; run `make install` or `pip install semblance`.")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    return {name: hashlib.sha256((folder / f"{name}.pt").read_bytes()).hexdigest() for name in openvino.NAMES}


Raw = tuple[Floats, Floats, Floats]  # boxes (N, 4), scores (N,), landmarks (N, 5, 2)
_Find = Callable[[Sequence[Image]], list[Raw]]


def prepare(config: DetectConfig) -> None:
    """Do once on this machine what detectors need, so that the workers need not all do it at once."""
    if config.device == "cpu":
        openvino.prepare(weights())


class Detector:
    """MTCNN: on a processor, what is found in a frame depends neither on the frames beside it nor on those before."""

    def __init__(self, config: DetectConfig) -> None:
        self._find = _cascade(config) if config.device == "cpu" else _facenet(config)

    def find(self, image_HWC: Image) -> list[Face]:
        """Every face of the (H, W, 3) RGB frame, in a total order: confidence down, then box.

        Boxes may reach over the frame's edge. Degenerate and non-finite boxes are no faces.
        """
        return self.find_all([image_HWC])[0]

    def find_all(self, images: Sequence[Image]) -> list[list[Face]]:
        """The faces of each frame: some frames together are faster than one by one."""
        return [_faces(*raw) for raw in self._find(images)]


def _cascade(config: DetectConfig) -> _Find:
    """On a processor: the same networks and decisions, without torch."""
    cascade = Cascade(openvino.load(weights()), config.min_face)

    def find(images: Sequence[Image]) -> list[Raw]:
        return [(boxes[:, :4], boxes[:, 4], landmarks) for boxes, landmarks in cascade.find(images)]

    return find


def _facenet(config: DetectConfig) -> _Find:
    """On a GPU: facenet-pytorch's own, frames of one size as one batch."""
    import torch  # takes seconds to load: only a process that detects with it pays for it
    from facenet_pytorch import MTCNN

    torch.set_num_threads(1)  # two threads would split sums differently
    mtcnn = MTCNN(keep_all=True, select_largest=False, min_face_size=config.min_face, device=config.device)

    def detect(images: Sequence[Image]) -> list[Raw]:
        """Of frames of one size."""
        if min(images[0].shape[:2]) * (12.0 / config.min_face) < 12:  # the pyramid would be empty: MTCNN raises
            return [_raw(None, None, None) for _ in images]
        return [_raw(*found) for found in zip(*mtcnn.detect(list(images), landmarks=True), strict=True)]

    def alone(image_HWC: Image) -> Raw:
        try:
            return detect([image_HWC])[0]
        except (IndexError, RuntimeError):
            # A candidate that lies wholly outside the frame is skipped among the cut-outs, not among the
            # scores (facenet-pytorch 2.5.3), and the lengths differ. On a frame with a border it lies inside.
            border = config.min_face
            boxes, scores, points = detect([np.pad(image_HWC, ((border, border), (border, border), (0, 0)))])[0]
            return boxes - border, scores, points - border

    def find(images: Sequence[Image]) -> list[Raw]:
        if len(images) > 1 and len({image.shape for image in images}) == 1:
            try:
                return detect(images)
            except (IndexError, RuntimeError):  # see above; one such frame makes the whole batch fail
                pass
        return [alone(image) for image in images]

    return find


def _raw(boxes: Any, scores: Any, points: Any) -> Raw:
    """facenet-pytorch's answer for one frame, None where it found nothing, as arrays."""
    if boxes is None:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
    return np.asarray(boxes, np.float32), np.asarray(scores, np.float32), np.asarray(points, np.float32)


def _faces(boxes: Floats, scores: Floats, points: Floats) -> list[Face]:
    rows = zip(boxes, scores, points.reshape(len(boxes), 10), strict=True)
    faces = [_face(box, float(score), landmarks) for box, score, landmarks in rows]
    return sorted((face for face in faces if _sound(face)), key=lambda face: (-face.confidence, face.box))


def _face(box: np.ndarray, confidence: float, landmarks: np.ndarray) -> Face:
    x0, y0, x1, y1 = (float(value) for value in box)
    return Face(box=(x0, y0, x1, y1), landmarks=tuple(float(value) for value in landmarks), confidence=confidence)


def _sound(face: Face) -> bool:
    x0, y0, x1, y1 = face.box
    return bool(np.isfinite([*face.box, *face.landmarks, face.confidence]).all()) and x1 - x0 >= 1 and y1 - y0 >= 1
