"""The training loader against a bare webdataset loop with the same decoding, and what augmentation costs, in one run.

``python -m tests.benchmarks.loader [OUT] [WORKERS ...]``. Without a build it writes eight shards of invented JPEGs of
224 px and about 35 kB for the first, and builds the demo collection for the second. Both loops give batches of 64 uint8
pictures from the same number of worker processes; the loader does so with its default shuffle, its checks and its
places. Rounds alternate; each side's median counts. Augmentation is measured in CPU time (``augmentation``). Without a
build, ``tests/benchmarks/LOADER.md`` is written.
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
from tests.benchmarks import augmentation
from tests.training import builds

BATCH = 64
ROUNDS = 5
RESULTS = Path(__file__).with_name("LOADER.md")
ABOUT = (
    "Milliseconds of CPU are those of one thread for one picture; they differ between machines more than ratios do. "
    "What is wished of the workers is the ratio that was predicted from the single steps on another machine, where "
    "decoding took 1.14 ms: 1.7 of 3.9 ms for ResNet-50, 2.8 of 6.3 for EfficientNet-B4 and 2.3 of 5.8 for F3-Net."
)


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


def rows(folder: Path, out: str | None, workers: tuple[str, ...]) -> Iterator[tuple[str, str, str, str]]:
    """The lines of the table: what, figure, wished, remark."""
    build = out or invent(folder / "invented")
    for count in map(int, workers or ("0", "2")):
        ours, theirs = compare(build, count)
        remark = f"{ours:.0f} against {theirs:.0f} pictures a second"
        yield f"loader / bare webdataset loop, {count} workers", f"{ours / theirs:.2f}", "at least 0.9", remark
    yield from augmentation.rows(out or augmentation.demo(folder))


def main(out: str | None = None, *workers: str) -> None:
    lines = ["# Loader", "", f"Made by `python -m tests.benchmarks.loader`. {ABOUT}", ""]
    lines += ["| what | figure | wished | remark |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(Path(folder), out, workers):
            lines.append(f"| {' | '.join(cell or ' ' for cell in row)} |")
            print(lines[-1], flush=True)
    if out is None:
        RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
