"""H.264 conditions: the same samples with the pictures that their videos have after one more encoding."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from semblance import manifests
from semblance.ingest import plan
from semblance.ingest import recipe as recipes
from semblance.ingest.detector.door import Detector
from semblance.ingest.process.video import Job, Result, process
from semblance.ingest.recipe import parse
from semblance.ingest.run.child_process import Child, Fault
from semblance.ingest.sources import source
from semblance.manifests import storage
from semblance.manifests.errors import UsageError
from semblance.manifests.records import FAILURES, Video
from semblance.quality import codec, video
from semblance.training.cli import app as training
from semblance.training.evaluation import evaluate, robustness
from semblance.training.metrics import aggregate
from tests.conftest import Run
from tests.ingest.archives import archive, face, lay, png
from tests.ingest.run.test_build import build, content
from tests.quality.video.test_video import ffmpeg, reference
from tests.training import judges

PIXELS = ["blur", "blur_face", "brightness", "contrast", "ita", "phash", "frame_phash"]
PIXELS += ["blur_outside", "brightness_outside", "contrast_outside"]
BYTES = ["tar_offset", "tar_bytes", "encoded_bytes", "sha256"]


@pytest.fixture(scope="module")
def worse(demo: Path, recipe: tuple[str, ...], run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small demo at crf 40."""
    out = tmp_path_factory.mktemp("crf40") / "out"
    build(run, demo, out, "--workers", 2, *recipe, "--set", "recompress.crf=40")
    return out


def test_the_same_samples_with_other_pictures(built: Path, worse: Path) -> None:
    """The clean build's plan, frames, boxes, verdicts and labels, without the clean build at hand."""
    assert manifests.scan(str(worse), "plan").collect().equals(manifests.scan(str(built), "plan").collect())
    for table in ("samples", "rejects", "videos"):
        before, after = (manifests.scan(str(out), table).collect() for out in (built, worse))
        own = [*PIXELS, *BYTES] if table != "videos" else [n for n in before.columns if n.startswith("seconds_")]
        kept = [name for name in before.columns if name not in own]
        assert after.select(kept).equals(before.select(kept)), table
    before, after = (manifests.scan(str(out)).collect() for out in (built, worse))
    assert before.height > 20
    assert before["change"].drop_nulls().len() > 10
    for name in ("blur", "contrast", "sha256"):
        assert (before[name] != after[name]).all()
    assert (after["blur"] < before["blur"]).mean() > 0.9
    assert (after["encoded_bytes"] < before["encoded_bytes"]).all()
    assert after["encoded_bytes"].sum() < 0.9 * before["encoded_bytes"].sum()
    assert "encoded once more as H.264 at crf 40" in (worse / "CARD.md").read_text()
    assert "H.264" not in (built / "CARD.md").read_text()


def test_one_worker_gives_the_same_bytes(
    worse: Path, demo: Path, recipe: tuple[str, ...], run: Run, tmp_path: Path
) -> None:
    build(run, demo, tmp_path / "out", "--workers", 1, *recipe, "--set", "recompress.crf=40")
    assert content(tmp_path / "out") == content(worse)
    run("shards", "verify", worse, "--deep")


def test_detectors_are_compared_under_the_condition(built: Path, worse: Path, tmp_path: Path) -> None:
    """`training evaluate --condition`: what it says of the other build is what an evaluation of that build says."""
    run, page = judges.make(tmp_path / "run", [built], gain=9), tmp_path / "page"
    words = ["--data", built, "--run", run, "--to", page, "--condition", f"crf40={worse}", "--draws", 20]
    done = CliRunner().invoke(training, ["evaluate", *map(str, words)])
    assert done.exit_code == 0, done.output
    count = len(pl.read_parquet(page / "predictions.parquet"))
    assert f"crf40: {count} of {count} pictures are in both" in done.output
    assert "crf40" in (page / "evaluation.md").read_text()
    options, quiet = evaluate.Options(draws=0), (lambda _: None)
    clean, other = (evaluate.evaluate([str(out)], [str(run)], options, say=quiet) for out in (built, worse))
    (change,) = robustness.builds(clean, [f"crf40={worse}"], say=quiet)
    before, after = clean.predictions["run"]["logit"], other.predictions["run"]["logit"]
    assert (before != after).all()
    for result, found in ((clean, change.before), (other, change.after)):
        logits = aggregate.videos(result.predictions["run"]).join(result.videos, on="video_id")
        assert found.value == pytest.approx(roc_auc_score(logits["label"], logits["logit"]))


@pytest.fixture(scope="module")
def family(demo: Path, detector: Detector) -> tuple[Video, list[Video]]:
    """An original of the demo that shows a face, and its fakes."""
    found = source("dfdc").discover(str(demo), storage.walk(str(demo))).videos
    for one in sorted(found, key=lambda video: video.video_id):
        if one.label == 0 and done(demo, one, detector, n=1).outcome.samples:
            return one, [fake for fake in found if fake.label == 1 and fake.family_id == one.family_id]
    raise AssertionError


def done(demo: Path, one: Video, detector: Detector, n: int = 4, crf: int | None = None, **more: Any) -> Result:
    values = {"sampling": {"n": n}, "recompress": {"crf": crf}, "encoding": {"format": "png"}}
    made = parse(values, "test")
    return process(Job(root=str(demo), video=one, recipe=made, decoder="pyav", **more), detector)


def crops_of(result: Result) -> list[np.ndarray]:
    return [codec.decode(sample.picture) for sample in result.outcome.samples]


def test_the_farther_the_lower_the_rate_and_at_crf_0_not_at_all(
    demo: Path, detector: Detector, family: tuple[Video, list[Video]]
) -> None:
    clean = crops_of(done(demo, family[0], detector))
    distances = []
    for crf in (0, 20, 30, 40, 51):
        worse = crops_of(done(demo, family[0], detector, crf=crf))
        assert len(worse) == len(clean)
        distances.append(float(np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(clean, worse, strict=True)])))
    assert distances[0] == 0  # x264 at crf 0 is lossless, and the colours were not touched
    assert distances == sorted(distances)
    assert 1 < distances[3] < distances[4]


def test_the_guide_that_travels_holds_clean_crops(
    demo: Path, detector: Detector, family: tuple[Video, list[Video]]
) -> None:
    """So that the fakes are guided and judged as they are without re-encoding."""
    original, fakes = family
    clean = done(demo, original, detector, gives_guide=True)
    worse = done(demo, original, detector, crf=40, gives_guide=True)
    assert clean.guide is not None
    assert worse.guide is not None
    assert worse.guide.faces == clean.guide.faces
    assert np.array_equal(worse.guide.crops, clean.guide.crops)
    for fake in fakes:
        a = done(demo, fake, detector, guide=clean.guide).outcome
        b = done(demo, fake, detector, crf=40, guide=worse.guide).outcome
        for name in ("sample_id", "guide", "change", "change_peak", "face_label", "verdict", "confidence"):
            assert [sample.row[name] for sample in a.samples] == [sample.row[name] for sample in b.samples]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_crops_are_those_of_ffmpegs_encoding(
    demo: Path, detector: Detector, family: tuple[Video, list[Video]], tmp_path: Path
) -> None:
    """The plain square of one face, cut by hand from what PyAV's referee encodes with the same settings."""
    path, target = demo / family[0].path, tmp_path / "again.mp4"
    settings = "-c:v libx264 -crf 40 -preset medium -threads 1 -x264-params mbtree=0 -an -fps_mode passthrough"
    ffmpeg("-i", path, *settings.split(), target)
    known = video.probe(str(path))
    frames = reference(target, known.width or 0, known.height or 0)
    for sample in done(demo, family[0], detector, crf=40).outcome.samples:
        row = sample.row
        x, y, side = row["crop_x0"], row["crop_y0"], row["crop_side"]
        square = frames[row["frame_index"]][y : y + side, x : x + side]
        kind = cv2.INTER_AREA if side > 224 else cv2.INTER_CUBIC
        expected = cv2.resize(square, (224, 224), interpolation=kind).astype(int)
        # another version of x264 may decide a little otherwise
        assert np.abs(codec.decode(sample.picture) - expected).mean() < 1.5


def test_frames_that_are_lost_when_encoded_are_a_status(
    demo: Path, detector: Detector, family: tuple[Video, list[Video]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "recompressed", lambda *_, **__: iter(()))
    row = done(demo, family[0], detector, crf=40).outcome.video
    assert row["status"] == "decode_error"
    assert row["status"] in FAILURES
    assert "is lost when the video is encoded once more" in row["error"]


def test_nothing_is_left_of_the_new_video_after_its_child_is_killed(
    demo: Path, family: tuple[Video, list[Video]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended by its deadline with SIGKILL while it encodes or decodes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = parse({"recompress": {"crf": 0}, "sampling": {"n": 1}}, "test")
    job = Job(root=str(demo), video=family[0], recipe=made, decoder="pyav")
    child = Child()
    try:
        assert not isinstance(child.run(job, made.deadline), Fault)  # its detector is loaded
        for seconds in (0.1, 0.2, 0.3):
            fault = child.run(job, made.limits.model_copy(update={"cpu_seconds": seconds}))
            assert isinstance(fault, Fault)
            assert list(tmp_path.rglob("*.mp4")) + list(tmp_path.glob("semblance*")) == []
    finally:
        child.stop()


def test_encoding_is_given_its_time() -> None:
    plain = parse({"limits": {"cpu_seconds": 10, "wall_seconds": 20}}, "test")
    worse = parse({"limits": {"cpu_seconds": 10, "wall_seconds": 20}, "recompress": {"crf": 40}}, "test")
    assert plain.deadline == plain.limits
    assert (worse.deadline.cpu_seconds, worse.deadline.wall_seconds) == (20, 40)
    assert worse.deadline.memory_mib == worse.limits.memory_mib


def test_packed_pictures_are_no_video(tmp_path: Path) -> None:
    packed = archive({f"1/real/0/{i}.png": png(face(i, 96)) for i in range(3)})
    lay(tmp_path, {"real_train/1.tar": packed, "real_test/1.tar": packed})
    with pytest.raises(
        UsageError, match=r"encodes whole videos, and real_test/1.tar at .* holds pictures that are none"
    ):
        plan.make("wilddeepfake", str(tmp_path), recipes.load("plan", ("recompress.crf=40",)))


@pytest.mark.parametrize("crf", ["-1", "52", "soft"])
def test_other_rates_are_refused(crf: str) -> None:
    with pytest.raises(UsageError, match=r"wrong value for 'recompress.crf'"):
        recipes.load("plan", (f"recompress.crf={crf}",))


def test_resuming_at_another_rate_is_refused(worse: Path, demo: Path, recipe: tuple[str, ...], run: Run) -> None:
    said = build(run, demo, worse, *recipe, "--set", "recompress.crf=30", expect=1).stderr
    assert "recipe.recompress.crf: 40 -> 30" in said
    assert pl.read_parquet(worse / "plan.parquet").height
