"""Masks of crops: the same pixels of the same frames; a bad mask changes nothing else."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance import manifests
from semblance.ingest.detector.door import Detector
from semblance.ingest.process.video import Job, process
from semblance.ingest.recipe import parse
from semblance.ingest.run import tasks
from semblance.ingest.sources import source
from semblance.ingest.steps import crops
from semblance.ingest.steps.crops import CropConfig
from semblance.manifests import storage
from semblance.manifests.records import Face, Frame, Mask, Outcome, Video
from semblance.quality import codec, measures, video
from semblance.quality.template import TEMPLATE, TEMPLATE_SIDE
from semblance.shards import read, tar, verify
from tests.conftest import Run

FRAMES = 36  # of each clip of the demo, 480 x 360
N = 6


def draw_masks(width: int, height: int, frames: int, seed: int) -> list[Mask]:
    """Masks that differ from frame to frame: white blobs on black."""
    noise = np.random.default_rng(seed).normal(0, 1, (frames, height // 4, width // 4))
    blurred = [cv2.GaussianBlur(values, (0, 0), 4) for values in noise]
    return [cv2.resize((values > 0).astype(np.uint8) * 255, (width, height)) for values in blurred]


def write(path: Path, masks: list[Mask]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    video.write_h264(str(path), [np.repeat(mask[:, :, None], 3, 2) for mask in masks], 30, crf=10)


@pytest.fixture(scope="module")
def collection(demo: Path, detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family of the demo with one face: its original and its two fakes, with and without a mask."""
    root = tmp_path_factory.mktemp("masked")
    found = source("dfdc").discover(str(demo), storage.walk(str(demo))).videos
    originals = sorted((planned for planned in found if planned.label == 0), key=lambda planned: planned.video_id)
    plain = {"sampling": {"n": 1}, "masks": False}
    original = next(real for real in originals if len(outcome_of(demo, real, detector, plain).samples) == 1)
    fakes = sorted(fake.path for fake in found if fake.label == 1 and fake.family_id == original.family_id)
    rows = ["real/a.mp4,0,,,", "fake/0.mp4,1,blend,real/a.mp4,masks/0.mp4", "fake/1.mp4,1,blend,real/a.mp4,"]
    for path, target in ((original.path, "real/a.mp4"), (fakes[0], "fake/0.mp4"), (fakes[1], "fake/1.mp4")):
        (root / target).parent.mkdir(exist_ok=True)
        shutil.copy(demo / path, root / target)
    write(root / "masks/0.mp4", draw_masks(480, 360, FRAMES, 0))
    (root / "table.csv").write_text("path,label,method,original,mask\n" + "\n".join(rows) + "\n")
    return root


def discover(root: Path) -> dict[str, Video]:
    config = parse({"source": {"table": "table.csv"}}, "test").source
    videos = source("folder").discover(str(root), storage.walk(str(root)), config).videos
    return {planned.path: planned for planned in videos}


def outcome_of(
    root: Path, planned: Video, detector: Detector, values: dict[str, Any] | None = None, **more: Any
) -> Outcome:
    recipe = parse({"sampling": {"n": N}, "masks": True} | (values or {}), "test")
    return process(Job(root=str(root), video=planned, recipe=recipe, decoder="pyav", **more), detector).outcome


def with_mask(root: Path, name: str, make: Callable[[Path], object]) -> Video:
    """The masked fake with another mask."""
    path = root / "masks" / name
    make(path)
    return replace(discover(root)["fake/0.mp4"], mask=f"masks/{name}")


def truth(path: Path, index: int, width: int = 480, height: int = 360) -> Mask:
    """A frame of a mask video, scaled to the video by plain indexing."""
    (frame,) = video.frames(str(path), [index], decoder="pyav")
    mask = measures.grey(frame.image)
    rows = [middle(place, mask.shape[0], height) for place in range(height)]
    columns = [middle(place, mask.shape[1], width) for place in range(width)]
    return mask[np.ix_(rows, columns)]


def middle(place: int, before: int, after: int) -> int:
    """The pixel of ``before`` that contains the centre of pixel ``place`` of ``after``."""
    return int(Fraction(2 * place + 1, 2) * before / after)


def square_of(mask: Mask, row: Any, size: int) -> Mask:
    """The crop's square of a mask by plain indexing: the nearest pixel for each pixel of the crop."""
    steps = np.array([middle(place, row["crop_side"], size) for place in range(size)])
    rows = np.clip(row["crop_y0"] + steps, 0, mask.shape[0] - 1)
    columns = np.clip(row["crop_x0"] + steps, 0, mask.shape[1] - 1)
    return mask[rows[:, None], columns[None, :]]


@pytest.mark.parametrize("size", [96, 224, 300])
def test_a_mask_has_the_pixels_of_its_crop(collection: Path, detector: Detector, size: int) -> None:
    fake = discover(collection)["fake/0.mp4"]
    outcome = outcome_of(collection, fake, detector, {"crop": {"size": size}})
    assert len(outcome.samples) == N
    for sample in outcome.samples:
        assert sample.row["mask"] is True
        mask = codec.decode_mask(sample.mask or b"")
        expected = square_of(truth(collection / "masks/0.mp4", sample.row["frame_index"]), sample.row, size)
        assert 0.2 < (expected > 127).mean() < 0.8
        assert np.array_equal(mask, expected)
    assert (outcome.video["masks"], outcome.video["mask_note"]) == (N, None)


def test_a_smaller_mask_is_scaled_to_the_video(collection: Path, detector: Detector) -> None:
    half = with_mask(collection, "half.mp4", lambda path: write(path, draw_masks(240, 180, FRAMES, 1)))
    for sample in outcome_of(collection, half, detector).samples:
        frame = truth(collection / "masks/half.mp4", sample.row["frame_index"])
        assert np.array_equal(codec.decode_mask(sample.mask or b""), square_of(frame, sample.row, 224))


@given(
    st.integers(40, 300),
    st.integers(40, 300),
    st.tuples(st.floats(-40, 250), st.floats(-40, 250), st.floats(12, 300)),
    st.floats(-0.6, 0.6),
    st.sampled_from(("box", "aligned")),
    st.sampled_from((48, 224)),
    st.integers(0, 9),
)
@settings(max_examples=60)
def test_mask_and_picture_are_cut_alike(
    width: int, height: int, place: tuple[float, float, float], angle: float, kind: Any, size: int, seed: int
) -> None:
    """Where the crop of a mask, taken as a picture, is clearly black or white, the crop as a mask is the same."""
    x, y, side = place
    template = (TEMPLATE - TEMPLATE_SIDE / 2) / TEMPLATE_SIDE * side
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = template @ turn.T + (x + side / 2, y + side / 2)
    face = Face(box=(x, y, x + side, y + side), landmarks=tuple(points.reshape(-1).tolist()), confidence=1.0)
    mask = draw_masks(width // 4 * 4, height // 4 * 4, 1, seed)[0] // 255 * 255
    config = CropConfig(kind=kind, size=size)
    picture = crops.cut(Frame(index=0, time_s=None, image=np.repeat(mask[:, :, None], 3, 2)), face, config).image
    cropped = crops.cut_mask(mask, face, config)
    assert cropped.shape == (size, size)
    assert set(np.unique(cropped)) <= {0, 255}
    grey = measures.grey(picture).astype(int)
    # A pixel is clear if its neighbours have the same value: cubic interpolation rings near edges.
    kernel = np.ones((3, 3), np.uint8)
    white = cv2.erode((grey > 250).astype(np.uint8), kernel, borderValue=1) > 0
    black = cv2.erode((grey < 5).astype(np.uint8), kernel, borderValue=1) > 0
    assert (cropped[white] == 255).all()
    assert (cropped[black] == 0).all()


def test_a_guided_fake_has_its_mask_at_the_faces_of_its_original(collection: Path, detector: Detector) -> None:
    videos = discover(collection)
    recipe = parse({"sampling": {"n": N}, "masks": True}, "test")
    job = Job(root=str(collection), video=videos["real/a.mp4"], recipe=recipe, decoder="pyav", gives_guide=True)
    original = process(job, detector)
    outcome = outcome_of(collection, videos["fake/0.mp4"], detector, guide=original.guide)
    assert outcome.video["guide"] == "original"
    assert (outcome.video["masks"], original.outcome.video["masks"]) == (N, 0)
    assert original.outcome.video["mask_note"] is None  # a real video needs no mask
    for sample in outcome.samples:
        frame = truth(collection / "masks/0.mp4", sample.row["frame_index"])
        assert np.array_equal(codec.decode_mask(sample.mask or b""), square_of(frame, sample.row, 224))


BAD: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "short.mp4": (
        lambda path: write(path, draw_masks(480, 360, 17, 2)),
        3,
        "no readable frame for 3 of the sampled frames",
    ),
    "junk.mp4": (lambda path: path.write_bytes(b"junk" * 300), 0, "cannot be read"),
    "empty.mp4": (lambda path: path.write_bytes(b""), 0, "cannot be read"),
    "gone.mp4": (lambda path: path.unlink(missing_ok=True), 0, "no longer exists"),
    "wide.mp4": (lambda path: write(path, draw_masks(480, 240, FRAMES, 3)), 0, "480x240, another aspect ratio"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_mask_is_reported_and_changes_nothing_else(collection: Path, detector: Detector, name: str) -> None:
    make, stored, note = BAD[name]
    fake = with_mask(collection, name, make)
    without = outcome_of(collection, fake, detector, {"masks": False})
    outcome = outcome_of(collection, fake, detector)
    assert [sample.picture for sample in outcome.samples] == [sample.picture for sample in without.samples]
    assert [dict(sample.row) | {"mask": False} for sample in outcome.samples] == [s.row for s in without.samples]
    assert [sample.row["mask"] for sample in outcome.samples] == [True] * stored + [False] * (N - stored)
    assert [sample.mask is not None for sample in outcome.samples] == [True] * stored + [False] * (N - stored)
    assert (outcome.video["status"], outcome.video["masks"]) == ("ok", stored)
    assert note in outcome.video["mask_note"]
    assert (without.video["masks"], without.video["mask_note"]) == (None, None)


def kill_reader(pipe: Path, done: threading.Event, kills: list[int]) -> None:
    """Kill the child that has opened ``pipe``, as a hostile mask would crash its decoder."""
    while not done.wait(0.05):
        try:
            end = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody has opened it
            continue
        for process_ in psutil.Process().children():
            if "semblance.ingest.run.child_main" in process_.cmdline():
                process_.kill()
                process_.wait()
                kills.append(process_.pid)
        os.close(end)


def test_a_mask_that_kills_its_decoder_does_not_affect_its_video(
    collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "available", lambda: ("pyav",))  # as on machines without decord: one attempt fewer
    fake = with_mask(collection, "pipe.mp4", os.mkfifo)
    recipe = parse({"sampling": {"n": 1}, "masks": True}, "test")
    done = threading.Event()
    kills: list[int] = []
    killer = threading.Thread(target=kill_reader, args=(collection / "masks/pipe.mp4", done, kills))
    killer.start()
    try:
        job = Job(root=str(collection), video=fake, recipe=recipe, decoder="pyav")
        outcome = tasks.run_video(job, None).outcome
    finally:
        done.set()
        killer.join()
    assert kills
    assert (outcome.video["status"], len(outcome.samples), outcome.video["masks"]) == ("ok", 1, 0)
    assert outcome.video["mask_note"] == "processing stopped (crashed) with the mask video, so masks were not read"


@pytest.fixture(scope="module")
def masked(collection: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A build with masks, and its output."""
    root, out = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("built") / "out"
    for name in ("real/a.mp4", "fake/0.mp4", "fake/1.mp4", "masks/0.mp4", "table.csv"):  # not the bad masks
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(collection / name, root / name)
    more = ["--set", "source.table=table.csv", "--set", "masks=true", "--set", f"sampling.n={N}"]
    done = run("ingest", "build", "--dataset", "folder", "--root", root, "--out", out, "--workers", 1, *more)
    return out, done.stdout


def test_a_build_stores_masks_and_reports_missing_ones(masked: tuple[Path, str]) -> None:
    out, output = masked
    samples = manifests.scan(str(out)).collect()
    counts = {path: samples.filter(pl.col("video_id").str.ends_with(path))["mask"].sum() for path in ("a", "0", "1")}
    assert counts == {"a": 0, "0": N, "1": 0}
    assert f"masks: {N} stored with {2 * N} crops of fakes" in output
    assert "fake/1.mp4: the dataset has no mask video for it" in output
    described = json.loads((out / "dataset.json").read_text())
    assert described["counts"]["masks"] == {"stored": N, "fake_crops": 2 * N, "videos_lacking": 1}
    card = (out / "CARD.md").read_text()
    assert "## Masks" in card
    assert "differs by method" in card
    for (shard,), rows in samples.group_by("shard"):
        found = dict(read.stream(str(out / str(shard))))
        for row in rows.iter_rows(named=True):
            assert set(found[row["sample_id"]]) == {"jpg", "json"} | ({"mask.png"} if row["mask"] else set())
            assert json.loads(found[row["sample_id"]]["json"])["mask"] == row["mask"]
    assert verify.verify(str(out), deep=True).problems == []


GREY, COLOUR = (
    codec.encode_mask(np.zeros((9, 9), np.uint8)),
    codec.encode(np.zeros((9, 9, 3), np.uint8), codec.EncodingConfig(format="png")),
)


@pytest.mark.parametrize(
    ("has_mask", "new", "why"),
    [
        (True, [], "has 0 masks, but its row says 1"),
        (True, [GREY, GREY], "has 2 masks, but its row says 1"),
        (True, [COLOUR], "is not a single-channel PNG"),
        (False, [GREY], "has 1 masks, but its row says 0"),
    ],
)
def test_law_4_for_masks(masked: tuple[Path, str], tmp_path: Path, has_mask: bool, new: list[bytes], why: str) -> None:
    """A mask that disagrees with its row is found by reading the tar."""
    out = tmp_path / "out"
    shutil.copytree(masked[0], out)
    row = manifests.scan(str(out)).filter(pl.col("mask") == has_mask).collect().row(0, named=True)
    name, victim = f"{row['sample_id']}.mask.png", out / row["shard"]
    with victim.open("rb") as file:
        members = [(member.name, member.data) for member in tar.read(file) if member.name != name]
    with victim.open("wb") as file:
        tar.write(file, [*members, *((name, data) for data in new)])
    assert any(why in problem for problem in verify.verify(str(out), deep=True).problems)
