"""Re-encoding as H.264: the same samples, with pictures of the re-encoded videos."""

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
from semblance.manifests.records import ALIGNED_HASHES, FAILURES, Video
from semblance.quality import codec, video
from semblance.training.cli import app as training
from semblance.training.evaluation import evaluate, robustness
from semblance.training.metrics import aggregate
from tests.conftest import Run
from tests.ingest.archives import archive, face, png, write_tree
from tests.ingest.run.test_build import build, content
from tests.quality.video.test_video import ffmpeg, reference
from tests.training import untrained

PIXELS = ["blur", "blur_face", "brightness", "contrast", "ita", "phash", "frame_phash"]
PIXELS += ["blur_outside", "brightness_outside", "contrast_outside", "residual_outside", "residual_kurtosis_outside"]
BYTES = ["tar_offset", "tar_bytes", "encoded_bytes", "sha256"]
OTHER = [*BYTES, *ALIGNED_HASHES]


@pytest.fixture(scope="module")
def recompressed(demo: Path, recipe: tuple[str, ...], run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of the small demo at crf 40."""
    out = tmp_path_factory.mktemp("crf40") / "out"
    build(run, demo, out, "--workers", 2, *recipe, "--set", "recompress.crf=40")
    return out


def test_the_same_samples_with_other_pictures(built: Path, recompressed: Path) -> None:
    """Plan, frames, boxes, verdicts and labels equal those of a build without re-encoding."""
    assert manifests.scan(str(recompressed), "plan").collect().equals(manifests.scan(str(built), "plan").collect())
    for table in ("samples", "rejects", "videos"):
        before, after = (manifests.scan(str(out), table).collect() for out in (built, recompressed))
        differing = [*PIXELS, *OTHER] if table != "videos" else [n for n in before.columns if n.startswith("seconds_")]
        equal = [name for name in before.columns if name not in differing]
        assert after.select(equal).equals(before.select(equal)), table
    before, after = (manifests.scan(str(out)).collect() for out in (built, recompressed))
    assert before.height > 20
    assert before["change"].drop_nulls().len() > 10
    for name in ("blur", "contrast", "sha256"):
        assert (before[name] != after[name]).all()
    assert (after["blur"] < before["blur"]).mean() > 0.9
    assert (after["encoded_bytes"] < before["encoded_bytes"]).all()
    assert after["encoded_bytes"].sum() < 0.9 * before["encoded_bytes"].sum()
    assert "re-encoded as H.264 at crf 40" in (recompressed / "CARD.md").read_text()
    assert "H.264" not in (built / "CARD.md").read_text()


def test_one_worker_gives_the_same_bytes(
    recompressed: Path, demo: Path, recipe: tuple[str, ...], run: Run, tmp_path: Path
) -> None:
    build(run, demo, tmp_path / "out", "--workers", 1, *recipe, "--set", "recompress.crf=40")
    assert content(tmp_path / "out") == content(recompressed)
    run("shards", "verify", recompressed, "--deep")


def test_detectors_are_compared_under_the_condition(built: Path, recompressed: Path, tmp_path: Path) -> None:
    """`training evaluate --condition` reports the same for the other build as an evaluation of that build."""
    run, page = untrained.make(tmp_path / "run", [built], gain=9), tmp_path / "page"
    words = ["--data", built, "--run", run, "--to", page, "--condition", f"crf40={recompressed}", "--draws", 20]
    done = CliRunner().invoke(training, ["evaluate", *map(str, words)])
    assert done.exit_code == 0, done.output
    count = len(pl.read_parquet(page / "predictions.parquet"))
    assert f"crf40: {count} of {count} pictures are in both" in done.output
    told = (page / "evaluation.md").read_text()
    assert "crf40" in told
    assert "recompress.crf 40" in told.replace("\\", "")  # how its crops differ
    options, quiet = evaluate.Options(draws=0, allow_other_crops=True), (lambda _: None)
    clean, other = (evaluate.evaluate([str(out)], [str(run)], options, say=quiet) for out in (built, recompressed))
    (change,) = robustness.builds(clean, [f"crf40={recompressed}"], say=quiet)
    before, after = clean.predictions["run"]["logit"], other.predictions["run"]["logit"]
    assert (before != after).all()
    for result, found in ((clean, change.before), (other, change.after)):
        logits = aggregate.videos(result.predictions["run"]).join(result.videos, on="video_id")
        assert found.value == pytest.approx(roc_auc_score(logits["label"], logits["logit"]))


@pytest.fixture(scope="module")
def family(demo: Path, detector: Detector) -> tuple[Video, list[Video]]:
    """An original of the demo that shows a face, and its fakes."""
    found = source("dfdc").discover(str(demo), storage.walk(str(demo))).videos
    for real in sorted((planned for planned in found if planned.label == 0), key=lambda real: real.video_id):
        if run_job(demo, real, detector, n=1).outcome.samples:
            return real, [fake for fake in found if fake.label == 1 and fake.family_id == real.family_id]
    raise AssertionError


def run_job(demo: Path, planned: Video, detector: Detector, n: int = 4, crf: int | None = None, **more: Any) -> Result:
    values = {"sampling": {"n": n}, "recompress": {"crf": crf}, "encoding": {"format": "png"}}
    recipe = parse(values, "test")
    return process(Job(root=str(demo), video=planned, recipe=recipe, decoder="pyav", **more), detector)


def crops_of(result: Result) -> list[np.ndarray]:
    return [codec.decode(sample.picture) for sample in result.outcome.samples]


def test_pictures_differ_more_at_a_higher_crf_and_not_at_crf_0(
    demo: Path, detector: Detector, family: tuple[Video, list[Video]]
) -> None:
    clean = crops_of(run_job(demo, family[0], detector))
    distances = []
    for crf in (0, 20, 30, 40, 51):
        worse = crops_of(run_job(demo, family[0], detector, crf=crf))
        assert len(worse) == len(clean)
        distances.append(float(np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(clean, worse, strict=True)])))
    assert distances[0] == 0  # x264 at crf 0 is lossless, and the colours were not touched
    assert distances == sorted(distances)
    assert 1 < distances[3] < distances[4]


def test_the_guide_has_crops_without_re_encoding(
    demo: Path, detector: Detector, family: tuple[Video, list[Video]]
) -> None:
    """So the fakes are guided and judged as they would be without re-encoding."""
    original, fakes = family
    clean = run_job(demo, original, detector, gives_guide=True)
    worse = run_job(demo, original, detector, crf=40, gives_guide=True)
    assert clean.guide is not None
    assert worse.guide is not None
    assert worse.guide.faces == clean.guide.faces
    assert np.array_equal(worse.guide.crops, clean.guide.crops)
    for fake in fakes:
        a = run_job(demo, fake, detector, guide=clean.guide).outcome
        b = run_job(demo, fake, detector, crf=40, guide=worse.guide).outcome
        for name in ("sample_id", "guide", "change", "change_peak", "face_label", "verdict", "confidence"):
            assert [sample.row[name] for sample in a.samples] == [sample.row[name] for sample in b.samples]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_crops_equal_those_of_ffmpegs_encoding(
    demo: Path, detector: Detector, family: tuple[Video, list[Video]], tmp_path: Path
) -> None:
    """The square of one face, cut independently from a video that ffmpeg encoded with the same settings."""
    path, target = demo / family[0].path, tmp_path / "again.mp4"
    settings = "-c:v libx264 -crf 40 -preset medium -threads 1 -x264-params mbtree=0 -an -fps_mode passthrough"
    ffmpeg("-i", path, *settings.split(), target)
    properties = video.probe(str(path))
    frames = reference(target, properties.width or 0, properties.height or 0)
    for sample in run_job(demo, family[0], detector, crf=40).outcome.samples:
        row = sample.row
        x, y, side = row["crop_x0"], row["crop_y0"], row["crop_side"]
        square = frames[row["frame_index"]][y : y + side, x : x + side]
        kind = cv2.INTER_AREA if side > 224 else cv2.INTER_CUBIC
        expected = cv2.resize(square, (224, 224), interpolation=kind).astype(int)
        # another version of x264 may differ slightly
        assert np.abs(codec.decode(sample.picture) - expected).mean() < 1.5


def test_frames_lost_in_re_encoding_are_a_status(
    demo: Path, detector: Detector, family: tuple[Video, list[Video]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "recompressed", lambda *_, **__: iter(()))
    row = run_job(demo, family[0], detector, crf=40).outcome.video
    assert row["status"] == "decode_error"
    assert row["status"] in FAILURES
    assert "is missing after re-encoding the video" in row["error"]


def test_no_temporary_video_remains_after_its_child_is_killed(
    demo: Path, family: tuple[Video, list[Video]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline kills the child while it encodes or decodes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    recipe = parse({"recompress": {"crf": 0}, "sampling": {"n": 1}}, "test")
    job = Job(root=str(demo), video=family[0], recipe=recipe, decoder="pyav")
    child = Child()
    try:
        assert not isinstance(child.run(job, recipe.limits), Fault)  # its detector is loaded
        for seconds in (0.1, 0.2, 0.3):
            fault = child.run(job, recipe.limits.model_copy(update={"cpu_seconds": seconds}))
            assert isinstance(fault, Fault)
            assert list(tmp_path.rglob("*.mp4")) + list(tmp_path.glob("semblance*")) == []
    finally:
        child.stop()


def test_packed_pictures_cannot_be_re_encoded(tmp_path: Path) -> None:
    packed = archive({f"1/real/0/{i}.png": png(face(i, 96)) for i in range(3)})
    write_tree(tmp_path, {"real_train/1.tar": packed, "real_test/1.tar": packed})
    with pytest.raises(UsageError, match=r"encodes videos, but real_test/1.tar at .* contains pictures"):
        plan.make("wilddeepfake", str(tmp_path), recipes.load("plan", ("recompress.crf=40",)))


@pytest.mark.parametrize("crf", ["-1", "52", "soft"])
def test_invalid_rates_are_refused(crf: str) -> None:
    with pytest.raises(UsageError, match=r"wrong value for 'recompress.crf'"):
        recipes.load("plan", (f"recompress.crf={crf}",))


def test_resuming_at_another_rate_is_refused(recompressed: Path, demo: Path, recipe: tuple[str, ...], run: Run) -> None:
    error = build(run, demo, recompressed, *recipe, "--set", "recompress.crf=30", expect=1).stderr
    assert "recipe.recompress.crf: 40 -> 30" in error
    assert pl.read_parquet(recompressed / "plan.parquet").height
