"""Memory stays flat over many short videos, and a decoder that leaks is replaced before it fills the machine."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from semblance.manifests import scan
from tests.faults import kills, rig, videos

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the processes of a build held, by kind: (videos done, MiB of their own (USS)); how many children."""

    held: Mapping[str, list[tuple[int, float]]]
    children: int

    def growth(self, kind: str, videos_: int) -> float:
        """MiB between the first fifth after a quarter of the videos, the warm-up, and the last fifth."""
        early = [mib for done, mib in self.held[kind] if videos_ * 0.25 <= done < videos_ * 0.45]
        late = [mib for done, mib in self.held[kind] if done >= videos_ * 0.8]
        return statistics.median(late) - statistics.median(early) if early and late else 0.0

    def most(self, kind: str) -> float:
        return max((mib for _, mib in self.held[kind]), default=0.0)


def collection(count: int, plain: Path, folder: Path) -> Path:
    """``count`` short videos of eight kinds, the clip's face in some of them."""
    root = folder / f"short-{count}"
    (root / "real").mkdir(parents=True)
    kinds = []
    for number in range(8):
        size, frames = ("320:240", "160:120")[number % 2], 3 + number
        target = folder / f"short-{number}"
        kinds.append(
            videos._with("-frames:v", str(frames), "-vf", f"scale={size}", *videos._X264)(plain, target).read_bytes()
        )
    for number in range(count):
        (root / "real" / f"{number:05d}.mp4").write_bytes(kinds[number % len(kinds)])
    return root


def watch(root: Path, out: Path, env: Mapping[str, str], *more: object) -> tuple[rig.Ended, Watched]:
    """Build with one worker and look at its processes twice a second."""
    log = out.with_suffix(".log")
    words = rig.command(root, out, "--workers", 1, "--log", log, *videos.FORGIVING, *more)
    words[words.index("dfdc")] = "folder"
    held: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    children: set[int] = set()
    with rig.started(words, env) as process:
        while process.poll() is None:
            done = log.read_text().count('"event": "video"') if log.exists() else 0
            for kind, found in (
                ("client", [psutil.Process(process.pid)] if psutil.pid_exists(process.pid) else []),
                ("worker", kills.workers_of(process.pid)),
                ("child", kills.children_of(process.pid)),
            ):
                for one in found:
                    try:
                        held[kind].append((done, one.memory_full_info().uss / MIB))
                    except psutil.Error:
                        continue
                    if kind == "child":
                        children.add(one.pid)
            time.sleep(0.3)
        ended = rig.finish(process)
    return ended, Watched(held=held, children=len(children))


def flat(count: int, plain: Path, folder: Path, most: float) -> rig.Line:
    """Growth after the warm-up is under ``most`` MiB for the worker and its child."""
    root = collection(count, plain, folder)
    ended, watched = watch(root, folder / f"short-{count}-out", {}, "--set", "shards.target_bytes=2000000")
    assert ended.code == 0, ended.said
    grown = {kind: watched.growth(kind, count) for kind in ("worker", "child", "client")}
    assert max(grown["worker"], grown["child"]) < most, grown
    said = ", ".join(f"{kind} {mib:+.0f} MiB (at most {watched.most(kind):.0f})" for kind, mib in grown.items())
    return rig.Line(fault=f"{count} short videos by one worker", rounds=count, outcome=f"growth after warm-up: {said}")


def leaking(count: int, plain: Path, folder: Path) -> rig.Line:
    """A decoder that leaks 64 MiB a video: its child is replaced, no video suffers."""
    root, out = collection(count, plain, folder), folder / "leaking-out"
    env = videos.orders(any=("leak", ("pyav",)))
    ended, watched = watch(root, out, env, "--set", "limits.growth_mib=200")
    assert ended.code == 0, ended.said
    statuses = set(scan(str(out), "videos").collect()["status"])
    assert statuses <= videos.GOOD, statuses
    assert watched.children > 1, "the child was not replaced"
    return rig.Line(
        fault="a decoder that leaks 64 MiB a video",
        rounds=count,
        outcome=f"all read; {watched.children} children or more, none over {watched.most('child'):.0f} MiB",
    )
