"""Builds of small noise pictures, without video or detector, in which faults are planted one by one."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl

from semblance.manifests import schema
from semblance.manifests.ids import digest, make_sample_id
from semblance.manifests.records import Image, Outcome, Rejection, Sample, Video
from semblance.quality import codec, measures
from tests.shards import synthetic

SIDE = 64
FRAMES = 4
_CHECKS = np.where(np.indices((12, 12)).sum(0) % 2, 4, -4).astype(np.int8).view(np.uint8)[..., None]  # no hash sees
_AROUND = np.pad(np.zeros((40, 40, 1), bool), ((12, 12), (12, 12), (0, 0)), constant_values=True)  # not the face
MARKUP = '<img src=x onerror="document.title=1">&\x1b[31m'


@dataclass(frozen=True, kw_only=True)
class Faults:
    """``shortcut``: reals are c40, fakes c23; ``recoded``: fakes were JPEGs once more than reals; ``wallpaper``: fakes
    stand before another wall; ``copies``: video ids that show another video's pictures; ``unforged``:
    fakes that show their original; ``faint``: fakes with four shades of change in the face;
    ``unequal``: the brightness gate rejects most dark-skinned faces; ``failed``: videos that could not be decoded.
    """

    shortcut: bool = False
    recoded: bool = False
    wallpaper: bool = False
    copies: dict[str, str] = field(default_factory=dict)
    unforged: frozenset[str] = frozenset()
    faint: frozenset[str] = frozenset()
    unequal: bool = False
    failed: frozenset[str] = frozenset()


def videos(families: int, faults: Faults, methods: tuple[str, ...] = ("Swap", "Puppet")) -> list[Video]:
    """Families of a real and a fake a method."""
    found = []
    for family in range(families):
        real = f"folder-real_{family}"
        for number, method in enumerate(("pristine", *methods)):
            found.append(
                Video(
                    video_id=real if number == 0 else f"folder-fake_{family}_{number}",
                    path=f"{family}/{number} {MARKUP}.mp4",
                    dataset="folder",
                    label=int(number > 0),
                    method=method,
                    compression=("c40" if number == 0 else "c23") if faults.shortcut else "c23",
                    family_id=real,
                )
            )
    return found


def build(out: Path, families: int = 30, faults: Faults | None = None, **more: Any) -> pl.DataFrame:
    """The build at ``out``; returns its plan."""
    faults = faults or Faults()
    settings = ("split.protocol=family", "encoding.quality=95")
    return synthetic.build(out, videos(families, faults, **more), *settings, make=lambda row: outcome(row, faults))


def picture(name: str, frame: int) -> Image:
    """Smooth noise, (SIDE, SIDE, 3): the same for the same name, another at each frame."""
    chance = np.random.default_rng(int(digest("picture", name, frame)[:12], 16))
    coarse = chance.integers(40, 215, (10, 10, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)


def outcome(row: dict[str, Any], faults: Faults) -> Outcome:
    """What a build would give for this video."""
    chance = random.Random(f"outcome {row['family_id']}")  # acquisition and light are the family's
    own = random.Random(f"outcome {row['video_id']}")
    identity = {name: row[name] for name in row if name in schema.SAMPLES.names and name in schema.REJECTS.names}
    identity.pop("shard")
    video = {name: row[name] for name in row if name in schema.VIDEOS.names}
    real = row["label"] == 0
    compressed = row["compression"] == "c40"
    video |= {
        "width": chance.choice([640, 1280]),
        "height": chance.choice([360, 720]),
        "fps": chance.choice([25.0, 30.0]),
        "duration_s": chance.uniform(5, 20),
        "bit_rate": round(chance.uniform(0.9, 1.1) * (2e5 if compressed else 1e6) * own.uniform(0.95, 1.05)),
        "codec": "h264",
        "seconds_decode": 0.1,
        "seconds_detect": 0.2,
        "seconds_total": 0.5,
        "frames_failed": 0,
    }
    failed = row["video_id"] in faults.failed
    ita = (-45.0, 35.0, 60.0)[int(row["family_id"].rsplit("_", 1)[1]) % 3]
    base = chance.uniform(0.4, 0.7)
    samples, rejections = [], []
    for frame in range(0 if failed else FRAMES):
        shown = faults.copies.get(row["video_id"], row["family_id"])
        original = picture(shown, frame)
        image = original.copy()
        if row["video_id"] in faults.faint:
            image[26:38, 26:38] += _CHECKS  # no pixel is below 4 or above 251
        elif not real and row["video_id"] not in faults.unforged:
            image[20:44, 20:44] = picture(row["video_id"], frame)[20:44, 20:44]
        if faults.recoded and not real:
            image = codec.degrade(image, 60)
        if faults.wallpaper and not real:
            image = np.where(_AROUND, image // 2 + np.array((90, 20, 40), np.uint8), image).astype(np.uint8)
        box = (16.0, 16.0, 48.0, 48.0)
        change, peak, _ = _compare(image, original, box)
        brightness = 0.2 if faults.unequal and ita < -30 and frame else base + 0.01 * frame
        face = identity | {
            "sample_id": make_sample_id(row["video_id"], 10 * frame, 0),
            "frame_index": 10 * frame,
            "track": 0,
            "face_label": row["label"],
            "guide": None if real else "original",
            "box_x0": 100.0,
            "box_y0": 100.0,
            "box_x1": 180.0 + frame,
            "box_y1": 180.0,
            "crop_x0": 60,
            "crop_y0": 60,
            "crop_side": 160,
            "confidence": 0.99,
            "blur": own.uniform(40, 200),
            "blur_face": own.uniform(40, 200),
            "brightness": brightness,
            "contrast": chance.uniform(0.1, 0.3),
            "face_ratio": 0.67,
            "change": None if real else change,
            "change_peak": None if real else peak,
            "ita": ita,
            "phash": measures.phash(image),
            "frame_phash": measures.phash(original),
        }
        if brightness >= 0.3 and face["blur"] >= 50:
            encoded = codec.encode(image, codec.EncodingConfig())
            samples.append(Sample(row=face | {"verdict": "keep", "mask": False}, picture=encoded))
        else:
            reason, measured, limit = ("dark", brightness, 0.3) if brightness < 0.3 else ("blur", face["blur"], 50.0)
            why = {"unit": "face", "stage": "gate", "reasons": [reason], "reason": reason}
            small = codec.encode(image, codec.EncodingConfig())
            rejections.append(Rejection(row=face | why | {"measured": measured, "limit": limit}, picture=small))
    video |= {
        "status": "decode_error" if failed else "ok",
        "error": f"broken {MARKUP}" if failed else None,
        "frames_sampled": 0 if failed else FRAMES,
        "faces_seen": len(samples) + len(rejections),
        "crops_kept": len(samples),
        "crops_rejected": len(rejections),
    }
    return Outcome(video=video, samples=tuple(samples), rejections=tuple(rejections))


def _compare(image: Image, original: Image, box: tuple[float, float, float, float]) -> tuple[Any, Any, float]:
    difference = measures.absolute_difference(image, original)
    return measures.change(difference, box), measures.change_peak(difference, box), 0.0
