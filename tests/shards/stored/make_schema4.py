"""How schema4.tar.xz was made: a tiny build of invented people, by the code that wrote schema version 4.

That code is commit 4d57043 of this repository, with its packages at the top level. In a checkout of it:

    PYTHONPATH=. python make_schema4.py schema4.tar.xz
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from manifests import schema  # type: ignore[import-not-found]
from manifests.records import (  # type: ignore[import-not-found]
    Outcome,
    Rejection,
    Sample,
    Video,
    make_sample_id,
)
from quality import codec  # type: ignore[import-not-found]
from tests.shards import synthetic

FAMILIES, FRAMES, SIDE = 6, 3, 32


def videos() -> list[Video]:
    """Families of a real and a fake; nobody is in two of them."""
    found = []
    for family in range(FAMILIES):
        real = f"folder-real_{family}"
        for label in (0, 1):
            found.append(
                Video(
                    video_id=f"folder-fake_{family}" if label else real,
                    path=f"{family}/{label}.mp4",
                    dataset="folder",
                    label=label,
                    method="swap" if label else "pristine",
                    family_id=real,
                    target_id=f"person {family}",
                    donor_id=f"donor {family}" if label else None,
                    split_official=("train", "train", "train", "val", "test", "test")[family],
                    date=f"2020-01-0{family + 1}",
                )
            )
    return found


def outcome(row: dict[str, Any]) -> Outcome:
    """Two frames that are kept and one that is rejected; a picture is a smooth shade of its family and label."""
    identity = {name: row[name] for name in row if name in schema.SAMPLES.names and name in schema.REJECTS.names}
    identity.pop("shard")
    family, fake = int(row["family_id"].rpartition("_")[2]), row["label"]
    samples, rejections = [], []
    for frame in range(FRAMES):
        ramp = np.linspace(40 + 20 * family, 120 + 20 * family, SIDE)
        image = np.repeat(np.tile(ramp + 5 * frame, (SIDE, 1))[..., None], 3, axis=2)
        image[8:24, 8:24] += 12 * fake
        picture = codec.encode(np.clip(image, 0, 255).astype(np.uint8), codec.EncodingConfig())
        face = identity | {
            "sample_id": make_sample_id(row["video_id"], frame, 0),
            "face_label": fake,
            "frame_index": frame,
            "time_s": frame / 25,
            "track": 0,
            "guide": "original" if fake else None,
            **{"box_x0": 20.0, "box_y0": 20.0, "box_x1": 110.0 + family, "box_y1": 110.0},
            **{"crop_x0": 5, "crop_y0": 5, "crop_side": 120, "confidence": 0.99, "landmarks": [50.0] * 10},
            **{"blur": 60.0 + family + frame, "blur_face": 50.0, "brightness": 0.5, "contrast": 0.1},
            **{"face_ratio": 0.67, "change": 4.0 * fake or None, "change_peak": 9.0 * fake or None},
            **{"phash": 1 << (2 * family + fake), "frame_phash": 1 << (20 + 2 * family + fake)},
        }
        if frame == FRAMES - 1:
            why = {"unit": "face", "stage": "gate", "reasons": ["blur"], "reason": "blur", "measured": 40.0}
            rejections.append(Rejection(row=face | why | {"limit": 50.0, "blur": 40.0}, picture=picture))
        else:
            samples.append(Sample(row=face | {"verdict": "keep", "mask": False}, picture=picture))
    video = {name: row[name] for name in row if name in schema.VIDEOS.names} | {
        **{"status": "ok", "guide": "original" if fake else None, "decoder": "pyav", "codec": "h264"},
        **{"width": 160, "height": 160, "fps": 25.0, "frames_total": 75, "duration_s": 3.0},
        **{"frames_sampled": FRAMES, "frames_failed": 0, "faces_seen": FRAMES},
        **{"crops_kept": len(samples), "crops_rejected": len(rejections), "seconds_total": 0.1},
    }
    return Outcome(video=video, samples=tuple(samples), rejections=tuple(rejections))


def main(target: str) -> None:
    assert schema.VERSION == 4, "run this in a checkout of the commit that the docstring names"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "build"
        synthetic.build(out, videos(), make=outcome)
        with tarfile.open(target, "w:xz", preset=9) as tar:
            for path in sorted(out.rglob("*")):
                if path.is_file():
                    member = tarfile.TarInfo(str(path.relative_to(out)))
                    member.size = path.stat().st_size
                    tar.addfile(member, io.BytesIO(path.read_bytes()))


if __name__ == "__main__":
    main(sys.argv[1])
