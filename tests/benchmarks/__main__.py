"""All benchmarks in one run: ``python -m tests.benchmarks`` writes ``tests/benchmarks/RESULTS.md``.

Needs the sample collections that SEMBLANCE_SHARED names, two cores and some nine minutes on a quiet machine.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import polars as pl

from semblance import manifests
from semblance.ingest.detector.door import DetectConfig, Detector
from semblance.manifests.records import Image
from semblance.quality import video
from tests.benchmarks import clips, detector, loader, measure

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("RESULTS.md")
Row = tuple[str, str, str, str]  # what, figure, wished, remark
PAIRS = 5  # interleaved rounds of one worker against two
ROUNDS = 4  # of a build against bare decoding
TASKS = 100  # of one frame each
ONE_FRAME = ("--set", "sampling.n=1", "--set", "sampling.mode=first")
# What holds a figure back where it misses what is wished; said in the table then alone.
HELD_DETECTOR = (
    "the three networks run near the processor's peak and take two thirds, the pyramid and the cuts the rest"
)
HELD_BUILD = (
    "both cores decode all the time, so detection and the kept frames' conversion, crops and measures add up instead "
    "of hiding behind it: see the stages"
)


def main() -> None:
    shared = Path(os.environ.get("SEMBLANCE_SHARED", REPOSITORY.parent / "shared"))
    if not (shared / clips.CLIP).is_file():
        sys.exit(f"There is no clip at {shared / clips.CLIP}; name the sample collections with SEMBLANCE_SHARED.")
    started = time.perf_counter()
    cv2.setNumThreads(0)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="semblance-bench-") as folder:
        for row in _rows(shared, Path(folder)):
            print(" | ".join(row), flush=True)
            rows.append(row)
    RESULTS.write_text(_page(rows, time.perf_counter() - started))
    print(f"{RESULTS.relative_to(REPOSITORY)} is written")


def _rows(shared: Path, folder: Path) -> Iterator[Row]:
    yield from _detector_rows("1080p", _frames(shared / clips.CLIP, 15), 10)
    small = sorted((shared / "data/ffpp/original_sequences").glob("*/*/videos/*.mp4"))[::2]
    yield from _detector_rows("480 to 512 px", [image for path in small for image in _frames(path, 32)], 5)
    start = Start(shared, folder)
    start.up(2)  # the first reads every library from disk
    start_up = statistics.median(start.up(2) for _ in range(ROUNDS))
    yield "start-up of a build: plan, cluster, two workers with their children", f"{start_up:.1f} s", "", ""
    yield from _originals_rows(shared, folder, start)
    yield from _whole_set_rows(shared, folder, start)
    yield from _scaling_rows(shared, folder, start)
    yield from _sample_rows(shared, folder, start_up)
    yield from _loader_rows(folder)
    yield "`ingest --help`", f"{_median(lambda: measure.seconds('ingest', '--help')):.2f} s", "at most 0.5 s", ""


class Start:
    """What a build takes that does next to nothing: one frame of each of two clips."""

    def __init__(self, shared: Path, folder: Path) -> None:
        self._tiny, self._out = folder / "tiny", folder / "out-tiny"
        clips.originals(shared, self._tiny, 2)

    def up(self, workers: int) -> float:
        return measure.build(self._tiny, self._out, workers, *ONE_FRAME)


def _detector_rows(what: str, images: list[Image], wished: float) -> Iterator[Row]:
    done = detector.compare(images, Detector(DetectConfig()), detector.reference(), rounds=3)
    rate = f"{1 / done.seconds:.0f} against {1 / done.reference_seconds:.1f} frames/s"
    rate += f"; some frames together, as a worker has them (one by one: {1 / done.seconds_alone:.0f} frames/s)"
    name = f"detector, {what}, min face 80, against facenet-pytorch's `detect`, one thread each"
    rate += _short(wished - done.faster, HELD_DETECTOR)
    yield name, f"{done.faster:.1f} times faster", f"at least {wished:g}", rate
    name = f"- {what}: recall, precision at IoU 0.5"
    sure = f"{done.recall.faces} and {done.precision.faces} sure faces"
    yield name, f"{done.recall.found:.3f}, {done.precision.found:.3f}", "0.99", sure
    own = f"{done.own.overlap:.3f}"
    yield f"- {what}: mean IoU", f"{done.recall.overlap:.3f}", own, "wished: its own, shifted by 1 px"
    errors = f"its own, shifted by 1 px: {done.own.landmark_error:.3f}"
    yield f"- {what}: landmark error / eye distance", f"{done.recall.landmark_error:.3f}", "", errors


def _against_bare(root: Path, out: Path, paths: list[Path], start: Start) -> list[tuple[float, float]]:
    """Seconds of a build without its start, and of bare decoding, in turns."""
    rounds = []
    before = start.up(2)
    for _ in range(ROUNDS):
        bare = measure.other("decode", paths, 2)
        built = measure.build(root, out, 2)
        after = start.up(2)
        rounds.append((built - (before + after) / 2, bare))
        before = after
    return rounds


def _originals_rows(shared: Path, folder: Path, start: Start) -> Iterator[Row]:
    root, out = folder / "originals", folder / "out-originals"
    paths = clips.originals(shared, root, 8)
    rounds = _against_bare(root, out, paths, start)
    yield _ratio("build of eight 1080p originals / bare full decode, 2 processes", rounds, 1.35)
    yield _stages(out, "eight originals")
    yield _task_row(shared, folder / "tasks", start)
    words = ("ingest", "build", "--dataset", "dfdc", "--root", str(root), "--out", str(out))
    yield "a finished build run again", f"{measure.seconds(*words):.1f} s", "at most 5 s", ""
    held = measure.worker_mib(root, out, 2)
    yield "peak PSS of a worker with its child, 1080p", f"{held:.0f} MiB", "at most 717 MiB (0.7 GiB)", ""


def _whole_set_rows(shared: Path, folder: Path, start: Start) -> Iterator[Row]:
    fake = folder / "fake.mp4"
    clips.make_fake(shared / clips.CLIP, fake)
    paths = clips.whole_set(shared / clips.CLIP, fake, folder / "set", 2)
    rounds = _against_bare(folder / "set", folder / "out-set", paths, start)
    yield _ratio("build of a whole set (2 originals, 10 fakes) / bare full decode", rounds, 1.2)
    yield _stages(folder / "out-set", "the whole set")
    guided = manifests.scan(str(folder / "out-set"), "videos").filter(pl.col("guide") == "original")
    assert guided.select(pl.len()).collect().item() == 10
    whole = statistics.median(built for built, _ in rounds)
    for min_face, some, wished in ((80, paths, 2.5), (20, [*paths[:2], paths[6]], 5)):
        pictures = folder / f"png-{min_face}"
        pictures.mkdir()
        theirs = measure.other("pipeline", some, 2, str(min_face), str(pictures))
        ours = whole * len(some) / len(paths)
        name = f"a user's pipeline (min face {min_face}, every 10th frame, PNG) / ours, the same set"
        part = "" if some is paths else f"; {len(some)} of its clips, ours in proportion"
        yield name, f"{theirs / ours:.1f}", f"at least {wished:g}", f"{theirs:.1f} s against {ours:.1f} s{part}"
    png = statistics.fmean(file.stat().st_size for file in (folder / "png-80").glob("*.png"))
    stored = manifests.scan(str(folder / "out-set")).select(pl.col("encoded_bytes").mean()).collect().item()
    sizes = f"{png / 1e3:.0f} kB against {stored / 1e3:.0f} kB"
    yield "bytes a crop, PNG / ours", f"{png / stored:.1f}", "", sizes


def _scaling_rows(shared: Path, folder: Path, start: Start) -> Iterator[Row]:
    paths = clips.originals(shared, folder / "four", 4)
    gains: dict[str, list[float]] = {"bare": [], "build": []}
    starts = {n: statistics.median(start.up(n) for _ in range(ROUNDS)) for n in (1, 2)}
    for _ in range(PAIRS):
        one, two = (measure.other("decode", paths, n) for n in (1, 2))
        gains["bare"].append(one / two)
        one, two = (measure.build(folder / "four", folder / "o", n) - starts[n] for n in (1, 2))
        gains["build"].append(one / two)
    bare, build = (statistics.median(gains[name]) for name in ("bare", "build"))
    remark = f"{build:.2f} against {bare:.2f} times, medians of {PAIRS} interleaved rounds"
    yield "2 workers / 1 worker, of what bare decoding gains", f"{build / bare:.2f}", "at least 0.95", remark


def _sample_rows(shared: Path, folder: Path, start_up: float) -> Iterator[Row]:
    """The 75-frame clips, reported and not judged: a third of their time is the start."""
    root = shared / "data/dfdc"
    bare = measure.other("decode", sorted(root.glob("*/*.mp4")), 2)
    rounds = [(measure.build(root, folder / "out-sample", 2) - start_up, bare)]
    what, figure, _, remark = _ratio("build of the sample DFDC (75-frame clips) / bare full decode", rounds, math.inf)
    yield what, figure, "not judged", remark


def _loader_rows(folder: Path) -> Iterator[Row]:
    out = loader.invent(folder / "shards")
    for workers in (0, 2):
        ours, theirs = loader.compare(out, workers)
        name = f"training loader / bare webdataset loop, {workers} workers"
        yield name, f"{ours / theirs:.2f}", "at least 0.9", f"{ours:.0f} against {theirs:.0f} pictures/s"


def _ratio(what: str, rounds: list[tuple[float, float]], wished: float) -> Row:
    ratio = statistics.median(built / bare for built, bare in rounds)
    built, bare = (statistics.median(column) for column in zip(*rounds, strict=True))
    said = f"{built:.1f} s against {bare:.1f} s" + (f", medians of {len(rounds)} rounds" if len(rounds) > 1 else "")
    return what, f"{ratio:.2f}", f"at most {wished:g}", said + _short(ratio - wished, HELD_BUILD)


def _short(by: float, why: str) -> str:
    """The end of a remark on a figure that misses what is wished."""
    return f"; short by {by:.2f}: {why}" if by >= 0.005 else ""


def _task_row(shared: Path, folder: Path, start: Start) -> Row:
    """What a task costs beside the work on its video: Dask's, the hand-over to the child, its part in the sealing."""
    clips.originals(shared, folder / "set", TASKS)
    spent = (measure.build(folder / "set", folder / "out", 2, *ONE_FRAME) - start.up(2)) * 2 / (TASKS - 2)
    work = manifests.scan(str(folder / "out"), "videos").select(pl.col("seconds_total").mean()).collect().item()
    said = f"{spent * 1e3:.0f} ms a task, of them {work * 1e3:.0f} ms for its video; {TASKS} tasks of one frame"
    return "a task's cost beside the work on its video", f"{max(spent - work, 0) * 1e3:.0f} ms", "", said


def _stages(out: Path, what: str) -> Row:
    sums = manifests.scan(str(out), "videos").select(pl.col("^seconds_.*$").sum()).collect().row(0, named=True)
    rest = sums["seconds_total"] - sums["seconds_decode"] - sums["seconds_detect"]
    figure = f"decode {sums['seconds_decode']:.1f}, detect {sums['seconds_detect']:.1f}, the rest {rest:.1f} s"
    return f"stages, {what}, summed over the workers", figure, "", "the rest: crops, measures, encoding, writing rows"


def _frames(path: Path, step: int) -> list[Image]:
    total = video.probe(str(path)).frames_total or 0
    return [frame.image for frame in video.frames(str(path), range(0, total, step), decoder="pyav")]


def _median(timed: Callable[[], float], rounds: int = 5) -> float:
    return statistics.median(timed() for _ in range(rounds))


def _page(rows: list[Row], seconds: float) -> str:
    cores = len(os.sched_getaffinity(0))
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    lines = [f"| {' | '.join(cell or ' ' for cell in row)} |" for row in rows]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            f"Made by `make bench` in {seconds / 60:.0f} minutes on {cores} cores ({model}), Python "
            f"{platform.python_version()}. Every ratio is between two things measured in this run on the same files; "
            "builds are without their start-up, which has a row of its own.",
            "",
            "| what | figure | wished | remark |",
            "|---|---|---|---|",
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    main()
