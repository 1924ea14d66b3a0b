"""OpenVINO's graph of a model's features: torch's own head says of them what the model says of the pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from semblance.manifests.errors import SemblanceError
from semblance.training import models
from semblance.training.export import features
from semblance.training.inference import member, predictor
from semblance.training.records import Output
from tests.training.registry import kinds

SINGLE = tuple(kind for kind in kinds.KINDS if kind != "ensemble")
pytestmark = [
    # lightning 2.6 and torch 2.15's exporter ask for trees in a way that this deprecates
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]


@pytest.fixture(scope="module")
def made(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return kinds.make(tmp_path_factory.mktemp("runs"), ffpp)


def noise(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 1 + int(rng.uniform(20, 255)), (64, 64, 3), np.uint8) for _ in range(count)]


@pytest.mark.parametrize("kind", SINGLE)
def test_openvino_computes_them(made: dict[str, Path], kind: str, tmp_path: Path) -> None:
    """Of any number of pictures, or of whole clips."""
    one, file = predictor.load(made[kind]).members[0], tmp_path / "0.xml"
    off = features.write(one, file, noise(3))
    assert off is not None
    assert off <= features.TOLERANCE
    ask, model = features.read(file), one.trained.model
    for units in (1, 2, 5):
        (image_BCHW,) = member.batches(noise(units * one.clip), one.size)
        given = torch.from_numpy(ask(image_BCHW.numpy()))
        with torch.no_grad():
            assert given.shape == model.features(image_BCHW).shape
            wanted, got = model(image_BCHW).logit_B, model.classify(given).logit_B
        assert got.shape == (units,)
        np.testing.assert_allclose(got, wanted, atol=1e-3, rtol=1e-3)


def test_a_graph_that_differs_is_refused(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of other weights, in this one's place."""
    one, other = (predictor.load(made["frame"]).members[0] for _ in range(2))
    with torch.no_grad():
        for parameter in other.trained.model.parameters():
            parameter.add_(0.01)
    features.write(other, tmp_path / "other.xml")
    assert features.difference(one, tmp_path / "other.xml") > features.TOLERANCE
    asked = features.read(tmp_path / "other.xml")
    monkeypatch.setattr(features, "read", lambda _: asked)
    with pytest.raises(SemblanceError, match=r"OpenVINO's features of frame are up to .* off torch's, more than"):
        features.write(one, tmp_path / "0.xml")


def test_a_model_without_features_has_no_graph(made: dict[str, Path], tmp_path: Path) -> None:
    """Its features would be the pictures themselves, which Monte-Carlo dropout then repeats as a whole."""

    class Whole(models.Model):
        def forward(self, image_BCHW: torch.Tensor) -> Output:
            return Output(logit_B=image_BCHW.mean((1, 2, 3)), embedding_BD=image_BCHW.flatten(1))

    one = predictor.load(made["frame"]).members[0]
    assert features.has_any(one.trained.model)
    object.__setattr__(one.trained, "model", Whole())
    assert features.write(one, tmp_path / "0.xml") is None
    assert not list(tmp_path.iterdir())
