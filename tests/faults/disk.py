"""Faults of a disk: full, read-only, a torn receipt, a flipped bit, a tar cut between two members, two writers."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from semblance.manifests.errors import SemblanceError
from semblance.shards import read, verify
from tests.conftest import HANG
from tests.faults import rig

# In a mount namespace of its own: nothing stays mounted, whatever happens. OUT fills up, then is given room.
_FULL = """
set -u
mount -t tmpfs -o size=$1 tmpfs "$2" || exit 99
shift_out=$2; back=$3; size=$1; shift 3
"$@" > "$back/first.txt" 2>&1; echo $? > "$back/first.code"
find "$shift_out" -name '.*.tmp' > "$back/drafts.txt"
mount -o remount,size=512m "$shift_out" || exit 98
"$@" > "$back/second.txt" 2>&1; echo $? > "$back/second.code"
cp -r "$shift_out/out" "$back/out"
"""
_READ_ONLY = """
set -u
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 99
back=$2; shift 2
"$@" > "$back/first.txt" 2>&1; echo $? > "$back/first.code"
"""


def may_mount() -> bool:
    """Whether this machine lets a test have a mount namespace."""
    tried = subprocess.run(_namespace("mount -t tmpfs -o size=1m tmpfs /mnt"), check=False, **rig.QUIET)
    return tried.returncode == 0


def _namespace(script: str, *words: object) -> list[str]:
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *map(str, words)]


def full(sizes: list[str], root: Path, undisturbed: Path, folder: Path) -> rig.Line:
    """The output's file system fills up during a build, is given room, and the build goes on."""
    outcomes: Counter[str] = Counter()
    wrong = 0
    for size in sizes:
        place, back = folder / f"full-{size}", folder / f"full-{size}-back"
        place.mkdir(parents=True)
        back.mkdir()
        words = rig.command(root, place / "out", "--workers", 2)
        subprocess.run(_namespace(_FULL, size, place, back, *words), check=True, timeout=HANG)
        first, said = _ended(back)
        assert first != 0, f"a disk of {size} was to be full"
        assert rig.Ended(code=first, said=said).clear, said
        assert "cannot be written" in said, said
        assert not (back / "drafts.txt").read_text(), "a half-written file stays behind"
        outcomes["one sentence, then the same bytes"] += 1
        wrong += (back / "second.code").read_text().strip() != "0" or not rig.same(back / "out", undisturbed)
    return rig.Line(fault="disk full while it is written to", rounds=len(sizes), outcome=_said(outcomes), wrong=wrong)


def file_too_large(root: Path, undisturbed: Path, folder: Path) -> rig.Line:
    """The kernel refuses to let a file grow: what a full disk looks like where no file system may be mounted."""
    out = folder / "large"
    limited = [sys.executable, "-c", _LIMITED, "16384", *rig.command(root, out, "--workers", 2)]
    with rig.started(limited) as process:
        ended = rig.finish(process)
    assert ended.code == 1, ended.said
    assert ended.clear, ended.said
    again = rig.build(root, out, "--workers", 1)
    same = again.code == 0 and rig.same(out, undisturbed)
    return rig.Line(
        fault="a file that may not grow (RLIMIT_FSIZE)",
        rounds=1,
        outcome="one sentence, then the same bytes",
        wrong=int(not same),
    )


_LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
os.execv(sys.argv[2], sys.argv[2:])
"""


def read_only(root: Path, folder: Path) -> rig.Line:
    """An output that cannot be written is told before anything is done."""
    place, back = folder / "read-only", folder / "read-only-back"
    place.mkdir()
    back.mkdir()
    words = rig.command(root, place / "out", "--workers", 1)
    subprocess.run(_namespace(_READ_ONLY, place, back, *words), check=True, timeout=HANG)
    code, said = _ended(back)
    assert code == 1, said
    assert rig.Ended(code=code, said=said).clear, said
    assert not list(place.iterdir())
    return rig.Line(fault="read-only output", rounds=1, outcome="one sentence")


def _ended(back: Path) -> tuple[int, str]:
    return int((back / "first.code").read_text()), (back / "first.txt").read_text()


def altered(
    name: str, alter: Callable[[random.Random, Path], None], seeds: list[int], undisturbed: Path, folder: Path
) -> list[Path]:
    """Copies of a build, each altered once; every one must be found by ``shards verify --deep``. Gives those copies."""
    copies = []
    for seed in seeds:
        copy = folder / f"{name}-{seed}"
        shutil.copytree(undisturbed, copy)
        alter(random.Random(seed), copy)
        assert verify.verify(str(copy), deep=True).problems, f"{name}, seed {seed}: not found"
        copies.append(copy)
    return copies


def mended(
    fault: str,
    alter: Callable[[random.Random, Path], None],
    seeds: list[int],
    root: Path,
    undisturbed: Path,
    folder: Path,
    *,
    builds: int,
    more: tuple[str, ...] = (),
) -> rig.Line:
    """Damage that is found every time, and mended by the same command in the first ``builds`` of the rounds."""
    copies = altered(fault.replace(" ", "-"), alter, seeds, undisturbed, folder)
    wrong = lost = 0
    for copy in copies[:builds]:
        ended = rig.build(root, copy, "--workers", 1, *more)
        if ended.code != 0 or not rig.same(copy, undisturbed):
            wrong, lost = wrong + 1, lost + rig.lost_samples(copy, undisturbed)
    how = f" with {' '.join(more)}" if more else ""
    return rig.Line(
        fault=fault,
        rounds=len(seeds),
        outcome=f"found by verify each time; {min(builds, len(seeds))} built again{how}: the same bytes",
        lost=lost,
        wrong=wrong,
    )


def tear_receipt(moment: random.Random, out: Path) -> None:
    receipt = moment.choice(sorted(out.glob("receipts/*.json")))
    data = receipt.read_bytes()
    receipt.write_bytes(data[: moment.randrange(len(data) - 1)])


def flip_bit(moment: random.Random, out: Path) -> None:
    file = moment.choice(sorted([*out.glob("shards/*/*.tar"), *out.glob("manifests/samples/*.parquet")]))
    data = bytearray(file.read_bytes())
    data[moment.randrange(len(data))] ^= 1 << moment.randrange(8)
    file.write_bytes(data)


def cut_between_members(moment: random.Random, out: Path) -> None:
    """Most readers take such a tar for whole."""
    file = moment.choice(sorted(out.glob("shards/*/*.tar")))
    with tarfile.open(file) as tar:
        places = [member.offset for member in tar]
    with file.open("r+b") as open_file:
        open_file.truncate(moment.choice(places[1:]))
    with contextlib.suppress(SemblanceError):
        list(read.stream(str(file)))
        raise AssertionError("our own reader took it for whole")


def watched(root: Path, undisturbed: Path, folder: Path) -> rig.Line:
    """Somebody reads every tar that shows while it is built: none may be half-written."""
    out = folder / "watched"
    torn: list[str] = []
    reads = 0
    ended = threading.Event()

    def look() -> None:
        nonlocal reads
        while not ended.is_set():
            for tar in out.glob("shards/*/*.tar"):
                reads += 1
                try:
                    list(read.stream(str(tar)))
                except (SemblanceError, OSError) as error:
                    torn.append(str(error))

    reader = threading.Thread(target=look)
    reader.start()
    result = rig.build(root, out, "--workers", 2)
    ended.set()
    reader.join()
    assert result.code == 0, result.said
    return rig.Line(
        fault="a reader beside the writer",
        rounds=1,
        outcome=f"{reads} reads, {len(torn)} half-written tars seen",
        wrong=len(torn) + (not rig.same(out, undisturbed)),
    )


def two_at_once(rounds: int, root: Path, undisturbed: Path, folder: Path) -> rig.Line:
    """Two builds into one folder: one of them refuses in a sentence, or comes to a finished one."""
    outcomes: Counter[str] = Counter()
    wrong = stuck = 0
    for number in range(rounds):
        out = folder / f"two-{number}"
        with (
            rig.started(rig.command(root, out, "--workers", 1)) as first,
            rig.started(rig.command(root, out, "--workers", 1)) as second,
        ):
            ended = [rig.finish(first), rig.finish(second)]
        stuck += sum(one.code is None for one in ended)
        refused = [one for one in ended if one.code == 1]
        assert len(refused) < 2, [one.said for one in ended]
        assert all("is being written by process" in one.said and one.clear for one in refused), refused
        outcomes["one refused" if refused else "both done"] += 1
        wrong += not rig.same(out, undisturbed)
    return rig.Line(
        fault="two builds at once in one folder",
        rounds=rounds,
        outcome=f"the same bytes ({_said(outcomes)})",
        wrong=wrong,
        stuck=stuck,
    )


def _said(outcomes: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items()))
