"""Builds without pixels whose families, people, recordings and frames are known: for what runs share with them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from semblance.manifests import schema
from semblance.manifests.ids import digest, make_sample_id
from semblance.manifests.records import Outcome, Sample, Video
from semblance.training.data import isolation, splits
from semblance.training.data.loader import DataConfig
from semblance.training.data.splits import TrainingData
from tests.shards import synthetic

FRAMES = 4
KEYS = {
    "video": ("video_id",),
    "family": ("family_id",),
    "person": ("target_id", "donor_id"),
    "recording": ("recording_id", "donor_recording_id"),
}


def videos(families: int = 24, dataset: str = "celebdf", seed: int = 0) -> list[Video]:
    """Families of a real and two fakes; each person is in several families and lends a face to others."""
    chance = random.Random(seed)
    people = [f"{dataset}-id{number}" for number in range(families // 2)]
    found = []
    for family in range(families):
        real = f"{dataset}-real{family:02d}"
        for number, method in enumerate(("pristine", "swap", "blend")):
            found.append(
                Video(
                    video_id=f"{real}-{method}" if number else real,
                    path=f"{family}/{method}.mp4",
                    dataset=dataset,
                    label=int(number > 0),
                    method=method,
                    family_id=real,
                    target_id=people[family // 2],
                    donor_id=chance.choice(people[family // 8 * 4 :][:4]) if number else None,
                    recording_id=f"{dataset}-tape{family}",
                )
            )
    return found


def renamed(given: Sequence[Video], dataset: str) -> list[Video]:
    """The same files as a collection whose ids say nothing: other names, no people."""
    new = {video.video_id: f"{dataset}-{digest(video.video_id)[:8]}" for video in given}
    unknown: dict[str, Any] = dict.fromkeys(("target_id", "donor_id", "recording_id"))
    return [
        replace(video, dataset=dataset, video_id=new[video.video_id], family_id=new[video.family_id], **unknown)
        for video in given
    ]


def outcome(row: dict[str, Any], scene: str = "") -> Outcome:
    """A face in each frame, whose frame is that of the file ``path`` in a ``scene``."""
    identity = {name: row[name] for name in row if name in schema.SAMPLES.names and name != "shard"}
    samples = [
        Sample(
            row=identity
            | {"sample_id": make_sample_id(row["video_id"], frame, 0), "frame_index": frame, "track": 0, "person": 0}
            | {"face_label": row["label"], "verdict": "keep", "mask": False, "landmarks": [float(x) for x in range(10)]}
            | {"frame_phash": int(digest(scene, row["path"], frame)[:16], 16)},
            picture=b"\xff\xd8\xff" + row["video_id"].encode(),
        )
        for frame in range(0, FRAMES * 5, 5)
    ]
    video = {name: row[name] for name in row if name in schema.VIDEOS.names}
    video |= {"status": "ok", "frames_sampled": FRAMES, "frames_failed": 0, "faces_seen": FRAMES, "crops_rejected": 0}
    return Outcome(video=video | {"crops_kept": FRAMES, "seconds_total": 1.0}, samples=tuple(samples))


def make(
    out: Path,
    given: Sequence[Video] | None = None,
    *settings: str,
    scene: str = "",
    frames: Callable[..., Outcome] = outcome,
) -> Path:
    """A finished build of these videos."""
    synthetic.build(out, given or videos(), *settings, frames=FRAMES, make=lambda row: frames(row, scene))
    return out


def isolated(outs: Sequence[Path], *, others: Sequence[Path] = (), column: str = "split", **allow: Any) -> TrainingData:
    """The data of a run on these builds, checked as ``training fit`` does."""
    config = DataConfig(split_column=column, balanced_per_method=False)
    data = splits.gather([str(out) for out in outs], [str(out) for out in others], config)
    return isolation.isolate(data, **allow)


def ids(rows: Sequence[dict[str, Any]], kind: str) -> set[str]:
    """All ids of a kind, by hand."""
    return {f"{row['dataset']} {row[key]}" for row in rows for key in KEYS[kind] if row[key] is not None}
