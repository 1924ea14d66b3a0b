"""The overlay: a scored video with boxes, verdicts and probabilities of its persons drawn on every frame."""

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

# Okabe and Ito's colours, safe for colour-blind viewers; each verdict is also written out
COLOURS: Final = {"real": (0, 114, 178), "fake": (213, 94, 0), "uncertain": (240, 228, 66)}
_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceTrajectory:
    """The positions of one person's face over time.

    ``boxes``: its box at each of ``frames``, where it was scored, and ``tracks``, of which each is a stretch without a
    cut. ``sampled``: all frames that were searched. Frame indices ascend.
    """

    frames: tuple[int, ...]
    boxes: tuple[Box, ...]
    tracks: tuple[int, ...]
    sampled: tuple[int, ...]

    def at(self, frame: int) -> Box | None:
        """The box at any frame, or None if the face is not known to be there.

        Between two consecutive sampled frames of one track, the box is interpolated. Elsewhere it is that of the
        nearest frame, if that is at most half the median step between sampled frames away.
        """
        after = int(np.searchsorted(self.frames, frame))
        if 0 < after < len(self.frames) and self._neighbours(after - 1, after):
            start, end = self.frames[after - 1], self.frames[after]
            part = (frame - start) / (end - start)
            x0, y0, x1, y1 = (
                (1 - part) * a + part * b for a, b in zip(self.boxes[after - 1], self.boxes[after], strict=True)
            )
            return x0, y0, x1, y1
        nearest = min(range(len(self.frames)), key=lambda place: abs(self.frames[place] - frame))
        return self.boxes[nearest] if abs(self.frames[nearest] - frame) <= self._step() / 2 else None

    def _neighbours(self, a: int, b: int) -> bool:
        """Whether nothing, not even a cut, is known to lie between two places."""
        next_to = self.sampled.index(self.frames[b]) == self.sampled.index(self.frames[a]) + 1
        return next_to and self.tracks[a] == self.tracks[b]

    def _step(self) -> float:
        gaps = [b - a for a, b in pairwise(self.sampled)]
        return float(np.median(gaps)) if gaps else float("inf")


def check(path: str, to: str) -> None:
    """Raise UsageError if ``to`` cannot be the overlay of the video at ``path``."""
    if not to.lower().endswith(".mp4"):
        raise UsageError(f"--overlay {to} must end in .mp4.")
    if not storage.is_remote(to) and Path(to).resolve() == Path(path).resolve():
        raise UsageError(f"--overlay {to} is the video itself; choose another file.")


def write(prediction: Prediction, to: str) -> int:
    """Write the video with its boxes to ``to`` and return the number of frames.

    The file is an H.264 mp4 without sound, with the same number of frames and the same upright size. A variable frame
    rate becomes its average. Raises UsageError as ``check`` does, SemblanceError if it cannot be written.
    """
    check(prediction.path, to)
    total = int(prediction.row["frames_total"])
    rate = Fraction(prediction.row["fps"] or 25).limit_denominator(10_000)
    written = 0

    def counted() -> Iterator[Image]:
        nonlocal written
        for image in drawn(prediction, total):
            written += 1
            yield image

    with storage.spool() as folder:
        local = str(folder / "overlay.mp4")
        video.write_h264(local, counted(), rate)
        storage.publish(local, to)
    return written


def drawn(prediction: Prediction, total: int) -> Iterator[Image]:
    """Every frame that can be decoded, (H, W, 3) RGB, with its persons and the verdict for the video drawn on it."""
    trajectories = {one.person: trajectory(prediction, one.person) for one in prediction.persons}
    for frame in video.frames(prediction.path, range(total), decoder=prediction.row["decoder"]):
        image = frame.image.copy()
        scale = max(image.shape[0] / 720, 0.5)
        for one in prediction.persons:
            if (box := trajectories[one.person].at(frame.index)) is not None:
                _box(image, box, f"person {one.person}: {_caption(one.score)}", one.score, scale)
        _label(image, f"video: {_caption(prediction.video)}", prediction.video, (0, 0), scale)
        yield image


def trajectory(prediction: Prediction, person: int) -> FaceTrajectory:
    """The positions of one person of a prediction; a face that was found twice in a frame has one box there."""
    rows = prediction.pictures.filter(pl.col("person") == person).sort("frame_index", "track")
    rows = rows.unique("frame_index", keep="first", maintain_order=True)
    boxes = rows.select("box_x0", "box_y0", "box_x1", "box_y1").rows()
    return FaceTrajectory(
        frames=tuple(rows["frame_index"]),
        boxes=tuple(boxes),
        tracks=tuple(rows["track"]),
        sampled=prediction.sampled,
    )


def _caption(score: Scored) -> str:
    spread = "" if score.uncertainty is None else f" +- {score.uncertainty:.2f}"
    return f"{score.verdict.upper()} p(fake) {score.probability:.2f}{spread}"


def _box(image: Image, box: Sequence[float], text: str, score: Scored, scale: float) -> None:
    x0, y0, x1, y1 = (round(value) for value in box)
    cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), COLOURS[score.verdict], max(round(3 * scale), 1))
    _label(image, text, score, (x0, y1), scale)


def _label(image: Image, text: str, score: Scored, at: tuple[int, int], scale: float) -> None:
    """Text on a strip of the verdict's colour, with its upper left corner at ``at``, moved inside the picture."""
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.7 * scale, 1)
    pad = max(round(4 * scale), 2)
    x = min(max(at[0], 0), max(image.shape[1] - width - 2 * pad, 0))
    y = min(max(at[1], 0), max(image.shape[0] - height - below - 2 * pad, 0))
    corner = (x + width + 2 * pad, y + height + below + 2 * pad)
    cv2.rectangle(image, (x, y), corner, COLOURS[score.verdict], cv2.FILLED)
    ink = _DARK if score.verdict == "uncertain" else _LIGHT
    place = (x + pad, y + pad + height)
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7 * scale, ink, 1, cv2.LINE_AA)
