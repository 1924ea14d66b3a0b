"""The collections that the benchmarks build: 300-frame 1080p clips in DFDC's layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from semblance.ingest.detector.door import DetectConfig, Detector
from semblance.manifests.records import Image
from semblance.quality import video

CLIP = "data/bench/fhd_30fps_300.mp4"  # below SEMBLANCE_SHARED
FAKES = 5  # for each original


def originals(shared: Path, folder: Path, count: int) -> list[Path]:
    """``count`` copies of the clip under other names, as originals that nothing is made from."""
    names = [f"{chr(97 + i // 26)}{chr(97 + i % 26)}original.mp4" for i in range(count)]
    for name in names:
        _copy(shared / CLIP, folder, name)
    _metadata(folder, {name: {"label": "REAL", "split": "train"} for name in names})
    return [_part(folder) / name for name in names]


def whole_set(original: Path, fake: Path, folder: Path, families: int) -> list[Path]:
    """``families`` originals with five fakes each: copies of one original and of one fake made from it."""
    rows: dict[str, dict[str, str]] = {}
    for i in range(families):
        real = f"{'abcdefgh'[i]}realclips.mp4"
        _copy(original, folder, real)
        rows[real] = {"label": "REAL", "split": "train"}
        for k in range(FAKES):
            name = f"{'abcdefgh'[i]}{'klmno'[k]}fakeclip.mp4"
            _copy(fake, folder, name)
            rows[name] = {"label": "FAKE", "split": "train", "original": real}
    _metadata(folder, rows)
    return [_part(folder) / name for name in rows]


def make_fake(original: Path, to: Path) -> None:
    """The clip with its face smoothed inside an ellipse, encoded anew: as long to decode as a fake is."""
    detector = Detector(DetectConfig())
    total = video.probe(str(original)).frames_total or 0
    box: tuple[float, ...] | None = None

    def images() -> Iterator[Image]:
        nonlocal box
        for frame in video.frames(str(original), range(total), decoder="pyav"):
            if frame.index % 10 == 0 and (faces := detector.find(frame.image)):
                box = faces[0].box
            yield _smoothed(frame.image, box) if box else frame.image

    video.write_h264(str(to), images(), 30)


def _smoothed(image: Image, box: tuple[float, ...]) -> Image:
    import cv2

    x0, y0, x1, y1 = (round(value) for value in box)
    mask = np.zeros(image.shape[:2], np.uint8)
    centre, axes = ((x0 + x1) // 2, (y0 + y1) // 2), ((x1 - x0) * 2 // 5, (y1 - y0) * 2 // 5)
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, -1)
    soft = cv2.GaussianBlur(image, (31, 31), 0)
    return np.where(mask[..., None] > 0, soft, image)


def _part(folder: Path) -> Path:
    return folder / "dfdc_train_part_0"


def _copy(clip: Path, folder: Path, name: str) -> None:
    _part(folder).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(clip, _part(folder) / name)


def _metadata(folder: Path, rows: dict[str, dict[str, str]]) -> None:
    (_part(folder) / "metadata.json").write_text(json.dumps(rows))
