"""The cascade against facenet-pytorch's detector: speed and agreement on the same frames, in one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from semblance.ingest.detector import door as faces
from semblance.ingest.detector.door import DetectConfig, Detector
from semblance.ingest.process import video
from semblance.ingest.steps.boxes import overlap
from semblance.manifests.records import Face, Image

SURE, NEAR = 0.95, 0.90  # a face that one gives at SURE counts as found where the other gives it at NEAR
Find = Callable[[Image], list[Face]]


@dataclass(slots=True, kw_only=True)
class Agreement:
    """How the faces of one detector are found again by another."""

    faces: int = 0
    missed: int = 0
    overlaps: list[float] = field(default_factory=list)  # intersection over union
    landmarks: list[float] = field(default_factory=list)  # mean distance, in eye distances

    @property
    def found(self) -> float:
        """Share of the sure faces that the other detector gives too."""
        return 1 - self.missed / max(self.faces, 1)

    @property
    def overlap(self) -> float:
        return statistics.fmean(self.overlaps)

    @property
    def landmark_error(self) -> float:
        return statistics.fmean(self.landmarks)

    def add(self, known: list[Face], other: list[Face], shift: float = 0.0) -> None:
        """Look for every sure face of ``known`` among ``other``, whose pixels lie ``shift`` away."""
        near = [(one, _moved(one, shift)) for one in other if one.confidence >= NEAR]
        for face in known:
            if face.confidence < SURE:
                continue
            self.faces += 1
            best, box = max(near, key=lambda pair: overlap(face.box, pair[1]), default=(None, face.box))
            if best is None or overlap(face.box, box) < 0.5:
                self.missed += 1
                continue
            mine = np.array(face.landmarks).reshape(5, 2)
            theirs = np.array(best.landmarks).reshape(5, 2) + shift
            self.overlaps.append(overlap(face.box, box))
            self.landmarks.append(
                float(np.linalg.norm(mine - theirs, axis=1).mean() / np.linalg.norm(mine[0] - mine[1]))
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Recall and precision of the cascade, the reference's agreement with itself on shifted frames, seconds a frame."""

    recall: Agreement
    precision: Agreement
    own: Agreement
    seconds: float  # some frames together, as a worker looks at them
    seconds_alone: float
    reference_seconds: float

    @property
    def faster(self) -> float:
        return self.reference_seconds / self.seconds


def reference(min_face: int = 80) -> Find:
    """facenet-pytorch's ``detect``, frame by frame, in one thread."""
    find = faces._facenet(DetectConfig(min_face=min_face))

    return lambda image: faces._faces(*find([image])[0])


def compare(images: list[Image], detector: Detector, other: Find, rounds: int = 1) -> Compared:
    """Both detectors on all images, in turns; medians over the rounds of the median frame."""
    recall, precision, own = Agreement(), Agreement(), Agreement()
    groups = list(video.batches(images, lambda image: image.nbytes))
    detector.find_all(groups[0])
    ours, alone, theirs = [], [], []
    for _ in range(rounds):
        ours.append(_timed(detector.find_all, groups))
        alone.append(_timed(detector.find_all, [[image] for image in images]))
        theirs.append(_timed(lambda group: other(group[0]), [[image] for image in images]))
    together = [found for group in groups for found in detector.find_all(group)]
    for image, found in zip(images, together, strict=True):
        known = other(image)
        recall.add(known, found)
        precision.add(found, known)
        own.add(known, other(np.roll(image, (1, 1), (0, 1))), shift=-1)
    return Compared(
        recall=recall,
        precision=precision,
        own=own,
        seconds=statistics.median(ours),
        seconds_alone=statistics.median(alone),
        reference_seconds=statistics.median(theirs),
    )


def _timed(find: Callable[[list[Image]], object], groups: list[list[Image]]) -> float:
    """Seconds a frame in the median group."""
    times = []
    for group in groups:
        start = time.perf_counter()
        find(group)
        times.append((time.perf_counter() - start) / len(group))
    return statistics.median(times)


def _moved(face: Face, by: float) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = face.box
    return x0 + by, y0 + by, x1 + by, y1 + by
