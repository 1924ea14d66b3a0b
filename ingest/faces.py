"""Faces in a frame: the one door to facenet-pytorch's MTCNN."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from manifests.recipe import Config
from manifests.records import Face, Image, SemblanceError

NETWORKS = ("pnet", "rnet", "onet")


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
    return {name: hashlib.sha256((folder / f"{name}.pt").read_bytes()).hexdigest() for name in NETWORKS}


class Detector:
    """MTCNN, one frame at a time: results never depend on what else is in a batch."""

    def __init__(self, config: DetectConfig) -> None:
        import torch  # takes seconds to load: only a process that detects pays for it
        from facenet_pytorch import MTCNN

        torch.set_num_threads(1)  # two threads would split sums differently
        self.min_face = config.min_face
        self._mtcnn = MTCNN(keep_all=True, select_largest=False, min_face_size=config.min_face, device=config.device)

    def find(self, image_HWC: Image) -> list[Face]:
        """Every face of the (H, W, 3) RGB frame, in a total order: confidence down, then box.

        Boxes may reach over the frame's edge. Degenerate and non-finite boxes are no faces.
        """
        if min(image_HWC.shape[:2]) * (12.0 / self.min_face) < 12:  # the pyramid would be empty: MTCNN raises
            return []
        try:
            return self._detect(image_HWC)
        except (IndexError, RuntimeError):
            # A candidate that lies wholly outside the frame is skipped among the cut-outs, not among the
            # scores (facenet-pytorch 2.5.3), and the lengths differ. On a frame with a border it lies inside.
            border = self.min_face
            padded = np.pad(image_HWC, ((border, border), (border, border), (0, 0)))
            return [_shifted(face, -border) for face in self._detect(padded)]

    def _detect(self, image_HWC: Image) -> list[Face]:
        boxes, scores, points = self._mtcnn.detect(image_HWC, landmarks=True)
        if boxes is None:
            return []
        rows = zip(
            np.asarray(boxes, np.float32), np.asarray(scores, np.float32), np.asarray(points, np.float32), strict=True
        )
        faces = [_face(box, float(score), landmarks.reshape(-1)) for box, score, landmarks in rows]
        return sorted((face for face in faces if _sound(face)), key=lambda face: (-face.confidence, face.box))


def _face(box: np.ndarray, confidence: float, landmarks: np.ndarray) -> Face:
    x0, y0, x1, y1 = (float(value) for value in box)
    return Face(box=(x0, y0, x1, y1), landmarks=tuple(float(value) for value in landmarks), confidence=confidence)


def _sound(face: Face) -> bool:
    x0, y0, x1, y1 = face.box
    return bool(np.isfinite([*face.box, *face.landmarks, face.confidence]).all()) and x1 - x0 >= 1 and y1 - y0 >= 1


def _shifted(face: Face, by: float) -> Face:
    x0, y0, x1, y1 = face.box
    return Face(
        box=(x0 + by, y0 + by, x1 + by, y1 + by),
        landmarks=tuple(value + by for value in face.landmarks),
        confidence=face.confidence,
    )
