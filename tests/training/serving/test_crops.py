"""Scores of crops: the run's own, the same in any batch, from any thread, by torch and by OpenVINO."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.quality import codec
from semblance.quality.resize import to_square
from semblance.training.inference import crops as inference
from semblance.training.inference import mc_dropout, predictor
from semblance.training.inference.predictor import Predictor
from semblance.training.inference.video import Scored
from semblance.training.serving import network
from semblance.training.serving.config import CropsConfig
from semblance.training.serving.crops import Crop, Scorer
from semblance.training.serving.models import Loaded
from semblance.training.serving.problems import ProblemError
from tests.training import untrained
from tests.training.serving import services


@pytest.fixture(scope="module")
def plain(trained: Path) -> Predictor:
    return predictor.load(trained)


@pytest.fixture(scope="module")
def loaded(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return services.make(tmp_path_factory.mktemp("service"), trained).models.lineup.champion


def test_a_crop_has_the_score_that_its_run_gives_it(plain: Predictor, loaded: Loaded, crops: list[bytes]) -> None:
    images = [codec.decode(one) for one in crops]
    found = Scorer(CropsConfig(), 30)([Crop(content=one, model=loaded) for one in crops])
    logits = np.array([one.logit for one in found if isinstance(one, Scored)])
    assert logits == pytest.approx(plain.logits(images), abs=1e-4)
    assert loaded.device == network.OPENVINO
    in_torch = inference.score(plain, images, 30)
    for one, wanted in zip(found, in_torch, strict=True):
        assert isinstance(one, Scored)
        assert one.uncertainty is not None
        assert one.uncertainty == pytest.approx(wanted.uncertainty, abs=1e-4)
        assert one.probability == pytest.approx(float(plain.probability(one.logit, "frame")))


@settings(max_examples=20)
@given(st.lists(st.integers(0, 23), min_size=1, max_size=16))
def test_a_score_depends_on_the_crop_alone(loaded: Loaded, crops: list[bytes], places: list[int]) -> None:
    scorer = Scorer(CropsConfig(), 10)
    together = scorer([Crop(content=crops[place], model=loaded) for place in places])
    for place, found in zip(places, together, strict=True):
        (alone,) = scorer([Crop(content=crops[place], model=loaded)])
        assert isinstance(alone, Scored)
        assert isinstance(found, Scored)
        assert found.logit == pytest.approx(alone.logit, abs=1e-5)
        assert found.uncertainty == pytest.approx(alone.uncertainty, abs=1e-5)


def test_the_passes_of_each_crop_are_draws_of_the_same_dropout(plain: Predictor, crops: list[bytes]) -> None:
    """Against the passes of a batch that evaluation draws: other masks, the same distribution."""
    images = [codec.decode(one) for one in crops[:4]]
    found = inference.score(plain, images, 2000)
    (columns,) = plain.member_outputs(images, mc_dropout.forward(2000))
    spread = mc_dropout.of_pictures(plain, [np.stack(list(columns.values()), 1)])
    assert [one.uncertainty for one in found] == pytest.approx(spread, rel=0.1)


def test_threads_do_not_disturb_each_other(plain: Predictor, crops: list[bytes]) -> None:
    """While one thread draws dropout, another's scores stay those without it, and both repeat exactly."""
    images = [codec.decode(one) for one in crops[:8]]
    wanted, passes = plain.logits(images), inference.score(plain, images, 50)
    stop = threading.Event()

    def draw() -> list[list[Scored]]:
        found = []
        while not stop.is_set():
            found.append(inference.score(plain, images, 50))
        return found

    with ThreadPoolExecutor(2) as threads:
        drawing = [threads.submit(draw) for _ in range(2)]
        for _ in range(30):
            assert np.array_equal(plain.logits(images), wanted)
        stop.set()
        for one in drawing:
            for found in one.result():
                assert found == passes


def test_a_bad_crop_costs_only_its_own_score(loaded: Loaded, crops: list[bytes]) -> None:
    wide = codec.encode(np.zeros((20, 40, 3), np.uint8), codec.EncodingConfig(format="png"))
    bomb = bytearray(codec.encode(np.zeros((8, 8, 3), np.uint8), codec.EncodingConfig(format="png")))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    bad = {
        b"no picture": 415,
        crops[0][: len(crops[0]) // 3]: None,  # a JPEG that is cut short may still be shown in part
        wide: 422,
        bytes(bomb): 413,
        b"": 415,
    }
    items = [*bad, crops[5]]
    found = Scorer(CropsConfig(), 0)([Crop(content=one, model=loaded) for one in items])
    for (_, status), result in zip(bad.items(), found, strict=False):
        if status is not None:
            assert isinstance(result, ProblemError)
            assert result.status == status
    assert isinstance(found[-1], Scored)
    assert found[-1].uncertainty is None
    (alone,) = Scorer(CropsConfig(), 0)([Crop(content=b"no picture", model=loaded)])
    assert isinstance(alone, ProblemError)


def test_mirrors_and_ensembles_are_compiled_too(ffpp: Path, tmp_path: Path, crops: list[bytes]) -> None:
    mirrored = predictor.load(untrained.make(tmp_path / "mirrored", [ffpp], "tta=mirror", gain=9))
    compiled, device = network.prepared(mirrored, tmp_path)
    images = [to_square(codec.decode(one), 32) for one in crops[:5]]
    assert device == network.OPENVINO
    assert compiled.logits(images) == pytest.approx(mirrored.logits(images), abs=1e-4)
    assert isinstance(compiled.members[0].trained.model, network.Compiled)
    same, device = network.prepared(mirrored, tmp_path, files=(None,))  # a package without graphs
    assert device == network.TORCH
    assert same.logits(images) == pytest.approx(mirrored.logits(images))
