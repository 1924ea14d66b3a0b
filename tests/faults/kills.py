"""SIGKILL of a worker, of its nanny, of the scheduler and of the client, at random moments."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import psutil

from tests.conftest import BIN
from tests.faults import rig

Victim = Literal["worker", "child", "nanny", "scheduler", "client"]
ENV = {"SEMBLANCE_PATIENCE": "20"}
_LATEST: Final = 2.0  # seconds; the whole build takes a few
_EARLIER: Final = (1.0, 0.5, 0.2)


@contextlib.contextmanager
def cluster(
    folder: Path, workers: int = 2, *more: str, env: Mapping[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes], list[subprocess.Popen[bytes]]]]:
    """A scheduler and workers with nannies, each a process of its own: address, scheduler, nannies.

    ``more`` are words for both commands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    meeting = folder / "scheduler.json"
    meeting.unlink(missing_ok=True)
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(meeting), *more]
    around: dict[str, Any] = {"cwd": folder, "env": os.environ | dict(env or {}), **rig.QUIET}
    scheduler = subprocess.Popen([BIN / "dask", "scheduler", *options], **around)
    nannies: list[subprocess.Popen[bytes]] = []
    try:
        rig.wait_until(lambda: meeting.exists() and meeting.read_text().strip().endswith("}"))
        words: list[str | Path] = [
            BIN / "dask",
            "worker",
            "--scheduler-file",
            meeting,
            "--nthreads",
            "1",
            "--no-dashboard",
            *more,
        ]
        nannies = [subprocess.Popen(words, **around) for _ in range(workers)]
        address = json.loads(meeting.read_text())["address"]
        asked = f"from distributed import Client; Client('{address}').wait_for_workers({workers}, timeout=60)"
        subprocess.run([sys.executable, "-c", asked], check=True, **around)
        yield address, scheduler, nannies
    finally:
        for process in [*nannies, scheduler]:
            for pid in [*(child.pid for child in rig.offspring(process.pid)), process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def workers_of(pid: int) -> list[psutil.Process]:
    """Dask's worker processes below a nanny or a client."""
    return [one for one in rig.offspring(pid) if _is_worker(one)]


def children_of(pid: int) -> list[psutil.Process]:
    """The supervised children below a process."""
    found = []
    for one in rig.offspring(pid):
        with contextlib.suppress(psutil.Error):
            if "semblance.ingest.run.child_main" in one.cmdline():
                found.append(one)
    return found


def _is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        words = process.cmdline()
        return any("spawn_main" in word for word in words)
    return False


def one(seed: int, victim: Victim, root: Path, undisturbed: Path, folder: Path) -> tuple[str, bool]:
    """Kill at a moment that the seed chooses: how the first run ended, and whether the result is the undisturbed one.

    The loss of a worker, of its child or of its nanny must not need a second run. A build that was quicker than the
    moment is repeated with an earlier one. Raises AssertionError for what must not be.
    """
    out, moment = folder / f"{victim}-{seed}", random.Random(seed)
    how, same = _round(f"seed {seed}", victim, out, moment, _LATEST, root, undisturbed)
    for latest in _EARLIER:
        if how != "missed" or not same:
            break
        shutil.rmtree(out)
        how, same = _round(f"seed {seed}", victim, out, moment, latest, root, undisturbed)
    return how, same


def _round(
    name: str, victim: Victim, out: Path, moment: random.Random, latest: float, root: Path, undisturbed: Path
) -> tuple[str, bool]:
    """One build whose victim is killed at most ``latest`` seconds after the plan is written."""
    folder = out.parent
    with contextlib.ExitStack() as stack:
        more: tuple[str, ...] = ("--workers", "2")
        scheduler: subprocess.Popen[bytes] | None = None
        nannies: list[subprocess.Popen[bytes]] = []
        if victim in ("nanny", "scheduler"):
            address, scheduler, nannies = stack.enter_context(cluster(folder / "cluster"))
            more = ("--scheduler", address)
        process = stack.enter_context(rig.started(rig.command(root, out, *more), ENV))
        rig.wait_until(lambda: (out / "plan.parquet").exists() or process.poll() is not None)
        time.sleep(moment.uniform(0.0, latest))
        hit = _kill(victim, process, scheduler, nannies, moment)
        ended = rig.finish(process)
    assert ended.code is not None, f"{name}: the build is stuck after the loss of its {victim}"
    how = "hit" if hit else "missed"
    if victim in ("worker", "child", "nanny"):
        assert ended.code == 0, f"{name}: the loss of a {victim} needed a second run: {ended.said}"
    elif ended.code not in (0, -signal.SIGKILL):
        assert ended.clear, f"{name}: {ended.said}"
    if ended.code != 0:
        again = rig.build(root, out, "--workers", 2)
        assert again.code == 0, f"{name}: {again.said}"
        how += ", second run"
    return how, rig.same(out, undisturbed)


def _kill(
    victim: Victim,
    client: subprocess.Popen[str],
    scheduler: subprocess.Popen[bytes] | None,
    nannies: list[subprocess.Popen[bytes]],
    moment: random.Random,
) -> bool:
    """Send SIGKILL; whether there was somebody to kill."""
    targets: list[int]
    if victim == "client":
        targets = [client.pid]
    elif victim == "scheduler":
        assert scheduler is not None
        targets = [scheduler.pid]
    elif victim == "nanny":
        targets = [nannies[0].pid]
    else:
        targets = [one.pid for one in (workers_of if victim == "worker" else children_of)(client.pid)]
    if client.poll() is not None or not targets:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(moment.choice(targets), signal.SIGKILL)
    return True


def rounds(victim: Victim, seeds: list[int], root: Path, undisturbed: Path, folder: Path) -> rig.Line:
    """Many rounds as one line of the table; every seed is printed."""
    ways: Counter[str] = Counter()
    wrong = stuck = lost = 0
    for seed in seeds:
        try:
            how, same = one(seed, victim, root, undisturbed, folder)
        except AssertionError as error:
            print(f"seed {seed} {victim}: {error}", flush=True)
            stuck += "stuck" in str(error)
            wrong += "stuck" not in str(error)
            continue
        print(f"seed {seed} {victim}: {how}, {'the same bytes' if same else 'OTHER BYTES'}", flush=True)
        ways[how] += 1
        if not same:
            wrong += 1
            lost += rig.lost_samples(folder / f"{victim}-{seed}", undisturbed)
    said = ", ".join(f"{count} {how}" for how, count in sorted(ways.items()))
    return rig.Line(
        fault=f"SIGKILL of the {victim} at a random moment",
        rounds=len(seeds),
        outcome=f"the same bytes ({said})",
        lost=lost,
        wrong=wrong,
        stuck=stuck,
    )
