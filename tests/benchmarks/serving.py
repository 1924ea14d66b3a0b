"""The service under load: ``python -m tests.benchmarks.serving`` writes SERVING.md; ``... hostile [N]`` its last part.

Needs the sample collections that SEMBLANCE_SHARED names, and hey, or the rows of crops say that it is missing.
``... small`` tries everything in a few minutes and writes nothing.
"""

from __future__ import annotations

import math
import os
import shutil
import statistics
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from semblance.training import recipes
from tests.benchmarks import serving_load as traffic
from tests.training import builds, untrained
from tests.training.serving import harness, siege

REPOSITORY: Final = Path(__file__).resolve().parents[2]
SHARED: Final = Path(os.environ.get("SEMBLANCE_SHARED", REPOSITORY.parent / "shared"))
PAGE: Final = Path(__file__).with_name("SERVING.md")
CLIP: Final = "clips/videos/sofa.mp4"
TITLE: Final = "# The service under load"
HOSTILE: Final = "## Hostile requests"
SMALL_NET: Final = "small net"
RESNET: Final = "ResNet-50"
UNLIMITED: Final = ("rate.per_minute=1000000", "rate.burst=100000")  # the clients are one address
WISHED_S: Final = 2.0  # for a video
CONCURRENT: Final = 100
Row = tuple[str, str, str, str, str]  # what, predicted, measured, wished, remark

# Written before the first measurement, from production.md and the parts' own benchmarks; never changed afterwards.
PREDICTED: Final = {
    "small ratio": "1.4 x",
    "resnet ratio": "1.05 x",
    "small p50": "p50 0.25 s, p99 0.4 s, 350/s",
    "resnet p50": "p50 9 s, p99 10 s, 11/s",
    "above": "200 and 503 alone",
    "alone": "p50 2.5 s",
    "parts": "3 CPU s: decode 0.8, detect 1.6, the rest 0.6 s",
    "hundred": "p50 125 s, p99 250 s",
    "default": "33 x 200, 67 x 503",
    "mixed": "no failure",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is sent. ``rounds``: of crops, between which the bare call takes its turn."""

    rounds: int = 3
    crops: int = 1000
    resnet_crops: int = 300
    alone: int = 5
    videos: int = CONCURRENT
    users: int = 20
    seconds: int = 30
    batches: int = 40


SMALL: Final = Size(rounds=1, crops=200, resnet_crops=100, alone=1, videos=4, users=5, seconds=5, batches=4)


def main() -> None:
    words = sys.argv[1:]
    if not (SHARED / CLIP).is_file():
        sys.exit(f"There is no clip at {SHARED / CLIP}; name the sample collections with SEMBLANCE_SHARED.")
    with tempfile.TemporaryDirectory(prefix="semblance-load-") as name:
        folder = Path(name)
        if words[:1] == ["hostile"]:
            _write(hostile=_hostile(folder, int(words[1]) if len(words) > 1 else 1000))
            return
        size = SMALL if words == ["small"] else Size()
        notes: list[str] = []
        page = _page(list(_rows(folder, size, notes)), notes)
        if size is SMALL:
            print(page)
        else:
            _write(load=page)


def _write(load: str | None = None, hostile: str | None = None) -> None:
    """Replace one part of the page and keep the other."""
    old = PAGE.read_text() if PAGE.exists() else ""
    before, _, after = old.partition(HOSTILE)
    PAGE.write_text(
        (load or before.strip() or TITLE).rstrip() + "\n\n" + HOSTILE + "\n\n" + (hostile or after).strip() + "\n"
    )
    print(f"{PAGE.relative_to(REPOSITORY)} is written")


def _rows(folder: Path, size: Size, notes: list[str]) -> Iterator[Row]:
    out = builds.make(folder / "build", builds.Plan(families=2))
    crop = traffic.crop_of(SHARED / CLIP, folder / "crop.jpg")
    clip = traffic.ten_seconds(SHARED / CLIP, folder / "clip.mp4")
    arch = recipes.load("resnet50", ("model.pretrained=none",)).model.model_dump()["arch"]
    full = (f"model.arch={arch}", "augment.size=224")
    small = untrained.make(folder / "small", [out])
    resnet = untrained.make(folder / "resnet", [out], *full)
    runs = {SMALL_NET: small, RESNET: resnet}
    for row in _all(folder, size, runs, crop, clip, notes):
        print(" | ".join(row), flush=True)
        yield row


def _all(folder: Path, size: Size, runs: dict[str, Path], crop: Path, clip: Path, notes: list[str]) -> Iterator[Row]:
    if shutil.which("hey"):
        for name, run in runs.items():
            yield from _crops(folder / name, size, name, run, crop)
    else:
        yield "crops", "", "not measured", "", "hey is not installed"
    yield from _mixed(folder / "mixed", size, runs[SMALL_NET], crop, clip)
    yield from _videos(folder / "videos", size, runs[RESNET], clip, notes)


def _crops(folder: Path, size: Size, name: str, run: Path, crop: Path) -> Iterator[Row]:
    requests, key = (size.crops, "small") if name == SMALL_NET else (size.resnet_crops, "resnet")
    bare = traffic.Bare(run, crop, folder / "bare")
    loads, alone = [], []
    with harness.serving(run, folder / "service", *UNLIMITED) as server:
        traffic.hey(server, crop, CONCURRENT, CONCURRENT)  # warm
        for _ in range(size.rounds):
            alone.append(bare.cpu_ms(max(size.batches * requests // size.crops, 2)))
            loads.append(traffic.hey(server, crop, requests, CONCURRENT))
    ms = statistics.median(one.cpu_ms for one in loads)
    base = statistics.median(alone)
    answers = sum((one.codes for one in loads), Counter[int]())
    sent = f"{size.rounds} x `hey -n {requests} -c {CONCURRENT}`, {crop.stat().st_size / 1e3:.1f} kB"
    figures = _speed(loads)
    yield f"crops, {name}, below the queue's limit (256)", PREDICTED[f"{key} p50"], figures, "", sent
    errors = sum(one.errors for one in loads)
    said = ", ".join(f"{count} x {code}" for code, count in sorted(answers.items())) + f", {errors} errors"
    yield f"- {name}: answers", f"{size.rounds * requests} x 200", said, "no error", ""
    remark = f"{ms:.2f} CPU ms a request, {base:.2f} of the bare call at batch {traffic.BATCH}; 100 passes"
    what = f"- {name}: service / bare batched call"
    yield what, PREDICTED[f"{key} ratio"], f"{ms / base:.2f} x", "at most 1.5 x", remark
    if name == SMALL_NET:
        with harness.serving(run, folder / "full", "crops.queue=32", *UNLIMITED) as server:
            above = traffic.hey(server, crop, requests, 2 * CONCURRENT)
        yield (
            "crops, above the queue's limit (32), 200 clients",
            PREDICTED["above"],
            above.answers,
            "200 and 503 alone",
            f"{above.per_second:.0f} answers/s of both kinds",
        )


def _speed(loads: list[traffic.Load]) -> str:
    p50, p99, rate = (statistics.median(getattr(one, name) for one in loads) for name in ("p50", "p99", "per_second"))
    return f"p50 {p50:.2f} s, p99 {p99:.2f} s, {rate:.0f}/s"


def _mixed(folder: Path, size: Size, run: Path, crop: Path, clip: Path) -> Iterator[Row]:
    with harness.serving(run, folder, *UNLIMITED) as server:
        kinds = traffic.locust(server, crop, clip, size.users, size.seconds)
    for kind in kinds:
        figure = f"p50 {kind.p50:.2f} s, p99 {kind.p99:.2f} s, {kind.per_second:.1f}/s"
        remark = f"{kind.requests} requests, {kind.failures} failures; locust, {size.users} users for {size.seconds} s"
        yield f"mixed, small net: {kind.name}", PREDICTED["mixed"], figure, "no failure", remark


def _videos(folder: Path, size: Size, run: Path, clip: Path, notes: list[str]) -> Iterator[Row]:
    data = clip.read_bytes()
    with harness.serving(run, folder / "raised", "videos.queue=128", *UNLIMITED) as server:
        workers = len(server.children)
        server.send("/v1/videos", data, "video/mp4")  # warm
        alone = traffic.send_videos(server, data, size.alone, 1)
        many = traffic.send_videos(server, data, size.videos, size.videos)
    yield "a video alone", PREDICTED["alone"], f"p50 {alone.p50:.2f} s, p99 {alone.p99:.2f} s", "", _told(alone)
    parts = alone.parts
    rest = alone.cpu - parts["decode"] - parts["detect"]
    seconds = f"{alone.cpu:.2f} CPU s: decode {parts['decode']:.2f}, detect {parts['detect']:.2f}, the rest {rest:.2f}"
    score = f"score {parts['all'] - parts['faces']:.2f} s of wall time; the rest: crops, gates, score, the web"
    yield "- CPU seconds; of them, by the answer's own clock", PREDICTED["parts"], seconds, "", score
    figure = f"p50 {many.p50:.1f} s, p99 {many.p99:.1f} s"
    yield f"{size.videos} videos at once, `videos.queue=128`", PREDICTED["hundred"], figure, "", _told(many)
    rate = size.videos / many.wall
    busy = f"{rate:.3f} videos/s by {workers} workers; {many.cpu:.2f} CPU s each"
    yield "- capacity of a core", "0.33 videos/s", f"{1 / many.cpu:.2f} videos/s", "", busy
    notes += _needs(many.cpu, alone.p50)
    cores = f"{math.ceil(CONCURRENT * many.cpu / WISHED_S)} cores"
    yield f"- {WISHED_S:g} s at {CONCURRENT} concurrent would take", "150 cores", cores, "", "computed below"
    with harness.serving(run, folder / "default", *UNLIMITED) as server:
        full = traffic.send_videos(server, data, size.videos, size.videos)
    said = ", ".join(f"{count} x {code}" for code, count in sorted(full.codes.items()))
    remark = "each 503 with Retry-After" if full.retry else "a 503 without Retry-After"
    yield f"{size.videos} videos at once, default queue (32)", PREDICTED["default"], said, "200 and 503 alone", remark


def _told(done: traffic.Videos) -> str:
    return ", ".join(f"{count} x {code}" for code, count in sorted(done.codes.items()))


def _filled(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


def _needs(cpu: float, alone: float) -> list[str]:
    """What hardware answers within the wished time, from CPU seconds a video and seconds alone, as paragraphs."""
    steady = CONCURRENT * cpu / WISHED_S
    in_time = math.floor(WISHED_S / alone)
    burst = f"That is {math.ceil(CONCURRENT / in_time)} cores" if in_time else "At this speed no number of cores does"
    fast = f"so cores must be {alone / WISHED_S:.1f} times as fast, too" if in_time < 1 else "which is within it"
    return [
        _filled(
            f"""**What {WISHED_S:g} s at {CONCURRENT} concurrent takes.** A worker works on one video at a time, on one
            core. Let {CONCURRENT} clients send their next video when they have an answer. With N cores, time =
            max(alone, {CONCURRENT} x CPU / N), queueing included: {CONCURRENT} - N clients always wait. So N =
            {CONCURRENT} x {cpu:.2f} CPU s / {WISHED_S:g} s = {steady:.0f} cores like these. Alone a video takes
            {alone:.2f} s, {fast}; more cores do not shorten that."""
        ),
        _filled(
            f"""If all {CONCURRENT} come at one moment, the last waits for those before it: each core may take
            floor({WISHED_S:g} / {alone:.2f}) = {in_time} videos. {burst}. What the queue cannot hold is a 503."""
        ),
    ]


def _hostile(folder: Path, count: int) -> str:
    out = builds.make(folder / "build", builds.Plan(families=2))
    run = untrained.make(folder / "run", [out])
    whole = [*sorted(SHARED.glob("data/dfdc_broken/*/*.mp4")), SHARED / "clips/videos/tilt_two.mp4"]
    clip = next(iter(sorted((SHARED / "data/ffpp/original_sequences").rglob("*.mp4"))))
    outcome = siege.lay(run, clip, folder, count=count, seed=0, whole=whole, malformed=True)
    kinds = sorted({kind for kind, _ in outcome.replies})
    lines = []
    for kind in kinds:
        answers = {what: number for (one, what), number in outcome.replies.items() if one == kind}
        said = ", ".join(f"{number} x {what}" for what, number in sorted(answers.items()))
        lines.append(f"| {kind} | {sum(answers.values())} | {said} |")
    print(*lines, *outcome.faults, sep="\n")
    mib = [size / 2**20 for size in (*outcome.halves, outcome.peak)]
    head = f"""Made by `python -m tests.benchmarks.serving hostile {count}`, seed 0, on {traffic.hardware()}.
        *Left*: the client was gone; *closed*: no whole request came in time."""
    foot = f"""Broken laws: {len(outcome.faults)}. The process held {mib[0]:.0f} MiB after the first half and
        {mib[1]:.0f} after the second (bound: {siege.GROWTH_MIB} MiB more), {mib[2]:.0f} at most. Open descriptors:
        {outcome.descriptors[0]} before, {outcome.descriptors[1]} after. It ended with code {outcome.code}."""
    table = ["| kind | requests | answers |", "|---|---|---|", *lines]
    return "\n".join([_filled(head), "", *table, "", _filled(foot)])


_INTRODUCTION: Final = """\
    Made by `python -m tests.benchmarks.serving` on {hardware}, beside its clients on the same cores. Random weights:
    figures of time, not of truth. *Small net*: the tests' ResNet of 32 px. *ResNet-50*: the plan's, 224 px. Crops:
    a face of 256 px, JPEG. Videos: `sofa.mp4` (CC0) of the sample clips, 10 s at 1280x720, H.264, scored by ResNet-50,
    sent by threads of Python's `urllib`. Rates are not limited here (by default 6000 a minute and address).
    Predictions were written before the first run."""


def _page(rows: list[Row], notes: list[str]) -> str:
    lines = [f"| {' | '.join(cell or ' ' for cell in row)} |" for row in rows]
    head = [TITLE, "", _filled(_INTRODUCTION.format(hardware=traffic.hardware())), ""]
    table = ["| what | predicted | measured | wished | remark |", "|---|---|---|---|---|", *lines]
    return "\n".join([*head, *table, "", "\n\n".join(notes)])


if __name__ == "__main__":
    main()
