"""The training loader against a bare webdataset loop with the same decoding, in one run.

``python -m tests.benchmarks.loader [OUT] [WORKERS ...]``. Without a build it writes eight shards of invented JPEGs of
224 px and about 35 kB. Both sides give batches of 64 uint8 pictures from the same number of worker processes; the
loader does so with its default shuffle, its checks and its places. Rounds alternate; each side's median counts.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import webdataset
from torch.utils.data import DataLoader

from semblance.manifests.records import Image
from semblance.quality import codec
from semblance.training.data import query
from semblance.training.data.loader import Loader, Transfer
from tests.training import builds

BATCH = 64
ROUNDS = 5


def invent(folder: Path) -> str:
    """A build of 8 shards with 1,152 pictures each."""

    def face(person: str, frame: int, label: int) -> Image:
        rng = np.random.default_rng([*map(ord, person), frame, label])
        small = rng.integers(40, 200, (28, 28, 3), dtype=np.uint8)
        image = cv2.resize(small, (224, 224), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 3, (224, 224, 1))
        return np.asarray(np.clip(image, 0, 255), np.uint8)

    plan = builds.Plan(families=128, methods=("a", "b"), frames=24, two_faces=0, per_shard=16, splits=("train",))
    return str(builds.make(folder, plan, face=face, encoding=codec.EncodingConfig()))


def bare(urls: list[str], workers: int) -> Iterator[list[Any]]:
    """A loop as a user of webdataset writes it: (picture, key) of each sample, pictures stacked to batches."""
    decoded = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).map(_decode)
    return iter(DataLoader(decoded.batched(BATCH, collation_fn=_stack), batch_size=None, num_workers=workers))


def compare(out: str, workers: int, rounds: int = ROUNDS) -> tuple[float, float]:
    """Pictures a second of the loader and of the bare loop over the train split of a build."""
    cv2.setNumThreads(0)
    selection = query.select([out], "train")
    loader = Loader(selection, batch=BATCH, workers=workers, transfer=Transfer(as_bytes=True))
    urls = [shard.url for shard in selection.shards]
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(_rate(len(batch[1]) for batch in bare(urls, workers)))
        ours.append(_rate(len(batch.sample_ids) for batch in loader))
    return statistics.median(ours), statistics.median(theirs)


def _decode(sample: dict[str, Any]) -> tuple[Image, str]:
    return codec.decode(sample["jpg"]), sample["__key__"]


def _stack(group: list[tuple[Image, str]]) -> list[Any]:
    return [torch.from_numpy(np.stack([image for image, _ in group])), [key for _, key in group]]


def _rate(sizes: Iterable[int]) -> float:
    start = time.perf_counter()
    pictures = sum(sizes)
    return pictures / (time.perf_counter() - start)


def main(out: str | None = None, *workers: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        build = out or invent(Path(folder))
        for count in map(int, workers or ("0", "2")):
            ours, theirs = compare(build, count)
            print(f"{count} workers: loader {ours:.0f}/s, bare webdataset {theirs:.0f}/s, ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
