"""Plans of the full FaceForensics++ and Celeb-DF-v2 from their published lists, independently of the readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from semblance.manifests import splits
from semblance.manifests.ids import make_video_id
from semblance.manifests.records import Video

FAKES = ("Deepfakes", "Face2Face", "FaceShifter", "FaceSwap", "NeuralTextures")


def ffpp(shared: Path, protocol: str = "official") -> splits.Assigned:
    """1,000 originals and five fakes of each, one compression; people are known only as YouTube recordings."""
    folder = shared / "realmeta" / "ffpp"
    youtube = {
        key: name.rsplit(" ", 1)[0] for key, name in json.loads((folder / "conversion_dict.json").read_text()).items()
    }
    videos = []
    for split in ("train", "val", "test"):
        for pair in json.loads((folder / f"{split}.json").read_text()):
            for target, source in (pair, pair[::-1]):
                recording, donor = (make_video_id("ffpp", youtube[name]) for name in (target, source))
                real: dict[str, Any] = {
                    "dataset": "ffpp",
                    "compression": "c23",
                    "family_id": f"ffpp-{target}",
                    "target_id": recording,
                    "recording_id": recording,
                    "split_official": split,
                }
                videos.append(
                    Video(video_id=f"ffpp-c23-{target}", path=f"{target}.mp4", label=0, method="pristine", **real)
                )
                for method in FAKES:
                    name = f"ffpp-c23-{method}-{target}_{source}"
                    fake = real | {"donor_id": donor, "donor_recording_id": donor}
                    videos.append(Video(video_id=name, path=f"{name}.mp4", label=1, method=method, **fake))
    return _assigned(videos, protocol, splits.DatasetTraits(basis="recording"), (0.7, 0.15, 0.15))


def celebdf(shared: Path, protocol: str = "official") -> splits.Assigned:
    """6,528 videos; videos that are not on the test list were published for training."""
    folder = shared / "realmeta" / "celebdf_v2"
    tested = {line.split(" ", 1)[1] for line in (folder / "List_of_testing_videos.txt").read_text().splitlines()}
    videos = []
    for path in (folder / "all_videos.txt").read_text().split():
        kind, stem = path.removesuffix(".mp4").split("/")
        people = stem.split("_")[:-1]
        original = f"celebdf-{people[0]}_{stem.split('_')[-1]}" if people else f"celebdf-{stem}"
        videos.append(
            Video(
                video_id=f"celebdf-{stem}",
                path=path,
                dataset="celebdf",
                label=int(kind == "Celeb-synthesis"),
                method="CelebDF" if kind == "Celeb-synthesis" else "pristine",
                family_id=original,
                target_id=f"celebdf-{people[0]}" if people else None,
                donor_id=f"celebdf-{people[1]}" if len(people) > 1 else None,
                recording_id=original,
                split_official="test" if path in tested else "train",
            )
        )
    traits = splits.DatasetTraits(basis="person", val_from_train=True)
    return _assigned(videos, protocol, traits, (0.8, 0.1, 0.1))


def _assigned(
    videos: list[Video], protocol: str, traits: splits.DatasetTraits, fractions: tuple[float, float, float]
) -> splits.Assigned:
    config = splits.SplitConfig.model_validate({"protocol": protocol, "fractions": fractions})
    return splits.assign(splits.plan_frame(videos), config, 0, traits)


def sides_of(plan: pl.DataFrame, column: str) -> dict[str, str]:
    """video_id -> split, for videos that have one."""
    return {name: split for name, split in plan.select("video_id", column).iter_rows() if split}
