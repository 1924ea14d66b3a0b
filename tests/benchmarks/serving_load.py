"""How the service's load is made and measured: hey for crops, locust for a mixture, threads for videos."""

from __future__ import annotations

import csv
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import psutil

from semblance.quality import video
from semblance.training.inference import predictor
from semblance.training.serving import crops, source
from semblance.training.serving.config import load
from tests.faults import videos
from tests.training.serving.harness import Server

BATCH: Final = 16
_FACE: Final = (930, 350, 160)  # of sofa.mp4's frame 63, px: centre and half a side
TRAFFIC: Final = Path(__file__).with_name("serving_traffic.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests of one run. Seconds; ``cpu_ms``: of the service's own process, for each answer with a score."""

    codes: Counter[int]
    errors: int
    p50: float
    p99: float
    per_second: float
    cpu_ms: float

    @property
    def answers(self) -> str:
        said = ", ".join(f"{count} x {code}" for code, count in sorted(self.codes.items()))
        return said + (f", {self.errors} without an answer" if self.errors else "")


def crop_of(clip: Path, to: Path) -> Path:
    """A face of a clip as a JPEG of 256 px, quality 95."""
    x, y, half = _FACE
    frame = next(iter(video.frames(str(clip), [63], decoder="pyav"))).image
    face = cv2.resize(frame[y - half : y + half, x - half : x + half], (256, 256), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(to), face[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    return to


def ten_seconds(clip: Path, to: Path) -> Path:
    """10 s of a clip, twice over if it is shorter, at 1280x720; H.264, CRF 23."""
    how = ("-t", 10, "-vf", "scale=1280:720", "-c:v", "libx264", "-preset", "medium", "-crf", 23, "-g", 250, "-an")
    videos.ffmpeg("-stream_loop", 1, "-i", clip, *how, to)
    return to


def hey(server: Server, crop: Path, requests: int, clients: int) -> Load:
    """``requests`` crops from ``clients`` at once, by hey."""
    words = ["hey", "-n", requests, "-c", clients, "-t", 0, "-m", "POST", "-T", "image/jpeg", "-D", crop]
    before = server.cpu_seconds
    done = subprocess.run(
        [*map(str, words), f"{server.url}/v1/crops"],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    spent = server.cpu_seconds - before
    codes = Counter(
        {int(code): int(count) for code, count in re.findall(r"\[(\d{3})\]\s+(\d+) responses", done.stdout)}
    )
    errors = sum(int(count) for count in re.findall(r"^\s+\[(\d+)\]\t(?!\d+ responses)", done.stdout, re.M))
    return Load(
        codes=codes,
        errors=errors,
        p50=_figure(r"50%+ in ([\d.]+) secs", done.stdout),
        p99=_figure(r"99%+ in ([\d.]+) secs", done.stdout),
        per_second=_figure(r"Requests/sec:\s+([\d.]+)", done.stdout),
        cpu_ms=spent * 1e3 / max(codes[200], 1),
    )


def _figure(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    return float(found[1]) if found else float("nan")


class Bare:
    """The same decoding, resizing, features, head and passes without a service: batches of 16, one thread."""

    def __init__(self, run: Path, crop: Path, folder: Path) -> None:
        config = load(None, ("videos.workers=1",))
        model = source.loaded(predictor.load(str(run)), config, folder)
        self._items = [crops.Crop(content=crop.read_bytes(), model=model)] * BATCH
        self._score = crops.Scorer(config.crops, config.passes)
        self._score(self._items)

    def cpu_ms(self, batches: int) -> float:
        """Milliseconds of processor time for each crop."""
        before = time.process_time()
        for _ in range(batches):
            assert not [one for one in self._score(self._items) if isinstance(one, Exception)]
        return (time.process_time() - before) * 1e3 / batches / BATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class Videos:
    """Videos of one run. Seconds; ``cpu``: of the process with its children; ``parts``: means of the answers' own."""

    codes: Counter[int]
    p50: float
    p99: float
    wall: float
    cpu: float
    parts: dict[str, float]
    retry: bool  # whether each 503 says when to come again


def send_videos(server: Server, clip: bytes, count: int, clients: int) -> Videos:
    """``count`` videos from ``clients`` threads of this process, each on a connection of its own."""

    def one(_: int) -> tuple[float, Any]:
        start = time.perf_counter()
        reply = server.send("/v1/videos", clip, "video/mp4")
        return time.perf_counter() - start, reply

    before, start = _all_cpu(server), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        done = list(pool.map(one, range(count)))
    wall, cpu = time.perf_counter() - start, _all_cpu(server) - before
    good = [(seconds, reply.json["seconds"]) for seconds, reply in done if reply.status == 200]
    seconds = sorted(one for one, _ in good)
    return Videos(
        codes=Counter(reply.status for _, reply in done),
        p50=statistics.median(seconds),
        p99=seconds[max(round(0.99 * len(seconds)) - 1, 0)],
        wall=wall,
        cpu=cpu / len(good),
        parts={name: statistics.fmean(parts[name] for _, parts in good) for name in good[0][1]},
        retry=all("retry-after" in reply.headers for _, reply in done if reply.status == 503),
    )


def _all_cpu(server: Server) -> float:
    total = 0.0
    for one in server.processes:
        times = one.cpu_times()
        total += times.user + times.system
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of request in mixed traffic; seconds."""

    name: str
    requests: int
    failures: int
    p50: float
    p99: float
    per_second: float


def locust(server: Server, crop: Path, clip: Path, users: int, seconds: int) -> list[Kind]:
    """Mixed traffic by locust, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "locust", "-f", TRAFFIC, "--headless", "--only-summary", "--host", server.url]
        words += ["-u", users, "-r", users, "-t", f"{seconds}s", "--stop-timeout", 60, "--csv", f"{folder}/l"]
        env = os.environ | {"SEMBLANCE_CROP": str(crop), "SEMBLANCE_CLIP": str(clip)}
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=env, check=False)
        with open(f"{folder}/l_stats.csv", newline="") as file:
            rows = list(csv.DictReader(file))
    assert rows, done.stderr
    return [
        Kind(
            name=row["Name"],
            requests=int(row["Request Count"]),
            failures=int(row["Failure Count"]),
            p50=float(row["50%"]) / 1e3,
            p99=float(row["99%"]) / 1e3,
            per_second=float(row["Requests/s"]),
        )
        for row in rows
        if row["Name"] != "Aggregated"
    ]


def hardware() -> str:
    """Processor, cores that this process may use, and what it has of AVX-512 and AMX; memory."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown processor")
    flags = next((set(line.split(":")[1].split()) for line in lines if line.startswith("flags")), set())
    wide = sorted(
        one for one in flags if one in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    )
    memory = psutil.virtual_memory().total / 2**30
    return f"{len(os.sched_getaffinity(0))} cores of {model} ({', '.join(wide) or 'no AVX2'}), {memory:.0f} GiB"
