"""Twenty people in every frame of 1080p: each is found, cut and counted, within the default limits."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from semblance.ingest import plan as planning
from semblance.ingest.demo.people import background, make_person, render
from semblance.ingest.process.video import Job
from semblance.ingest.recipe import Recipe
from semblance.ingest.run import tasks
from semblance.ingest.run.child_process import Child, Fault
from semblance.manifests import scan
from semblance.manifests.records import Image
from semblance.quality.video import write_h264
from semblance.shards import verify
from tests.ingest import in_process

COLUMNS, ROWS, FRAMES = 5, 4, 32
TILE = (384, 270)  # px: twenty of them are 1920x1080


def crowd() -> list[Image]:
    """Frames of twenty people, each before a background of their own."""
    rng = np.random.default_rng(20)
    people = [(make_person(seed), background(rng)) for seed in range(COLUMNS * ROWS)]

    def frame(time: float) -> Image:
        tiles = [
            render([(person, (TILE[0] / 2, TILE[1] / 2), 0.85)], behind, time, number / 20, TILE)
            for number, (person, behind) in enumerate(people)
        ]
        return np.vstack([np.hstack(tiles[row * COLUMNS : (row + 1) * COLUMNS]) for row in range(ROWS)])

    return [frame(number / FRAMES) for number in range(FRAMES)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crowd")
    (folder / "real").mkdir()
    write_h264(str(folder / "real" / "crowd.mp4"), crowd(), 25)
    return folder


def test_every_face_of_a_crowd_is_a_row(root: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    in_process.build(planning.make("folder", str(root)), out)
    assert not verify.verify(out, deep=True).problems
    (video,) = scan(out, "videos").collect().iter_rows(named=True)
    assert (video["status"], video["width"], video["height"]) == ("ok", 1920, 1080)
    assert video["frames_sampled"] == FRAMES
    assert video["faces_seen"] >= 0.95 * COLUMNS * ROWS * FRAMES
    assert video["faces_seen"] == video["crops_kept"] + video["crops_rejected"]
    tracks = scan(out).collect().group_by("track").len()
    assert tracks.height >= 0.8 * COLUMNS * ROWS


def test_a_crowd_stays_far_below_the_limits(root: Path) -> None:
    """A quarter of the memory is enough, on any machine; its seconds are within the limits too."""
    plan = planning.make("folder", str(root))
    (video,) = plan.videos
    recipe: Recipe = plan.recipe
    child = Child()
    with contextlib.closing(child):
        result = child.run(Job(root=plan.root, video=video, recipe=recipe, decoder="pyav"), recipe.limits)
        assert not isinstance(result, Fault)
        assert tasks.tally(result.outcome).faces >= 0.95 * COLUMNS * ROWS * FRAMES
        assert child._process is not None
        status = Path(f"/proc/{child._process.pid}/status").read_text()
        peak = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
        assert peak < recipe.limits.memory_mib / 4
