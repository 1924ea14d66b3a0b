"""Limits of a video: the law by which they grow, and the way out of them in the same folder."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from semblance.ingest import plan as planning
from semblance.ingest.limits import BASE, MOST, LimitsConfig, Work
from semblance.ingest.process.video import Job
from semblance.ingest.process.work import video_work
from semblance.ingest.recipe import Recipe, parse
from semblance.ingest.run.child_process import Child, Fault
from semblance.manifests import scan
from semblance.manifests.records import Properties
from semblance.quality.video import probe
from semblance.shards import verify
from tests.conftest import Run
from tests.ingest.run.test_build import build, content

HD = Properties(width=1920, height=1080, fps=30.0, frames_total=2 * 3600 * 30, bytes=9_000_000_000)
# Seconds of a core for a frame of 1080p, measured with noise at 48 Mbit/s; a machine three times slower must do.
DEAREST_FRAME, DEAREST_SEARCH, SLOWER = 0.025, 0.012, 3.0


def seconds_of(properties: Properties, recipe: Recipe, limits: LimitsConfig) -> tuple[float, float]:
    allowed = limits.allowed(video_work(properties, recipe))
    return allowed.cpu_seconds, allowed.wall_seconds


@pytest.mark.parametrize("settings", [{}, {"masks": True}, {"sampling": {"mode": "every", "k": 10}}])
def test_two_hours_of_1080p_fit_the_default_limits(settings: dict[str, Any]) -> None:
    recipe = parse(settings, "test")
    frames = HD.frames_total or 0
    searched = frames / 10 if "sampling" in settings else 32
    need = SLOWER * (frames * DEAREST_FRAME * (2 if recipe.masks else 1) + searched * DEAREST_SEARCH)
    cpu, wall = seconds_of(HD, recipe, recipe.limits)
    assert cpu > need
    assert wall > cpu
    bounds = recipe.limits.bounds
    assert frames < bounds.frames
    assert bounds.seconds > 2 * 3600
    assert bounds.pixels > 1920 * 1080


def test_a_hang_in_a_clip_ends_soon() -> None:
    """A clip of ten seconds of 1080p has what the recipe says, with twenty faces a frame too."""
    clip = Properties(width=1920, height=1080, fps=30.0, frames_total=300, bytes=5_000_000)
    limits = LimitsConfig()
    assert seconds_of(clip, Recipe(), limits) == (limits.cpu_seconds, limits.wall_seconds) == (300, 1800)


SIZES = st.builds(
    Properties,
    width=st.integers(16, 8192),
    height=st.integers(16, 8192),
    fps=st.floats(1, 120),
    frames_total=st.integers(0, 5_000_000),
    bytes=st.integers(0, 10**12),
)
CONFIGS = st.builds(LimitsConfig, cpu_seconds=st.floats(0.1, 1e5), wall_seconds=st.floats(0.1, 1e5))


@given(size=SIZES, limits=CONFIGS, times=st.integers(1, 9))
@example(size=HD, limits=LimitsConfig(), times=2)
def test_limits_grow_with_frames_and_pixels_within_bounds(size: Properties, limits: LimitsConfig, times: int) -> None:
    recipe = Recipe()
    cpu, wall = seconds_of(size, recipe, limits)
    for seconds, base in ((cpu, limits.cpu_seconds), (wall, limits.wall_seconds)):
        assert base <= seconds <= base * MOST
    for field in ("frames_total", "width", "height", "bytes"):
        value = getattr(size, field) or 0
        larger = Properties(**{name: getattr(size, name) for name in SIZE_FIELDS} | {field: value * times})
        assert all(
            after >= before for after, before in zip(seconds_of(larger, recipe, limits), (cpu, wall), strict=True)
        )


SIZE_FIELDS = ("width", "height", "fps", "frames_total", "bytes")


@given(limits=CONFIGS, seconds=st.floats(0, 1e7), key=st.sampled_from(["cpu_seconds", "wall_seconds", "memory_mib"]))
def test_the_command_that_is_named_raises_the_limit(limits: LimitsConfig, seconds: float, key: str) -> None:
    option, setting, *retry = limits.remedy(key).split()
    name, value = setting.removeprefix("limits.").split("=")
    assert (option, name, retry) == ("--set", key, ["--retry", "failed"])
    raised = LimitsConfig.model_validate(limits.model_dump() | {name: json.loads(value)})
    work = Work(seconds=seconds)
    assert getattr(raised.allowed(work), key) > getattr(limits.allowed(work), key)


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({"masks": True}, 2.0),
        ({"recompress": {"crf": 23}}, 5.0),
        ({"sampling": {"mode": "every", "k": 1}}, 5.0),
        ({"sampling": {"mode": "every", "k": 1}, "detect": {"min_face": 20}}, 20.0),
    ],
)
def test_a_recipe_that_asks_for_more_work_has_more_time(settings: dict[str, Any], more: float) -> None:
    plain, worse = (video_work(HD, parse(values, "test")) for values in ({}, settings))
    assert worse.seconds > more * 0.99 * plain.seconds


def test_a_long_video_has_the_time_that_its_length_needs(tmp_path: Path) -> None:
    """By a real child, which says how long the video is: it uses several times the seconds of a short clip."""
    file = tmp_path / "real" / "long.mp4"
    file.parent.mkdir()
    pattern = "testsrc2=size=96x96:rate=30"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", pattern, "-frames:v", "1500", file], check=True)
    plan = planning.make("folder", str(tmp_path), parse({"sampling": {"mode": "every", "k": 1}}, "test"))
    job = Job(root=plan.root, video=plan.videos[0], recipe=plan.recipe, decoder="pyav")
    times = video_work(probe(str(file)), plan.recipe).seconds / BASE
    assert times > 4
    child = Child()
    with contextlib.closing(child):
        child.run(job, LimitsConfig())  # the detector is loaded
        assert child._process is not None
        process = psutil.Process(child._process.pid)
        before = process.cpu_times()
        child.run(job, LimitsConfig())
        after = process.cpu_times()
        spent = after.user + after.system - before.user - before.system
        short = LimitsConfig(cpu_seconds=spent / 2)
        assert not isinstance(child.run(job, short), Fault)
        fault = child.run(job, LimitsConfig(cpu_seconds=spent / times / 4))
        assert isinstance(fault, Fault)
        assert fault.status == "timeout"
        assert "for a video of its size" in fault.sentence


TRAP = ("--set", "limits.cpu_seconds=0.001")


def test_raised_limits_retry_what_failed_in_the_same_folder(
    built: Path, demo: Path, recipe: tuple[str, ...], run: Run, tmp_path: Path
) -> None:
    """The way out that the error names gives the build that had these limits from the start, but for the record."""
    out, log = tmp_path / "out", tmp_path / "log.jsonl"
    first = build(run, demo, out, "--workers", 2, "--max-failures-in-a-row", 0, *recipe, *TRAP, expect=3)
    assert "limits.cpu_seconds=0.001" in first.stdout
    assert first.stdout.count("--set limits.cpu_seconds=300 --retry failed") == 1  # for all videos
    videos = scan(str(out), "videos").collect()
    assert set(videos["status"]) == {"timeout"}

    # without --retry nothing changes, and that is said
    before = content(out)
    again = build(run, demo, out, *recipe, "--set", "limits.cpu_seconds=300", expect=3)
    assert "limits.cpu_seconds: 0.001 -> 300.0" in again.stdout
    assert "failed videos stay failed; --retry failed tries them again" in again.stdout
    assert content(out) == before

    way_out = ("--set", "limits.cpu_seconds=300", "--retry", "failed", "--log", log)
    assert "failed videos are processed again" in build(run, demo, out, *recipe, *way_out).stdout
    assert not verify.verify(str(out), deep=True).problems
    after, straight = content(out), content(built)
    record = {"build.json", "dataset.json", "CARD.md"}
    assert {name: part for name, part in after.items() if name not in record} == {
        name: part for name, part in straight.items() if name not in record
    }
    assert "Limits changed during the build: cpu_seconds: 0.001 -> 300.0" in after["CARD.md"].decode()
    described = json.loads(after["dataset.json"])
    assert [limits["cpu_seconds"] for limits in described["limits"]] == [0.001, 300.0]
    assert described["recipe"]["limits"]["cpu_seconds"] == 300.0
    assert described["fingerprint"] == json.loads(straight["dataset.json"])["fingerprint"]
    events = {event["event"]: event for event in map(json.loads, log.read_text().splitlines())}
    assert events["limits changed"]["changes"] == ["limits.cpu_seconds: 0.001 -> 300.0"]
    assert events["build"]["limits"]["cpu_seconds"] == 300.0

    assert "nothing to do" in build(run, demo, out, *recipe).stdout  # the limits' default: no flag is needed any more
    less = build(run, demo, out, *recipe, "--set", "limits.cpu_seconds=200").stdout
    assert "limits.cpu_seconds: 300.0 -> 200.0): no video has failed" in less
    assert "--retry failed" not in less
    run("quality", "audit", out)
    assert content(out) == after
