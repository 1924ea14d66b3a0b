"""A run has one score: evaluation, ensembles and predictions ask it alike, with the mirror image or without."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from semblance.training import models
from semblance.training.ensemble import fit
from semblance.training.evaluation import evaluate
from semblance.training.evaluation.evaluate import Options
from semblance.training.inference import mc_dropout, member, precision, predictor
from semblance.training.models import Model
from semblance.training.models.efficientnet import EfficientNetConfig
from semblance.training.models.f3net import F3NetConfig
from semblance.training.models.resnet import ResNetConfig
from semblance.training.records import Output
from tests.training import untrained

MODELS = {
    "f3net": F3NetConfig(width=0.1, size=32, spatial_dropout=0.4, frequency_dropout=0.3),
    "resnet": ResNetConfig(arch="test_resnet.r160_in1k", dropout=0.4),
    "efficientnet": EfficientNetConfig(arch="test_efficientnet.r160_in1k", dropout=0.4),
}


@pytest.fixture(scope="module")
def mirrored(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained.make(tmp_path_factory.mktemp("runs") / "mirrored", [ffpp], "tta=mirror", gain=9)


@pytest.fixture(scope="module")
def combined(ffpp: Path, mirrored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("ensembles") / "combined"
    fit.combine([str(ffpp)], [str(mirrored)], to, say=lambda _: None)
    return to


def crops(count: int = 5) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8))


def test_every_way_asks_with_the_mirror(ffpp: Path, mirrored: Path, combined: Path) -> None:
    """Ensembles, their thresholds and predictions asked without it; only evaluation had it, under another name."""
    one, whole = predictor.load(mirrored), predictor.load(combined)
    model, images = untrained.model(mirrored), crops()
    with torch.inference_mode():
        (batch,) = member.batches(images, 32)
        expected = (model(batch).logit_B + model(batch.flip(3)).logit_B) / 2
    assert np.allclose(one.logits(images), expected, atol=1e-5)
    assert np.allclose(whole.logits(images), expected, atol=1e-5)
    found = evaluate.evaluate([str(ffpp)], [str(mirrored), str(combined)], Options(draws=0), say=lambda _: None)
    tables = found.predictions
    assert list(tables) == ["mirrored", "mirrored+plain", "combined"]
    assert np.allclose(tables["combined"]["logit"], tables["mirrored"]["logit"])
    assert not np.allclose(tables["mirrored+plain"]["logit"], tables["mirrored"]["logit"])
    assert found.thresholds["combined"].keys() == found.thresholds["mirrored"].keys()


def test_an_ensemble_of_before_keeps_its_score(mirrored: Path, combined: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(combined, older)
    value = json.loads((older / "ensemble.json").read_text())
    assert value["format"] == 2
    assert [record.pop("mirror") for record in value["members"]] == [True]
    (older / "ensemble.json").write_text(json.dumps(value | {"format": 1}))
    model, (batch,) = untrained.model(mirrored), member.batches(crops(), 32)
    old, new = predictor.load(older), predictor.load(combined)
    with torch.inference_mode():
        assert np.allclose(old.logits(crops()), model(batch).logit_B, atol=1e-5)
    assert len(predictor.distinct_members([old, new])) == 2  # one checkpoint, two scores


@pytest.mark.parametrize("name", MODELS)
def test_what_is_before_the_head_runs_once_for_all_passes(name: str) -> None:
    """F3-Net ran as a whole in each pass: 44 CPU minutes for a video of 32 pictures."""
    torch.manual_seed(0)
    model = models.build(MODELS[name]).eval()
    counted = next(part for part in model.modules() if isinstance(part, torch.nn.Conv2d))
    calls: list[int] = []
    counted.register_forward_hook(lambda *_: calls.append(1))
    image_BCHW = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        drawn_PB = mc_dropout.passes(model, image_BCHW, 8, seed=1)
        assert len(calls) == 1
        both_PB = mc_dropout.passes(model, image_BCHW, 8, seed=1, mirror=True)
        assert len(calls) == 3
        assert bool((drawn_PB.std(0) > 0).all())
        for found_PB, views in ((drawn_PB, [image_BCHW]), (both_PB, [image_BCHW, image_BCHW.flip(3)])):
            with mc_dropout.dropping(model):  # whole passes with the same masks
                full = []
                for view in views:
                    torch.manual_seed(1)
                    full.append(torch.stack([model(view).logit_B for _ in range(8)]))
            assert torch.allclose(found_PB, torch.stack(full).mean(0), atol=1e-5)


def test_frequency_dropout_is_not_drawn_at_inference() -> None:
    model = models.build(MODELS["f3net"].model_copy(update={"spatial_dropout": 0.0}))
    assert mc_dropout.layers(model) == []


def test_a_model_of_its_own_kind_is_drawn_as_a_whole() -> None:
    class Own(Model):
        embedding_dim = 3

        def __init__(self) -> None:
            super().__init__()
            self.drop, self.last = torch.nn.Dropout(0.5), torch.nn.Linear(3, 1)

        def forward(self, image_BCHW: torch.Tensor) -> Output:
            mean_BD = self.drop(image_BCHW.mean((2, 3)))
            return Output(logit_B=self.last(mean_BD).squeeze(1), embedding_BD=mean_BD)

    model, image = Own(), torch.rand(2, 3, 8, 8)
    drawn = mc_dropout.passes(model, image, 16, seed=3)
    assert bool((drawn.std(0) > 0).all())
    assert torch.allclose(precision.logits(model.eval(), image), model(image).logit_B)


@pytest.mark.parametrize("name", MODELS)
def test_half_precision_ends_before_the_head(name: str) -> None:
    """As on a GPU: features in bfloat16 are near, and logits keep all digits; on the CPU nothing changes."""
    torch.manual_seed(0)
    model, image_BCHW = models.build(MODELS[name]).eval(), torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        exact = model(image_BCHW)
        assert precision.half(image_BCHW.device) is None
        assert torch.equal(precision.logits(precision.place(model, image_BCHW.device), image_BCHW), exact.logit_B)
        near_BF = precision.features(model, image_BCHW, torch.bfloat16)
        logit_B = model.classify(near_BF).logit_B
    assert near_BF.dtype == logit_B.dtype == torch.float32
    assert torch.allclose(near_BF, exact.embedding_BD, atol=0.05 * float(exact.embedding_BD.abs().max()))
    assert bool((logit_B != logit_B.bfloat16()).any())
