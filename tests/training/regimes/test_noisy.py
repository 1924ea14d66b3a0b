"""Learning under noise: its strength, that it follows from place and picture alone, ranks and resumption."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from semblance.training import losses, recipes, regimes
from semblance.training.records import Batch
from semblance.training.regimes import Chance, noisy
from semblance.training.regimes.noisy import NoisyConfig
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir
from tests.conftest import REPOSITORY
from tests.training import runs

NOISY = ("regime.kind=noisy",)


def batch(*names: str) -> Batch:
    count = len(names)
    return Batch(
        image_BCHW=torch.full((count, 3, 32, 32), 0.5),
        target_B=torch.tensor([float(number % 2) for number in range(count)]),
        sample_ids=names,
        video_ids=names,
        tracks=(0,) * count,
        persons=(0,) * count,
    )


def test_noise_has_its_strength_and_is_not_clipped() -> None:
    noise_BCHW = noisy.noise(batch(*(f"p{number}" for number in range(40))), 0, 1, 0.5)
    assert float(noise_BCHW.mean()) == pytest.approx(0, abs=0.01)
    assert float(noise_BCHW.std()) == pytest.approx(1, abs=0.01)
    assert NoisyConfig().sigma == 0.25
    assert float((0.5 + 0.25 * noise_BCHW).min()) < 0


def test_noise_follows_from_the_place_and_the_picture_alone() -> None:
    both, alone = noisy.noise(batch("a", "b"), 0, 1, 0.5), noisy.noise(batch("b"), 0, 1, 0.5)
    assert torch.equal(both[1], alone[0])
    assert not torch.equal(both[0], both[1])
    for other in ((1, 1, 0.5), (0, 2, 0.5), (0, 1, 0.6)):
        assert not torch.equal(noisy.noise(batch("b"), *other), alone)


def test_the_loss_is_that_of_noisy_pictures() -> None:
    model, few = runs.plain(None, pretrained=False), batch("a", "b", "c")
    recipe = runs.recipe(*NOISY)
    loss = losses.Loss(recipe.loss, model.embedding_dim, model.frequency_dim)
    regime = regimes.build(recipe.regime, model, loss)
    chance = Chance(seed=5, generator=torch.Generator(), epoch=2, progress=0.25)
    before = torch.random.get_rng_state()
    step = regime(model, few, chance)
    assert torch.equal(torch.random.get_rng_state(), before)
    changed = replace(few, image_BCHW=few.image_BCHW + 0.25 * noisy.noise(few, 0, 2, 0.25))
    assert torch.equal(step.loss, loss(model(changed.image_BCHW), changed)["loss"])
    assert regime.state_dict() == {}


class StoppedError(Exception):
    """Ends a run."""


class StopBefore(Callback):
    """Ends a run before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, *given: Any) -> None:
        if given[1].step == self.step:
            raise StoppedError


def weights(run: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = checkpoint.load(RunDir(run).last)["model"]
    return found


FEW = ("data.draws=24", "epochs=3")


@pytest.fixture(scope="module")
def whole(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("noisy") / "whole"
    runs.train([str(ffpp)], run, *NOISY, *FEW)
    return run


def test_a_resumed_run_equals_an_undisturbed_one(ffpp: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "parts"
    with pytest.raises(StoppedError):
        runs.train([str(ffpp)], run, *NOISY, *FEW, callbacks=[StopBefore(5)])
    runs.train([str(ffpp)], run, *NOISY, *FEW, resume=True)
    ours, theirs = weights(run), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_two_ranks_equal_one(ffpp: Path, tmp_path: Path) -> None:
    settings = ("data.draws=60", "data.batch_size=60", "epochs=3", "augment.cutmix.p=0", "augment.mixup.p=0", *NOISY)
    runs.train([str(ffpp)], tmp_path / "alone", *settings, build=runs.plain)
    command = [sys.executable, "-m", "tests.training.runs", "ranks", str(tmp_path / "ranks"), str(ffpp), *settings]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    one, two = weights(tmp_path / "alone"), weights(tmp_path / "ranks")
    assert all(torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-4) for name in one)


def test_the_recipes_differ_from_the_plan_by_their_noise_alone() -> None:
    for name, base in (("noise_resnet50", "resnet50"), ("noise_resnet50_small", "resnet50_small")):
        one, other = (recipes.load(each).model_dump(exclude={"name", "base"}) for each in (name, base))
        assert {key for key in one if one[key] != other[key]} == {"regime"}
        assert one["regime"] == {"kind": "noisy", "sigma": 0.25}
