"""One video judged: the crops are those of a build, the scores those of the model, faults one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from ingest import recipes
from ingest.faces import Detector
from manifests.records import SemblanceError
from quality import codec
from tests.training import judges
from training import judge, predict


@pytest.fixture(scope="module")
def one(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> judge.Judge:
    return judge.load(judges.make(tmp_path_factory.mktemp("runs") / "alone", [ffpp], gain=9))


def videos(demo: Path) -> dict[str, Path]:
    """By size: the demo's largest original shows faces; the empty room is its smallest."""
    files = sorted(demo.rglob("*.mp4"), key=lambda file: file.stat().st_size)
    return {"empty": files[0], "faces": files[-1]}


def test_a_video_is_judged_as_its_crops_are(one: judge.Judge, demo: Path, detector: Detector) -> None:
    recipe = recipes.load("plan", ("sampling.n=4",))
    found = predict.predict(str(videos(demo)["faces"]), one, recipe, passes=12, detector=lambda: detector)
    assert found.pictures.height == len(found.images)
    model = one.members[0].trained.model
    with torch.inference_mode():
        for image, logit in zip(found.images, found.pictures["logit"], strict=True):
            picture = torch.from_numpy(judge.resize(image, 32).transpose(2, 0, 1).copy())[None].float() / 255
            assert logit == pytest.approx(float(model(picture).logit_B), abs=1e-4)
    by_track = found.pictures.group_by("track").agg(pl.col("logit").mean()).sort("track")["logit"].to_list()
    assert [track.score.logit for track in found.tracks] == pytest.approx(by_track)
    assert found.video.logit == pytest.approx(max(by_track))
    assert found.video.probability == pytest.approx(1 / (1 + np.exp(-max(by_track))))
    assert found.video.uncertainty is not None
    assert found.video.uncertainty > 0
    picture = predict.sheet(found)
    assert picture.shape[1] == 8 * predict.CELL
    assert codec.decode(codec.encode(picture, codec.EncodingConfig(format="png"))).shape == picture.shape


def test_uncertain_is_no_verdict() -> None:
    assert predict.Scored(logit=3, probability=0.95, uncertainty=0.31).verdict == "uncertain"
    assert predict.Scored(logit=3, probability=0.95, uncertainty=0.3).verdict == "fake"
    assert predict.Scored(logit=-3, probability=0.05, uncertainty=None).verdict == "real"


def test_bad_files_are_one_sentence(one: judge.Judge, demo: Path, detector: Detector, tmp_path: Path) -> None:
    recipe = recipes.load("plan", ("sampling.n=2",))
    empty, text = tmp_path / "empty.mp4", tmp_path / "text.mp4"
    empty.write_bytes(b"")
    text.write_text("no video")
    for file, match in (
        (tmp_path / "absent.mp4", "There is no file"),
        (empty, "cannot be judged: the file has zero bytes"),
        (text, "cannot be judged"),
        (videos(demo)["empty"], "shows no face in 2 frames"),
    ):
        with pytest.raises(SemblanceError, match=match):
            predict.predict(str(file), one, recipe, detector=lambda: detector)
    strict = recipes.load("plan", ("sampling.n=2", "gates.blur=1e9"))
    with pytest.raises(SemblanceError, match=r"none is good enough to be judged \(blur\)"):
        predict.predict(str(videos(demo)["faces"]), one, strict, detector=lambda: detector)


def test_the_recipe_is_the_training_builds_or_the_plans(one: judge.Judge, tmp_path: Path, ffpp: Path) -> None:
    assert predict.recipe_of(one)[1] == "plan"  # the fixture's build names no recipe
    gone = judge.load(judges.make(tmp_path / "gone", [ffpp]))
    for record in gone.datasets:
        record["out"] = str(tmp_path / "nowhere")
    assert predict.recipe_of(gone) == (recipes.load("plan"), "plan")
