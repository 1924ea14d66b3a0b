"""The loader against a bare webdataset loop with the same decoding, in one run.

Run it: ``python tests/benchmarks/bench_loader.py``.
Without ``--data`` it writes eight shards of invented 224 px JPEGs of about 25 kB to a temporary folder. Both sides give
batches of 64 uint8 pictures from the same number of worker processes; the loader does so with its default shuffle.
Rounds alternate, and the median of each side counts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import webdataset
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from quality import codec
from tests.training import builds
from training import choose, data

BATCH = 64


def invent(folder: Path) -> str:
    """8 shards of 1,152 pictures."""

    def face(person: str, frame: int, label: int) -> Any:
        rng = np.random.default_rng([len(person), frame, label])
        small = rng.integers(40, 200, (28, 28, 3), dtype=np.uint8)
        image = cv2.resize(small, (224, 224), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        return np.clip(image + rng.normal(0, 3, (224, 224, 1)), 0, 255).astype(np.uint8)

    plan = builds.Plan(families=128, methods=("a", "b"), frames=24, two_faces=0, per_shard=16, sides=("train",))
    return str(builds.make(folder, plan, face=face, encoding=codec.EncodingConfig()))


def bare(urls: list[str], workers: int) -> Iterator[Any]:
    stream = (
        webdataset.WebDataset(urls, shardshuffle=False, empty_check=False)
        .map(lambda sample: (codec.decode(sample["jpg"]), sample["__key__"]))
        .batched(BATCH, collation_fn=lambda group: (torch.from_numpy(np.stack([one[0] for one in group])), group))
    )
    return iter(DataLoader(stream, batch_size=None, num_workers=workers))


def seconds(run: Callable[[], Iterator[Any]], count: Callable[[Any], int]) -> float:
    """Pictures a second over one pass."""
    start = time.perf_counter()
    pictures = sum(count(batch) for batch in run())
    return pictures / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="the --out of a build; default: an invented one")
    parser.add_argument("--split", default="train")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 2])
    options = parser.parse_args()
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        out = options.data or invent(Path(folder))
        chosen = choose.choose([out], options.split)
        size = sum(Path(shard.url).stat().st_size for shard in chosen.shards) / chosen.counts.chosen
        print(f"{chosen.counts} in {len(chosen.shards)} shards, {size / 1000:.1f} kB a sample in the tar")
        for workers in options.workers:
            loader = data.Loader(chosen, batch=BATCH, workers=workers, as_bytes=True)
            urls = [shard.url for shard in chosen.shards]
            ours, theirs = [], []
            for _ in range(options.rounds):
                theirs.append(seconds(lambda: bare(urls, workers), lambda batch: len(batch[1])))  # noqa: B023
                ours.append(seconds(lambda: iter(loader), lambda batch: len(batch.sample_ids)))  # noqa: B023
            a, b = statistics.median(ours), statistics.median(theirs)
            print(f"{workers} workers: loader {a:.0f}/s, bare webdataset {b:.0f}/s, ratio {a / b:.2f}")


if __name__ == "__main__":
    main()
