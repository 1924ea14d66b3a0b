"""Every fault in its long form: ``python -m tests.faults`` injects them and writes ``tests/benchmarks/FAULTS.md``.

Needs ffmpeg and, for the full disk and the read-only output, mount namespaces; some ten minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import cv2

from tests.conftest import REPOSITORY, s3_server
from tests.faults import disk, kills, memory, objects, rig, videos

TABLE: Final = REPOSITORY / "tests" / "benchmarks" / "FAULTS.md"
FLAT: Final = 48.0  # MiB that a process may have grown by after its warm-up
EVERY: Final[tuple[dict[str, int], ...]] = (
    {"slow": 5},
    {"_500": 19, "late_500": 23},
    {"_503": 11},
    {"cut_upload": 3, "cut_answer": 17},
    {"slow": 29, "_500": 43, "_503": 47, "late_500": 31, "cut_upload": 11, "cut_answer": 37},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a section works with: the options, the collection, its undisturbed build, a folder of its own."""

    given: argparse.Namespace
    root: Path
    good: Path
    folder: Path


def main() -> None:
    given = _options()
    cv2.setNumThreads(0)
    started = time.perf_counter()
    lines: list[rig.Line] = []
    with tempfile.TemporaryDirectory(prefix="semblance-faults-", ignore_cleanup_errors=True) as folder:
        root, good = rig.collection(Path(folder) / "demo"), Path(folder) / "undisturbed"
        ended = rig.build(root, good, "--workers", 2)
        if ended.code != 0:
            sys.exit(f"The undisturbed build does not succeed:\n{ended.said}")
        for name, section in SECTIONS.items():
            if given.only is None or name in given.only:
                place = Path(folder) / name
                place.mkdir()
                lines += _shown(name, section(Ground(given=given, root=root, good=good, folder=place)))
    given.to.write_text(_page(lines, time.perf_counter() - started))
    print(f"{given.to} is written")
    sys.exit(any((line.lost, line.wrong, line.stuck) != (0, 0, 0) for line in lines))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--kills", type=int, default=5, help="rounds for each of worker, child, nanny, scheduler, client"
    )
    parser.add_argument("--mutated", type=int, default=1000, help="mutated files")
    parser.add_argument("--short", type=int, default=2000, help="short videos for the memory")
    parser.add_argument("--damaged", type=int, default=20, help="rounds of each kind of damage on disk")
    parser.add_argument("--pairs", type=int, default=5, help="rounds of two builds at once")
    parser.add_argument("--seed", type=int, default=100, help="the first seed; what is chosen by it is printed")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), help="these sections alone")
    parser.add_argument("--to", type=Path, default=TABLE, help="the file to write")
    return parser.parse_args()


def _shown(name: str, lines: Iterator[rig.Line]) -> list[rig.Line]:
    """The lines of a section, printed as they come; one that ends in an exception is a line as well, of a wrong one."""
    found = []
    started = time.perf_counter()
    try:
        for line in lines:
            print(f"[{time.perf_counter() - started:.0f} s] {_row(line)}", flush=True)
            found.append(line)
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        traceback.print_exc()
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        found.append(rig.Line(fault=f"{name}: the rest of it", rounds=1, outcome=f"FAILED: {why}", wrong=1))
    return found


def _inside(on: Ground) -> Iterator[rig.Line]:
    plain = rig.sound_clip(on.root)
    yield from videos.decoders(on.root, on.good, on.folder)
    yield videos.malformed(plain, on.folder)
    yield videos.beyond(plain, on.folder)
    yield videos.fuzz(on.given.mutated, on.given.seed, plain, on.folder)


def _around(on: Ground) -> Iterator[rig.Line]:
    seed = on.given.seed
    for victim in get_args(kills.Victim):
        yield kills.rounds(victim, list(range(seed, seed + on.given.kills)), on.root, on.good, on.folder)
        seed += on.given.kills


def _storage(on: Ground) -> Iterator[rig.Line]:
    if disk.may_mount():
        yield disk.full(["100k", "200k", "300k"], on.root, on.good, on.folder)
        yield disk.read_only(on.root, on.folder)
    yield disk.file_too_large(on.root, on.good, on.folder)
    seeds = [on.given.seed + number for number in range(on.given.damaged)]
    yield disk.mended("a torn receipt", disk.tear_receipt, seeds, on.root, on.good, on.folder, builds=3)
    more = ("--retry", "damaged")
    yield disk.mended("one flipped bit", disk.flip_bit, seeds, on.root, on.good, on.folder, builds=3, more=more)
    yield disk.mended(
        "a tar cut between two members", disk.cut_between_members, seeds, on.root, on.good, on.folder, builds=3
    )
    yield disk.watched(on.root, on.good, on.folder)
    yield disk.two_at_once(on.given.pairs, on.root, on.good, on.folder)


def _objects(on: Ground) -> Iterator[rig.Line]:
    with s3_server(on.folder / "server.log") as env:
        store = objects.Store(env)
        there = objects.undisturbed(store, on.root, on.folder)
        for number, every in enumerate(EVERY):
            yield objects.troubled(store, number, there, on.folder, **every)
        yield objects.away(store, len(EVERY), there, on.folder, seconds=8, patience=120)
        yield objects.away(store, len(EVERY) + 1, there, on.folder, seconds=None, patience=5)


def _memory(on: Ground) -> Iterator[rig.Line]:
    plain = rig.sound_clip(on.root)
    yield memory.leaking(24, plain, on.folder)
    yield memory.flat(on.given.short, plain, on.folder, FLAT)


SECTIONS: Final[dict[str, Callable[[Ground], Iterator[rig.Line]]]] = {
    "storage": _storage,
    "objects": _objects,
    "inside": _inside,
    "around": _around,
    "memory": _memory,
}


def _row(line: rig.Line) -> str:
    return f"| {line.fault} | {line.rounds} | {line.outcome} | {line.lost} | {line.wrong} | {line.stuck} |"


def _page(lines: list[rig.Line], seconds: float) -> str:
    sums = {name: sum(getattr(line, name) for line in lines) for name in ("rounds", "lost", "wrong", "stuck")}
    return "\n".join(
        [
            "# Faults",
            "",
            f"Made by `make faults` in {seconds / 60:.0f} minutes on {len(os.sched_getaffinity(0))} cores, Python "
            f"{platform.python_version()}. Each fault is injected for real into the real command; the same bytes are "
            "those of an undisturbed build, times apart. `make test` runs a short form of each.",
            "",
            f"**{sums['rounds']} rounds: lost samples {sums['lost']}, wrong successes {sums['wrong']}, "
            f"stuck builds {sums['stuck']}.**",
            "",
            "| fault | rounds | outcome | lost samples | wrong successes | stuck builds |",
            "|---|---:|---|---:|---:|---:|",
            *(_row(line) for line in lines),
            "",
        ]
    )


if __name__ == "__main__":
    main()
