"""Faults inside a video: a decoder that fails, malformed files of every kind, and mutated ones by the thousand."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import polars as pl

from semblance.manifests import scan
from semblance.manifests.records import FAILURES
from semblance.shards import verify
from tests.conftest import REPOSITORY
from tests.faults import rig
from tests.ingest.run.test_build import content

DECODER: Final = Path(__file__).parent / "decoder"
FORGIVING: Final = ("--max-failures", 1, "--max-failures-in-a-row", 0)
BOTH: Final = ("pyav", "decord")


def orders(**by_name: tuple[str, tuple[str, ...]]) -> dict[str, str]:
    """The environment in which the test-only decoder fails so, by file name without suffix; "any" is every file."""
    known = {"*" if name == "any" else f"{name}.mp4": order for name, order in by_name.items()}
    path = os.pathsep.join([str(DECODER), str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return {"SEMBLANCE_TEST_DECODER": json.dumps(known), "PYTHONPATH": path}


def decoders(root: Path, good: Path, folder: Path) -> list[rig.Line]:
    """A decoder that hangs, dies and eats memory, with one of the two decoders and with both; then another chance.

    Everything else must be what an undisturbed build has, and after ``--retry failed`` all of it.
    """
    out = folder / "decoders"
    plan = scan(str(good), "plan").collect()
    hurt = _choose(plan)
    injected = {
        hurt["spin"]: ("spin", BOTH),
        hurt["segv"]: ("segv", BOTH),
        hurt["eat"]: ("eat", BOTH),
        hurt["once"]: ("segv", ("pyav",)),
    }
    short = ("--set", f"limits.cpu_seconds={rig.patience(root):.1f}")
    ended = rig.build(root, out, "--workers", 2, *FORGIVING, *short, env=orders(**injected))
    assert ended.code == 0, ended.said
    rows = {Path(row["path"]).stem: row for row in scan(str(out), "videos").collect().iter_rows(named=True)}
    assert len(rows) == plan.height
    said = {what: rows[name]["status"] for what, name in hurt.items()}
    assert said == {"spin": "timeout", "segv": "crashed", "eat": "oom", "once": "ok"}, said
    assert rows[hurt["once"]]["decoder"] == "decord"
    # what the original of a hurt family failed to guide is "no_original" now; all other families are untouched
    families = set(plan.filter(pl.col("path").str.contains_any(list(hurt.values())))["family_id"])
    whole = {row["shard"] for row in plan.iter_rows(named=True) if row["family_id"] not in families}
    before = content(out)
    assert whole
    assert all(before[shard] == content(good)[shard] for shard in whole if (good / shard).exists())
    times = {file: file.stat().st_mtime_ns for file in out.rglob("*.tar")}
    # the one that fell to the other decoder is no failure: the file is read by it alone, and its pixels may differ
    again = rig.build(root, out, "--workers", 1, "--retry", "failed")
    assert again.code == 0, again.said
    assert not verify.verify(str(out), deep=True).problems
    after, straight = content(out), content(good)
    failed = [hurt[what] for what in ("spin", "segv", "eat")]
    mended = _shards(plan, failed)
    wrong = sum(after.get(shard) != straight.get(shard) for shard in mended - _shards(plan, [hurt["once"]]))
    kept = {file for file in times if file.relative_to(out).as_posix() not in mended}
    assert all(file.stat().st_mtime_ns == times[file] for file in kept), "another shard was touched"
    outcomes = {
        "spin": "a decoder that hangs",
        "segv": "a decoder that dies by SIGSEGV",
        "eat": "a decoder that eats memory",
    }
    lines = [
        rig.Line(fault=what, rounds=2, outcome=f"`{said[name]}` after both decoders, `ok` after --retry failed")
        for name, what in outcomes.items()
    ]
    lines.append(rig.Line(fault="SIGSEGV in one decoder", rounds=1, outcome="`ok` by the other one", wrong=wrong))
    return lines


def _choose(plan: pl.DataFrame) -> dict[str, str]:
    """Which videos are hurt: a whole family's original, and fakes of others; the last family stays whole."""
    counted = plan.group_by("family_id").len().filter(pl.col("len") > 2).sort("family_id")["family_id"].to_list()
    stems = {
        family: [
            Path(path).stem
            for path in plan.filter(pl.col("family_id") == family).sort("label", "video_id")["path"].to_list()
        ]
        for family in counted
    }
    first, second = counted[0], counted[1]
    return {"segv": stems[first][0], "eat": stems[first][1], "spin": stems[second][1], "once": stems[second][2]}


def _shards(plan: pl.DataFrame, stems: list[str]) -> set[str]:
    return set(plan.filter(pl.col("path").str.contains_any(stems))["shard"])


def ffmpeg(*words: object) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, words)], check=True, stdin=subprocess.DEVNULL)


_X264: Final = ("-c:v", "libx264", "-preset", "ultrafast", "-threads", "1")


def _with(*options: str, suffix: str = ".mp4") -> Callable[[Path, Path], Path]:
    def make(plain: Path, folder: Path) -> Path:
        path = folder.with_suffix(suffix)
        ffmpeg("-i", plain, *options, path)
        return path

    return make


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path, Path], Path]:
    def make(plain: Path, folder: Path) -> Path:
        path = folder.with_suffix(".mp4")
        path.write_bytes(change(plain.read_bytes()))
        return path

    return make


def _flipped(data: bytes) -> bytes:
    """200 bits at random places."""
    chance, changed = random.Random(200), bytearray(data)
    for _ in range(200):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _turned(plain: Path, folder: Path) -> Path:
    path = folder.with_suffix(".mp4")
    ffmpeg("-i", plain, "-c", "copy", "-metadata:s:v:0", "rotate=90", path)
    return path


def _still(plain: Path, folder: Path) -> Path:
    """Two hours of one picture, a frame each ten seconds."""
    path = folder.with_suffix(".mp4")
    picture = folder.with_suffix(".png")
    ffmpeg("-i", plain, "-frames:v", "1", picture)
    ffmpeg("-loop", "1", "-framerate", "1/10", "-i", picture, "-t", "7200", *_X264, path)
    picture.unlink()
    return path


def _hidden(plain: Path, folder: Path) -> Path:
    """An edit list hides the frames before the start."""
    path = folder.with_suffix(".mp4")
    short = folder.with_suffix(".mkv")
    ffmpeg("-i", plain, *_X264, "-g", "10", short)
    ffmpeg("-ss", "0.5", "-i", short, "-c", "copy", path)
    short.unlink()
    return path


GOOD: Final = frozenset({"ok", "no_face"})
ANY: Final = FAILURES | GOOD
# name -> (how it is made of a sound clip, which statuses are right)
MALFORMED: Final[dict[str, tuple[Callable[[Path, Path], Path], frozenset[str]]]] = {
    "truncated": (_bytes(lambda data: data[: len(data) * 6 // 10]), frozenset({"partial", "decode_error"})),
    "index_lost": (_bytes(lambda data: data[len(data) // 2 :]), frozenset({"decode_error", "empty"})),
    "bits_flipped": (_bytes(_flipped), ANY),
    "zero_length": (_bytes(lambda _: b""), frozenset({"empty"})),
    "text": (_bytes(lambda _: b"no video at all\n" * 99), frozenset({"decode_error"})),
    "zip": (_bytes(lambda data: b"PK\x03\x04" + data[4:300]), frozenset({"decode_error", "empty"})),
    "matroska_as_mp4": (_with("-c", "copy", "-f", "matroska"), frozenset({"ok"})),
    "unknown_codec": (_bytes(lambda data: data.replace(b"avc1", b"zzzz")), frozenset({"decode_error"})),
    "sound_only": (
        _with("-f", "lavfi", "-i", "sine=duration=1", "-map", "1:a", "-c:a", "aac"),
        frozenset({"empty"}),
    ),
    "one_frame": (_with("-frames:v", "1", *_X264), frozenset({"ok"})),
    "tiny_16x16": (_with("-vf", "scale=16:16", *_X264), frozenset({"no_face"})),
    "huge_8k": (_with("-frames:v", "1", "-vf", "scale=7680:4320", *_X264), GOOD),
    "yuv444": (_with(*_X264, "-pix_fmt", "yuv444p"), frozenset({"ok"})),
    "ten_bits": (_with(*_X264, "-pix_fmt", "yuv420p10le"), frozenset({"ok"})),
    "variable_rate": (
        _with("-vf", "select='not(between(mod(n,7),2,4))'", "-fps_mode", "vfr", *_X264),
        frozenset({"ok"}),
    ),
    "turned": (_turned, GOOD),
    "negative_times": (
        _with("-c", "copy", "-output_ts_offset", "-0.5", "-avoid_negative_ts", "disabled", suffix=".mkv"),
        frozenset({"ok"}),
    ),
    "edit_list": (_hidden, frozenset({"ok"})),
    "still_of_two_hours": (_still, frozenset({"ok"})),
}


def malformed(plain: Path, folder: Path) -> rig.Line:
    """A build of real malformed files: a row each, the right status, no crash, no hang."""
    root = folder / "malformed" / "real"
    root.mkdir(parents=True)
    for name, (make, _) in MALFORMED.items():
        make(plain, root / name)
    shutil.copy(plain, root / "sound.mp4")
    rows = _built(root.parent, folder / "malformed-out")
    odd = {name: rows[name] for name, (_, right) in MALFORMED.items() if rows[name][0] not in right}
    assert not odd, odd
    assert rows["sound"][0] == "ok"
    assert len(rows) == len(MALFORMED) + 1
    counted = Counter(status for status, _ in rows.values())
    return rig.Line(
        fault="malformed files: " + ", ".join(name.replace("_", " ") for name in MALFORMED),
        rounds=len(MALFORMED),
        outcome="a row each: " + _said(counted),
    )


def beyond(plain: Path, folder: Path) -> rig.Line:
    """What a recipe's limits refuse: pixels, frames, hours; told in the row, with the limit."""
    root = folder / "beyond" / "real"
    root.mkdir(parents=True)
    _with("-frames:v", "2", "-vf", "scale=3840:2160", *_X264)(plain, root / "wide")
    _with("-c", "copy", "-bsf:v", "setts=ts=TS*900")(plain, root / "long")
    shutil.copy(plain, root / "many.mp4")
    limits = ("--set", "limits.megapixels=4", "--set", "limits.hours=0.1", "--set", "limits.frames=30")
    rows = _built(root.parent, folder / "beyond-out", *limits)
    for name, limit in (("wide", "limits.megapixels"), ("long", "limits.hours"), ("many", "limits.frames")):
        assert rows[name][0] == "decode_error", rows
        assert limit in (rows[name][1] or ""), rows
    return rig.Line(fault="absurd dimensions, duration, number of frames", rounds=3, outcome="refused by the recipe")


def fuzz(count: int, seed: int, plain: Path, folder: Path) -> rig.Line:
    """Mutated containers: no hang, no crash of a worker, no file without a row."""
    print(f"fuzz: {count} files, seed {seed}", flush=True)
    root = folder / "fuzz" / "real"
    root.mkdir(parents=True)
    small = folder / "fuzz-small"
    seeds = []
    for suffix in (".mp4", ".mkv", ".avi", ".mov", ".mpg"):
        codec = _X264 if suffix in (".mp4", ".mkv", ".mov") else ("-c:v", "mpeg4" if suffix == ".avi" else "mpeg2video")
        seeds.append(_with("-frames:v", "8", "-vf", "scale=160:120", "-r", "25", *codec, suffix=suffix)(plain, small))
    chance = random.Random(seed)
    for number in range(count):
        file = seeds[number % len(seeds)]
        (root / f"{number:05d}{file.suffix}").write_bytes(mutated(file.read_bytes(), chance))
    rows = _built(root.parent, folder / "fuzz-out")
    counted = Counter(status for status, _ in rows.values())
    return rig.Line(
        fault="mutated containers (mp4, mkv, avi, mov, mpg)",
        rounds=count,
        outcome="a row each: " + _said(counted),
        lost=count - len(rows),
    )


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One to four changes of the kinds that hurt parsers: bits, sizes, cuts, repeats, moved pieces."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        if len(changed) < 64:
            break
        at = chance.choice([chance.randrange(len(changed)), chance.randrange(min(len(changed), 2048))])
        length = chance.randint(1, 64)
        match chance.randrange(6):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at : at + 4] = chance.choice(
                    [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1"]
                )
            case 2:
                del changed[max(at, 32) :]
            case 3:
                changed[at:at] = changed[at : at + length] * chance.randint(1, 50)
            case 4:
                del changed[at : at + length]
            case _:
                changed[at : at + length] = chance.randbytes(length)
    return bytes(changed)


def _built(root: Path, out: Path, *more: str) -> dict[str, tuple[str, str | None]]:
    """Build a user's own folder; file name without suffix -> status and error. Every planned video has its row."""
    words = rig.command(root, out, "--workers", 2, *FORGIVING)
    words[words.index("dfdc")] = "folder"
    with rig.started([*words, *more]) as process:
        ended = rig.finish(process)
    assert ended.code == 0, ended.said
    assert "Traceback" not in ended.said
    plan, videos = scan(str(out), "plan").collect(), scan(str(out), "videos").collect()
    assert sorted(plan["video_id"]) == sorted(videos["video_id"])
    assert not verify.verify(str(out), deep=True).problems
    return {Path(path).stem: (status, error) for path, status, error in videos.select("path", "status", "error").rows()}


def _said(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(counted.items()))
