"""The contact sheet of a prediction: the scored faces in a grid."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from semblance.manifests.records import Image
from semblance.quality.resize import to_square
from semblance.training.inference.video import Prediction

CELL: Final = 112  # px
_CAPTION: Final = 28  # px under each cell
_BANNER: Final = 22  # px above the grid


def sheet(prediction: Prediction, columns: int = 8, most: int = 64) -> Image:
    """The scored faces in a grid, person by person, each with its probability of fake: (H, W, 3) RGB."""
    rows = prediction.pictures.with_row_index("place").sort("person", "frame_index", "track")
    if rows.height > most:
        rows = rows.gather([(2 * i + 1) * rows.height // (2 * most) for i in range(most)])
    grid_rows = -(-rows.height // columns)
    canvas = np.full((_BANNER + grid_rows * (CELL + _CAPTION), columns * CELL, 3), 255, np.uint8)
    video = prediction.video
    spread = "" if video.uncertainty is None else f" +- {video.uncertainty:.2f}"
    _write(canvas, f"video: {video.verdict}, probability of fake {video.probability:.3f}{spread}", 4, 15)
    for cell, row in enumerate(rows.iter_rows(named=True)):
        y, x = _BANNER + cell // columns * (CELL + _CAPTION), cell % columns * CELL
        canvas[y : y + CELL, x : x + CELL] = to_square(prediction.images[row["place"]], CELL)
        time = "" if row["time_s"] is None else f", {row['time_s']:.1f} s"
        _write(canvas, f"person {row['person']}{time}", x + 2, y + CELL + 11)
        _write(canvas, f"p {row['score']:.3f}", x + 2, y + CELL + 23)
    return canvas


def _write(canvas: Image, text: str, x: int, y: int) -> None:
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_PLAIN, 0.8, (0, 0, 0), 1, cv2.LINE_AA)
