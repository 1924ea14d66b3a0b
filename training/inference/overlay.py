"""A judged video to look at: every frame with the boxes of its faces, their verdicts and probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import polars as pl

from semblance.manifests import storage
from semblance.manifests.errors import UsageError
from semblance.manifests.records import Box, Image
from semblance.quality import video
from semblance.training.inference.video import Prediction, Scored

# Okabe and Ito's colours, which the colour-blind tell apart; each verdict is written out too
COLOURS: Final = {"real": (0, 114, 178), "fake": (213, 94, 0), "uncertain": (240, 228, 66)}
_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceTrajectory:
    """Where one face was: its ``boxes`` at the ``frames`` where it was judged, among those that were ``sampled``; all
    ascending.
    """

    frames: tuple[int, ...]
    boxes: tuple[Box, ...]
    sampled: tuple[int, ...]

    def at(self, frame: int) -> Box | None:
        """The box at any frame: interpolated between two neighbouring sampled frames that show the face; else the
        nearest one's, as far as half a usual step between sampled frames; None where nobody looked or the face was not.
        """
        after = int(np.searchsorted(self.frames, frame))
        if 0 < after < len(self.frames) and self._neighbours(self.frames[after - 1], self.frames[after]):
            start, end = self.frames[after - 1], self.frames[after]
            part = (frame - start) / (end - start)
            x0, y0, x1, y1 = (
                (1 - part) * a + part * b for a, b in zip(self.boxes[after - 1], self.boxes[after], strict=True)
            )
            return x0, y0, x1, y1
        nearest = min(range(len(self.frames)), key=lambda place: abs(self.frames[place] - frame))
        return self.boxes[nearest] if abs(self.frames[nearest] - frame) <= self._step() / 2 else None

    def _neighbours(self, a: int, b: int) -> bool:
        return self.sampled.index(b) == self.sampled.index(a) + 1

    def _step(self) -> float:
        gaps = [b - a for a, b in pairwise(self.sampled)]
        return float(np.median(gaps)) if gaps else float("inf")


def check(path: str, to: str) -> None:
    """Raise UsageError where ``to`` cannot be the overlay of the video at ``path``."""
    if not to.lower().endswith(".mp4"):
        raise UsageError(f"--overlay {to} must end in .mp4.")
    if not storage.is_remote(to) and Path(to).resolve() == Path(path).resolve():
        raise UsageError(f"--overlay {to} is the video itself; name another file.")


def write(found: Prediction, to: str) -> int:
    """Write the judged video with its boxes to ``to``, an H.264 mp4 of as many frames and the same upright size,
    without sound; the number of frames. A variable frame rate becomes the average one.

    Raises UsageError as ``check`` does, SemblanceError where it cannot be written.
    """
    check(found.path, to)
    total = int(found.row["frames_total"])
    rate = Fraction(found.row["fps"] or 25).limit_denominator(10_000)
    written = 0

    def counted() -> Iterator[Image]:
        nonlocal written
        for image in drawn(found, total):
            written += 1
            yield image

    with storage.spool() as folder:
        local = str(folder / "overlay.mp4")
        video.write_h264(local, counted(), rate)
        storage.publish(local, to)
    return written


def drawn(found: Prediction, total: int) -> Iterator[Image]:
    """Every frame that decodes, (H, W, 3) RGB, with the faces that are on it and the verdict on the whole."""
    courses = {track.track: course(found, track.track) for track in found.tracks}
    for frame in video.frames(found.path, range(total), decoder=found.row["decoder"]):
        image = frame.image.copy()
        scale = max(image.shape[0] / 720, 0.5)
        for track in found.tracks:
            if (box := courses[track.track].at(frame.index)) is not None:
                _box(image, box, f"face {track.track}: {_told(track.score)}", track.score, scale)
        _label(image, f"video: {_told(found.video)}", found.video, (0, 0), scale)
        yield image


def course(found: Prediction, track: int) -> FaceTrajectory:
    rows = found.pictures.filter(pl.col("track") == track).sort("frame_index")
    boxes = rows.select("box_x0", "box_y0", "box_x1", "box_y1").rows()
    return FaceTrajectory(frames=tuple(rows["frame_index"]), boxes=tuple(boxes), sampled=found.sampled)


def _told(score: Scored) -> str:
    spread = "" if score.uncertainty is None else f" +- {score.uncertainty:.2f}"
    return f"{score.verdict.upper()} p(fake) {score.probability:.2f}{spread}"


def _box(image: Image, box: Sequence[float], text: str, score: Scored, scale: float) -> None:
    x0, y0, x1, y1 = (round(value) for value in box)
    cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), COLOURS[score.verdict], max(round(3 * scale), 1))
    _label(image, text, score, (x0, y1), scale)


def _label(image: Image, text: str, score: Scored, at: tuple[int, int], scale: float) -> None:
    """Text on a strip of the verdict's colour, its upper left corner at ``at``, moved inside the picture."""
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.7 * scale, 1)
    pad = max(round(4 * scale), 2)
    x = min(max(at[0], 0), max(image.shape[1] - width - 2 * pad, 0))
    y = min(max(at[1], 0), max(image.shape[0] - height - below - 2 * pad, 0))
    corner = (x + width + 2 * pad, y + height + below + 2 * pad)
    cv2.rectangle(image, (x, y), corner, COLOURS[score.verdict], cv2.FILLED)
    ink = _DARK if score.verdict == "uncertain" else _LIGHT
    place = (x + pad, y + pad + height)
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7 * scale, ink, 1, cv2.LINE_AA)
