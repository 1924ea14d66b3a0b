"""Trees of empty files as large as the full datasets, from their real lists, since planning reads no video."""

from __future__ import annotations

import csv
import json
import random
import string
from collections.abc import Iterable
from pathlib import Path

PAIRED = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
COMPRESSIONS = ("raw", "c23", "c40")
SPLITS = ("train", "val", "test")


def _touch(folder: Path, names: Iterable[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


def celebdf_names(lists: Path) -> list[str]:
    """All 6,529 paths: one is missing in the list."""
    listed = (lists / "celebdf_v2/all_videos.txt").read_text().split()
    return sorted([*listed, "Celeb-real/id27_0005.mp4"])


def celebdf(root: Path, lists: Path) -> None:
    for folder in ("Celeb-real", "YouTube-real", "Celeb-synthesis"):
        _touch(root / folder, (name.split("/")[1] for name in celebdf_names(lists) if name.startswith(f"{folder}/")))
    name = "List_of_testing_videos.txt"
    (root / name).write_bytes((lists / "celebdf_v2" / name).read_bytes())


def ffpp_pairs(lists: Path) -> dict[str, list[tuple[str, str]]]:
    """Split -> the published pairs."""
    return {split: [(a, b) for a, b in json.loads((lists / f"ffpp/{split}.json").read_text())] for split in SPLITS}


def ffpp(root: Path, lists: Path, seed: int = 0) -> None:
    """All methods and compressions; the names of DeepFakeDetection's actors, scenes and swaps are invented."""
    (root / "splits").mkdir(parents=True)
    for split in SPLITS:
        (root / f"splits/{split}.json").write_bytes((lists / f"ffpp/{split}.json").read_bytes())
    (root / "conversion_dict.json").write_bytes((lists / "ffpp/conversion_dict.json").read_bytes())
    chance = random.Random(seed)
    actors = [f"{number:02d}" for number in range(1, 29)]
    scenes = [(actor, f"scene_{number}") for number in range(13) for actor in actors][:363]
    swaps: set[str] = set()
    while len(swaps) < 3_068:
        actor, scene = chance.choice(scenes)
        key = "".join(chance.choices(string.ascii_uppercase + string.digits, k=8))
        swaps.add(f"{actor}_{chance.choice([donor for donor in actors if donor != actor])}__{scene}__{key}.mp4")
    fakes = [f"{a}_{b}.mp4" for pairs in ffpp_pairs(lists).values() for pair in pairs for a, b in (pair, pair[::-1])]
    for level in COMPRESSIONS:
        _touch(root / f"original_sequences/youtube/{level}/videos", (f"{number:03d}.mp4" for number in range(1_000)))
        _touch(root / f"original_sequences/actors/{level}/videos", (f"{a}__{scene}.mp4" for a, scene in scenes))
        for method in PAIRED:
            _touch(root / f"manipulated_sequences/{method}/{level}/videos", fakes)
        _touch(root / f"manipulated_sequences/DeepFakeDetection/{level}/videos", sorted(swaps))


def dfdc(root: Path, lists: Path, seed: int = 0, parts: int = 50) -> None:
    """All train names in 50 parts; the original of each fake is invented, since no list has it."""
    with open(lists / "dfdc/train_all_names.csv", newline="") as file:
        rows = [(f"{row['name']}.mp4", row["is_fake"] == "1") for row in csv.DictReader(file)]
    chance = random.Random(seed)
    for number in range(parts):
        part = rows[number::parts]
        reals = [name for name, fake in part if not fake]
        folder = root / f"dfdc_train_part_{number}"
        _touch(folder, (name for name, _ in part))
        metadata = {
            name: {"label": "FAKE", "split": "train", "original": chance.choice(reals)}
            if fake
            else {"label": "REAL", "split": "train"}
            for name, fake in part
        }
        (folder / "metadata.json").write_text(json.dumps(metadata))
