"""Single videos and pictures under a clip model: each face has the mean logit of its clips."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
import torch

from semblance.ingest import recipe as recipes
from semblance.ingest.detector.door import Detector
from semblance.quality import video
from semblance.training.inference import many, mc_dropout, predictor, scores_table
from semblance.training.inference import video as inference
from semblance.training.inference.inputs import Input
from semblance.training.inference.member import batches
from semblance.training.inference.video import Prediction
from tests.training import clip_runs, untrained

LENGTH = 5


@pytest.fixture(scope="module")
def run(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    frame = untrained.make(folder / "frame", [ffpp], gain=9)
    return clip_runs.make(folder / "clip", frame, "model.pooling=transformer", length=LENGTH)


@pytest.fixture(scope="module")
def predicted(demo: Path, run: Path) -> Prediction:
    """The largest video of the demo, at seven times."""
    file = max(demo.rglob("*.mp4"), key=lambda one: one.stat().st_size)
    recipe = recipes.load("plan", ["sampling.n=7"])
    return inference.predict(str(file), predictor.load(run), recipe, passes=6, detector=lambda: Detector(recipe.detect))


def test_faces_of_a_person_are_scored_in_time_order(run: Path, predicted: Prediction) -> None:
    model, rows = untrained.model(run), predicted.pictures.with_row_index("place")
    assert rows.height > LENGTH
    for (_,), own in rows.sort("frame_index").group_by("person"):
        images = [predicted.images[place] for place in own["place"]]
        starts = [*range(0, len(images) - LENGTH + 1, LENGTH), max(len(images) - LENGTH, 0)]
        held: list[list[float]] = [[] for _ in images]
        for start in dict.fromkeys(starts):
            clip = range(start, start + LENGTH)
            places = [*clip] if len(images) >= LENGTH else [i * len(images) // LENGTH for i in range(LENGTH)]
            (image_BCHW,) = batches([images[place] for place in places], 32)
            with torch.inference_mode():
                logit = float(model(image_BCHW).logit_B)
            for place in set(places):
                held[place].append(logit)
        expected = [float(np.mean(found)) for found in held]
        assert own["logit"].to_list() == pytest.approx(expected, abs=1e-4)
        assert own["uncertainty"].is_not_null().all()


def test_a_person_has_the_mean_of_their_pictures(predicted: Prediction) -> None:
    for person in predicted.persons:
        own = predicted.pictures.filter(person=person.person)
        assert person.score.logit == pytest.approx(own["logit"].mean())
        assert person.score.uncertainty is not None
    assert predicted.video.logit == max(person.score.logit for person in predicted.persons)


def test_a_picture_is_a_clip_of_itself(run: Path, predicted: Prediction, tmp_path: Path) -> None:
    """One face, repeated; the row of the table has its score."""
    first = next(iter(video.frames(predicted.path, [0], decoder="pyav"))).image
    cv2.imwrite(str(tmp_path / "still.png"), first[..., ::-1])
    (still,) = many.predict(
        [Input(path=str(tmp_path / "still.png"), kind="picture")],
        predictor.load(run),
        recipes.load("plan"),
        passes=0,
        supervised=False,
    )
    assert isinstance(still, Prediction)
    model = untrained.model(run)
    for place, row in enumerate(still.pictures.iter_rows(named=True)):
        (image_BCHW,) = batches([still.images[place]] * LENGTH, 32)
        with torch.inference_mode():
            assert row["logit"] == pytest.approx(float(model(image_BCHW).logit_B), abs=1e-4)
    table = pl.DataFrame(scores_table.rows(still, "clip", False), infer_schema_length=None)
    assert table["logit"].is_not_null().all()


def test_passes_are_repeatable(run: Path, predicted: Prediction) -> None:
    one, rows = predictor.load(run), predicted.pictures
    first, second = (
        one.member_outputs(predicted.images, mc_dropout.forward(3), faces=rows)[0]["pass_001"] for _ in range(2)
    )
    assert np.array_equal(first, second)
    assert len(first) == rows.height
