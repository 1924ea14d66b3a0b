"""The adversarial regime: exact shares, attacks drawn evenly, the ramp, and the same run however it is carried out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from semblance.manifests.errors import UsageError
from semblance.training import augment, losses, recipes
from semblance.training.attacks import Target
from semblance.training.augment.config import AugmentConfig, MixConfig
from semblance.training.losses import LossConfig
from semblance.training.models import Model
from semblance.training.records import Batch
from semblance.training.regimes import Chance
from semblance.training.regimes.adversarial import Adversarial, AdversarialConfig
from semblance.training.runs import checkpoint, folder
from semblance.training.runs.folder import RunDir
from tests.conftest import HANG, REPOSITORY
from tests.training import runs
from tests.training.runs import StopBefore, StoppedError

pytestmark = [
    # torch 2.15 warns of more workers than cores: here they are two on any machine
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning:torch.utils.data.dataloader"),
    # lightning 2.6 asks torch 2.15 for a tree in a way that this deprecates
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]

EPOCHS = 20


@pytest.fixture(autouse=True)
def repeatable() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def regime_of(model: Model | None = None, **settings: Any) -> Adversarial:
    """A regime as ``begin`` leaves it in a run of ``EPOCHS`` epochs with seed 3."""
    model = model or runs.Tiny()
    regime = Adversarial(AdversarialConfig(**settings), model, losses.build(LossConfig(), model))
    regime._seed, regime._epochs = 3, EPOCHS
    return regime


def batch_of(count: int) -> Batch:
    return Batch(
        image_BCHW=torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0)),
        target_B=(torch.arange(count) % 2).float(),
        sample_ids=tuple(f"clip-{number:06d}-00" for number in range(count)),
        video_ids=("clip",) * count,
        tracks=(0,) * count,
        persons=(0,) * count,
    )


def chance_at(progress: float) -> Chance:
    return Chance(seed=9, generator=torch.Generator(), epoch=int(progress * EPOCHS), progress=progress)


class Seen(runs.Tiny):
    """Keeps what it is shown in train mode, and how often it is asked in eval mode."""

    def __init__(self) -> None:
        super().__init__(norm=False)
        self.shown: list[Tensor] = []
        self.asked = 0

    def forward(self, image_BCHW: Tensor) -> Any:
        if self.training:
            self.shown.append(image_BCHW)
        else:
            self.asked += 1
        return super().forward(image_BCHW)


def centre(model: Seen, batch: Batch) -> Tensor:
    """Shift the logits so that their mean over the batch is 0: attacks then find wrong pictures. Returns them."""
    with torch.no_grad():
        logit_B = model.eval()(batch.image_BCHW).logit_B
        model.head.linear.bias.sub_(logit_B.mean())
    model.train().asked = 0
    return logit_B - logit_B.mean()


@given(count=st.integers(1, 70), share=st.sampled_from((0.0, 0.3, 0.5, 1.0)))
def test_the_share_is_exact_and_names_decide(count: int, share: float) -> None:
    regime, names = regime_of(share=share), batch_of(count).sample_ids
    places = regime.unmixed(names, 4)
    assert len(set(places)) == int(share * count + 0.5)
    turned = regime.unmixed(names[::-1], 4)
    assert {names[place] for place in places} == {names[::-1][place] for place in turned}
    if 0 < len(places) < count > 20:
        assert list(regime.unmixed(names, 5)) != list(places)


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "cw", "aa-binary"])
def test_exactly_the_share_is_attacked_within_the_strength(attack: str) -> None:
    model, batch = Seen().train(), batch_of(10)
    regime = regime_of(model, attacks=(attack,), ramp_epochs=10)
    centre(model, batch)
    step = regime(model, batch, chance_at(0.25))
    (shown_BCHW,) = model.shown
    change_B = (shown_BCHW - batch.image_BCHW).abs().flatten(1).amax(1)
    changed = torch.nonzero(change_B).flatten().tolist()
    assert set(changed) <= set(regime.unmixed(batch.sample_ids, 5))
    assert len(changed) == 3 or attack in ("cw", "aa-binary")  # these leave alone what is judged wrongly
    assert change_B.max() <= 0.015 + 1e-7
    assert change_B.max() >= 0.001
    assert model.asked > 0
    assert model.training
    assert float(step.parts["eps"]) == pytest.approx(0.015)
    assert set(step.parts) == {"loss", "bce", "eps", "wrong_of_attacked"}
    step.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_attacked_pictures_are_wrong_more_often_in_the_figures() -> None:
    model, batch = Seen().train(), batch_of(20)
    batch = replace(batch, target_B=(centre(model, batch) > 0).float())
    strong, weak = (regime_of(model, share=1, eps=eps)(model, batch, chance_at(0.9)) for eps in (0.5, 1e-6))
    assert float(weak.parts["wrong_of_attacked"]) < float(strong.parts["wrong_of_attacked"]) == 1


def test_the_strength_grows_evenly() -> None:
    regime = regime_of(ramp_epochs=8, eps=0.03)
    found = [regime.strength(epoch / EPOCHS) for epoch in (0, 2, 4, 8, 15)]
    assert found == pytest.approx([0, 0.0075, 0.015, 0.03, 0.03])
    assert regime_of(ramp_epochs=0).strength(0.0) == 0.03
    model, batch = Seen().train(), batch_of(10)
    regime_of(model)(model, batch, chance_at(0.0))  # no strength yet: nothing to attack
    assert model.asked == 0
    assert torch.equal(model.shown[0], batch.image_BCHW)


def test_attacks_are_drawn_evenly() -> None:
    """A chi-square test over the places of a run; the draw is of the place alone, so it repeats."""
    regime, names = regime_of(attacks=("fgsm", "pgd", "cw")), ("fgsm", "pgd", "cw")
    places = [step / 3000 for step in range(3000)]
    drawn = [regime.attack(place) for place in places]
    assert stats.chisquare([drawn.count(name) for name in names]).pvalue > 0.01
    follow = [drawn[step : step + 2] for step in range(0, 3000, 2)]  # neither do neighbours depend on each other
    pairs = [[one, other] for one in names for other in names]
    assert stats.chisquare([follow.count(pair) for pair in pairs]).pvalue > 0.01
    assert drawn == [regime.attack(place) for place in places]


def test_attacked_pictures_are_not_mixed() -> None:
    config = AugmentConfig(cutmix=MixConfig(p=0.5, alpha=1.0), mixup=MixConfig(p=0.5, alpha=0.2))
    model, batch = Seen().train(), batch_of(20)
    regime = regime_of(model)
    kept = list(regime.unmixed(batch.sample_ids, 10))
    mixed = augment.mix(batch, config, torch.Generator().manual_seed(1), kept=kept)
    regime(model, mixed, chance_at(0.5))
    change_B = (model.shown[0] - batch.image_BCHW).abs().flatten(1).amax(1)
    assert mixed.lam_B is not None
    assert (mixed.lam_B[kept] == 1).all()
    assert (change_B[kept] <= 0.03 + 1e-7).all()
    assert (change_B > 0.1).sum() > 5


def test_the_attack_makes_batches_harder_for_the_model_itself() -> None:
    model, batch = runs.Tiny(norm=False).train(), batch_of(20)
    target = Target(lambda image_BCHW: model(image_BCHW).logit_B, (model,))
    seen: list[Tensor] = []
    handle = model.register_forward_pre_hook(lambda part, given: seen.append(given[0]) if part.training else None)
    regime_of(model, share=1.0, attacks=("pgd",))(model, batch, chance_at(0.9))
    handle.remove()
    assert (target.loss(seen[-1], batch.target_B) > target.loss(batch.image_BCHW, batch.target_B)).all()


# --- in a run

ONE = "regime={kind: adversarial, ramp_epochs: 2, judge_every: 2, judge_pictures: 16}"
FEW = (ONE, "data.draws=24", "data.batch_size=8", "epochs=3")
WHOLE = (ONE, "data.draws=60", "data.batch_size=60", "augment.cutmix.p=0", "augment.mixup.p=0", "epochs=3")


def rows(run: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return folder.read_lines(RunDir(run).steps), folder.read_lines(RunDir(run).epochs)


def test_a_run_from_begin_to_end_and_resumed(ffpp: Path, tmp_path: Path) -> None:
    """Exactly, from inside an epoch, with CutMix and MixUp; figures of the slice of val come when they are due."""
    said: list[str] = []
    runs.train([str(ffpp)], tmp_path / "whole", *FEW, say=said.append)
    with pytest.raises(StoppedError):
        runs.train([str(ffpp)], tmp_path / "parts", *FEW, callbacks=[StopBefore(7)])
    runs.train([str(ffpp)], tmp_path / "parts", *FEW, resume=True)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    one, two = (checkpoint.load(RunDir(tmp_path / name).last)["model"] for name in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    steps, epochs = rows(tmp_path / "whole")
    assert [row["eps"] for row in steps] == pytest.approx([0.03 * min(step / 6, 1) for step in range(9)])
    assert ["val/robust_balanced_accuracy" in row for row in epochs] == [False, True, True]
    for row in epochs[1:]:
        assert 0 <= row["val/robust_balanced_accuracy"] <= row["val/clean_balanced_accuracy"] <= 1
    cost = "30% of every batch is attacked (fgsm, pgd), so that a step computes about 2.1 times as much as without"
    assert any(cost in line for line in said)


def test_one_worker_or_two_make_the_same_pictures(ffpp: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        runs.train([str(ffpp)], tmp_path / str(workers), *WHOLE, build=runs.plain, workers=workers)
    for one, two in zip(*(part for run in ("1", "2") for part in [rows(tmp_path / run)[0]]), strict=True):
        assert one == pytest.approx(two, rel=1e-4)


def test_two_ranks_equal_one(ffpp: Path, tmp_path: Path) -> None:
    """All pictures are attacked here: which of them are, each rank decides for its own part of a batch."""
    whole = (*WHOLE, "regime.share=1")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    arguments = ("ranks", str(tmp_path / "ranks"), str(ffpp), *whole)
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.runs", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stderr
    runs.train([str(ffpp)], tmp_path / "alone", *whole, build=runs.plain)
    for ours, theirs in zip(rows(tmp_path / "ranks"), rows(tmp_path / "alone"), strict=True):
        for one, two in zip(ours, theirs, strict=True):
            assert one == pytest.approx(two, rel=1e-3)


def test_bad_settings_are_reported() -> None:
    with pytest.raises(UsageError, match=r"there is no attack 'nuke'; attacks are .*aa-binary"):
        recipes.load("adversarial_resnet50", ["regime.attacks=[nuke]"])
    with pytest.raises(UsageError, match=r"ramp_epochs \(10\) must be at most epochs \(6\)"):
        recipes.load("adversarial_resnet50", ["epochs=6"])

    class Clips(runs.Tiny):
        members = 4

    with pytest.raises(UsageError, match="scores clips; train its frame model adversarially"):
        regime_of(Clips())


def test_attacks_that_cost_more_say_so() -> None:
    (term,) = AdversarialConfig(attacks=("cw", "aa-binary")).terms
    assert "(cw, aa-binary), so that a step computes about 15.9 times as much as without" in term
