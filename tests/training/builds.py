"""Small synthetic builds from the real writer: several shards, methods, compressions, tracks and families."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semblance.manifests import tables
from semblance.manifests.ids import make_sample_id
from semblance.manifests.records import Image, Outcome, Sample
from semblance.quality import codec
from semblance.shards import layout, write

SIDE = 32
Face = Callable[[str, int, int], Image]  # person, frame, label


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``methods``: the fakes of each family; None is a method whose name is not published."""

    dataset: str = "ffpp"
    families: int = 6  # in train; val and test get half as many
    methods: Sequence[str | None] = ("Deepfakes", "FaceSwap")
    compressions: Sequence[str | None] = ("c23",)
    frames: int = 4
    two_faces: int = 1  # families whose fakes show a second face, with an unknown face label
    cut: int | None = None  # the frame from which every face has another track, as after a cut
    persons: bool = True  # False: not known, as in builds before schema 5.1
    per_shard: int = 2  # families
    splits: Sequence[str] = ("train", "val", "test")


def make(
    folder: Path, plan: Plan | None = None, *, face: Face | None = None, encoding: codec.EncodingConfig | None = None
) -> Path:
    """Write a build into ``folder`` and return it."""
    plan = plan or Plan()
    face, encoding = face or blob, encoding or codec.EncodingConfig(format="png")
    out = str(folder)
    videos: list[dict[str, Any]] = []
    for split in plan.splits:
        families = plan.families if split == "train" else plan.families // 2
        for first in range(0, families, plan.per_shard):
            shard = layout.tar_path(layout.shard_key(plan.dataset, split, first // plan.per_shard), split)
            outcomes = [
                outcome
                for number in range(first, min(first + plan.per_shard, families))
                for outcome in _family(plan, split, number, face, encoding)
            ]
            write.seal(
                out, shard, outcomes, fingerprint=_fingerprint(plan), seed=0, picture_extension=encoding.extension
            )
            videos += [dict(outcome.video) | {"shard": shard} for outcome in outcomes]
    known = {"video_id", "path", "dataset", "label", "method", "compression", "family_id", "split", "shard"}
    rows = [{name: row[name] for name in known} | {"order": order} for order, row in enumerate(videos)]
    tables.write_rows(f"{out}/plan.parquet", rows, "plan")
    (folder / "dataset.json").write_text(
        json.dumps({"dataset": plan.dataset, "fingerprint": _fingerprint(plan), "split": "family", "recipe": {}})
    )
    return folder


def _fingerprint(plan: Plan) -> str:
    return f"{plan.dataset}-{plan.families}-{plan.frames}"


def _family(plan: Plan, split: str, number: int, face: Face, encoding: codec.EncodingConfig) -> list[Outcome]:
    family = f"{plan.dataset}-{split}{number:03d}"
    outcomes = []
    for compression in plan.compressions:
        for place, method in enumerate(("pristine", *plan.methods)):
            name = "-".join(filter(None, (family, compression, method or f"nameless{place}")))
            label = int(method != "pristine")
            identity = {
                "video_id": name,
                "dataset": plan.dataset,
                "label": label,
                "method": method,
                "compression": compression,
                "family_id": family,
                "split": split,
                "split_family": split,
            }
            samples = []
            faces = 2 if number < plan.two_faces else 1
            for frame in range(0, plan.frames * 5, 5):
                for person in range(faces):
                    track = person + (faces if plan.cut is not None and frame >= plan.cut else 0)
                    face_label = None if label and person else label
                    image = face(f"{family}{person}", frame, label)
                    row = identity | {
                        "sample_id": make_sample_id(name, frame, track),
                        "face_label": face_label,
                        "guide": "original" if label else None,
                        "frame_index": frame,
                        "time_s": frame / 25,
                        "track": track,
                        "person": person if plan.persons else None,
                        "landmarks": [float(20 + i) for i in range(10)],
                        "confidence": 0.99,
                        "crop_x0": 10 + person,
                        "crop_y0": 10,
                        "crop_side": SIDE * 2,
                        "verdict": "keep",
                        "blur": float(frame),
                        "mask": False,
                    }
                    samples.append(Sample(row=row, picture=codec.encode(image, encoding)))
            video = identity | {
                "path": f"{name}.mp4",
                "status": "ok",
                "faces_seen": len(samples),
                "crops_kept": len(samples),
                "crops_rejected": 0,
                "frames_sampled": plan.frames,
                "frames_failed": 0,
            }
            outcomes.append(Outcome(video=video, samples=tuple(samples)))
    return outcomes


def blob(person: str, frame: int, label: int) -> Image:
    """A soft coloured blob per person that moves with time; fakes have a fine checkerboard in the middle."""
    rng = np.random.default_rng([ord(letter) for letter in person])
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    image = np.stack([0.5 + 0.3 * np.sin(a * x + b * y + frame / 10) for a, b in rng.uniform(1, 4, (3, 2))], -1)
    if label:
        image[8:24, 8:24] += 0.15 * ((np.indices((16, 16)).sum(0) % 2) - 0.5)[..., None]
    return np.asarray(np.clip(image * 255, 0, 255), np.uint8)
