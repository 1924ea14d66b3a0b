"""Distillation: its loss against two-class divergences, the teacher's side, and whole runs of a small student."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training import augment, losses, recipes, regimes
from semblance.training.augment.config import AugmentConfig, MixConfig
from semblance.training.ensemble import fit as ensembles
from semblance.training.inference import predictor
from semblance.training.loop import staging
from semblance.training.losses import LossConfig, soft_loss
from semblance.training.models import Model
from semblance.training.models.base import Head
from semblance.training.records import Batch, Output
from semblance.training.regimes import Chance
from semblance.training.regimes.distil import Distil, DistilConfig
from semblance.training.runs import checkpoint, folder
from semblance.training.runs.folder import RunDir
from tests.conftest import HANG, REPOSITORY
from tests.training import clip_runs, runs, untrained
from tests.training.runs import StopBefore, StoppedError, same

pytestmark = [
    # lightning 2.6 asks torch 2.15 for a tree in a way that this deprecates
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]

LOGITS = st.lists(st.tuples(st.floats(-40, 40), st.floats(-40, 40)), min_size=1, max_size=8)
CPU = torch.device("cpu")


def chance() -> Chance:
    return Chance(seed=0, generator=torch.Generator().manual_seed(0), epoch=0, progress=0.0)


# --- the loss


@given(LOGITS, st.sampled_from([1.0, 4.0]))
def test_the_soft_loss_is_the_two_class_divergence_and_the_teachers_entropy(
    pairs: list[tuple[float, float]], temperature: float
) -> None:
    """In value to 1e-12, and in gradient to 1e-15, of torch's own divergence of softmax (0, z / T)."""
    student, teacher = torch.tensor(pairs, dtype=torch.float64).T
    one, two = (student.clone().requires_grad_() for _ in "ab")
    ours = soft_loss(one, teacher, temperature)
    log_p, log_q = (F.log_softmax(torch.stack([torch.zeros_like(z), z / temperature], 1), 1) for z in (two, teacher))
    divergence = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
    entropy = -(log_q.exp() * log_q).sum(1).mean()
    theirs = temperature**2 * (divergence + entropy)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-12, abs=1e-12)
    gradients = torch.autograd.grad(ours, one)[0], torch.autograd.grad(theirs, two)[0]
    assert float((gradients[0] - gradients[1]).abs().max()) <= 1e-15 * temperature


def test_the_temperature_keeps_the_size_of_the_gradient() -> None:
    """Its limit for high temperatures is a quarter of the difference of the logits; without T^2 it would be 0."""
    student, teacher = torch.tensor([[1.0, -2.0, 0.5], [3.0, 1.0, 0.5]], dtype=torch.float64)
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(soft_loss(student, teacher, 1e5) * len(teacher), student)
    assert gradient.tolist() == pytest.approx(((student.detach() - teacher) / 4).tolist(), abs=1e-9)


class Flat(Model):
    """One linear layer over the pixels: any logits of a few pictures can be reached."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.embedding_dim = 3 * side**2
        self.flatten = nn.Flatten()
        self.head = Head(self.embedding_dim, 0.0)

    def forward(self, image_BCHW: Tensor) -> Output:
        embedding_BD = self.flatten(image_BCHW - 0.5)
        return Output(logit_B=self.head(embedding_BD), embedding_BD=embedding_BD)


@pytest.fixture(scope="module")
def teacher(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble of two very small networks."""
    made = tmp_path_factory.mktemp("teacher")
    members = [str(untrained.make(made / f"member{seed}", [ffpp], seed=seed, gain=9)) for seed in (0, 1)]
    ensembles.combine([str(ffpp)], members, made / "ensemble", say=lambda _: None)
    return made / "ensemble"


def a_regime(teacher: Path, model: Model, **settings: Any) -> Distil:
    loss = losses.build(LossConfig(), model)
    made = regimes.build(DistilConfig(teacher=str(teacher), **settings), model, loss)
    assert isinstance(made, Distil)
    made._ask = staging.scorer(str(teacher), CPU)
    return made


def a_batch(count: int = 16, side: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(0)
    names = tuple(f"noise-{i}" for i in range(count))
    return Batch(
        image_BCHW=torch.rand(count, 3, side, side, generator=generator),
        target_B=torch.arange(count).remainder(2).float(),
        sample_ids=names,
        video_ids=names,
        tracks=(0,) * count,
        persons=(0,) * count,
    )


def test_a_student_reaches_the_teachers_logits_on_a_memorisable_set(teacher: Path) -> None:
    """With the soft loss alone: labels, which say otherwise, do not count."""
    torch.manual_seed(0)
    model, batch = Flat(32), a_batch()
    regime = a_regime(teacher, model, soft=1.0, hard=0.0)
    wanted_B = staging.scorer(str(teacher), CPU)(batch.image_BCHW)
    assert float(wanted_B.std()) > 0.01
    optimiser = torch.optim.LBFGS(
        model.parameters(), max_iter=200, tolerance_grad=1e-9, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimiser.zero_grad()
        step = regime(model, batch, chance())
        step.loss.backward()
        return float(step.loss.detach())

    optimiser.step(closure)
    found_B = model(batch.image_BCHW).logit_B.detach()
    assert float((found_B - wanted_B).abs().max()) < 0.1 * float(wanted_B.std())  # 32 bits lead no nearer
    assert float(regime(model, batch, chance()).parts["agreement"]) == 1.0


# --- the teacher's side


def test_the_teacher_answers_the_mixed_pictures_and_labels_stay_mixed(teacher: Path) -> None:
    model, batch = Flat(32), a_batch()
    config = AugmentConfig(size=32, cutmix=MixConfig(p=0.5, alpha=1.0), mixup=MixConfig(p=0.5, alpha=0.2))
    mixed = augment.mix(batch, config, torch.Generator().manual_seed(1))
    assert mixed.lam_B is not None
    regime = a_regime(teacher, model)
    parts = regime(model, mixed, chance()).parts
    assert set(parts) == {"loss", "soft", "hard", "agreement"}
    assert all(not value.requires_grad for value in parts.values())
    one = predictor.load(teacher)
    with torch.no_grad():
        output = model(mixed.image_BCHW)
        answers = [part.trained.model(mixed.image_BCHW).logit_B for part in one.members]
    combined_B = sum(weight * logit_B for weight, logit_B in zip(one.weights, answers, strict=True))
    assert isinstance(combined_B, Tensor)
    assert float(parts["soft"]) == pytest.approx(float(soft_loss(output.logit_B, combined_B, 4.0)), rel=1e-6)
    assert float(parts["hard"]) == pytest.approx(float(regime.loss(output, mixed)["loss"]), rel=1e-6)
    assert float(parts["loss"]) == pytest.approx(0.7 * float(parts["soft"]) + 0.3 * float(parts["hard"]), rel=1e-6)
    same = ((output.logit_B > 0) == (combined_B > 0)).float().mean()
    assert float(parts["agreement"]) == float(same)
    apart = regime(model, replace(mixed, image_BCHW=batch.image_BCHW), chance()).parts
    assert float(apart["soft"]) != float(parts["soft"])


def test_the_teacher_is_no_part_of_the_run(teacher: Path) -> None:
    """Nothing of it is optimised, kept or changed; training mode of the student does not reach it."""
    model = Flat(32)
    regime = a_regime(teacher, model).train()
    assert not list(regime.parameters())
    assert regime.state_dict() == {}
    first = regime(model, a_batch(), chance()).parts["soft"]
    assert float(regime(model, a_batch(), chance()).parts["soft"]) == float(first)


class Clips(Flat):
    """Clips of four pictures: the mean of their logits."""

    members = 4

    def forward(self, image_BCHW: Tensor) -> Output:
        one = super().forward(image_BCHW)
        embedding_UD = one.embedding_BD.view(-1, 4, self.embedding_dim).mean(1)
        return Output(logit_B=one.logit_B.view(-1, 4).mean(1), embedding_BD=embedding_UD)


def test_a_clip_of_the_student_learns_the_mean_of_the_teachers_answers(teacher: Path) -> None:
    model, batch = Clips(32), a_batch()
    parts = a_regime(teacher, model)(model, batch, chance()).parts
    wanted_U = staging.scorer(str(teacher), CPU)(batch.image_BCHW).view(4, 4).mean(1)
    with torch.no_grad():
        wanted = soft_loss(model(batch.image_BCHW).logit_B, wanted_U, 4.0)
    assert float(parts["soft"]) == pytest.approx(float(wanted))


def test_a_recipe_without_a_teacher_or_with_one_over_clips_is_refused(
    ffpp: Path, teacher: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"no teacher.*--set regime\.teacher=DIR"):
        runs.train([str(ffpp)], tmp_path / "none", *STUDENT)
    with pytest.raises(SemblanceError, match=r"nowhere.* cannot be read.*name the folder of a trained run"):
        runs.train([str(ffpp)], tmp_path / "none", *STUDENT, "regime.teacher=nowhere")
    frame = untrained.make(tmp_path / "frame", [ffpp])
    clips = clip_runs.make(tmp_path / "clips", frame)
    with pytest.raises(UsageError, match=r"clips scores clips, and single pictures are to be scored"):
        runs.train([str(ffpp)], tmp_path / "run", *STUDENT, f"regime.teacher={clips}")
    with pytest.raises(UsageError, match=r"soft and regime\.hard are both 0"):
        recipes.load("distil_mobilenet", [f"regime.teacher={teacher}", "regime.soft=0", "regime.hard=0"])


# --- whole runs

STUDENT = ("regime.kind=distil", "epochs=2", "schedule.warmup_epochs=1", "data.draws=24")


def test_a_resumed_run_equals_an_uninterrupted_one_and_knows_its_teacher(
    ffpp: Path, teacher: Path, tmp_path: Path
) -> None:
    mine = shutil.copytree(teacher, tmp_path / "teacher")
    words = (*STUDENT, f"regime.teacher={mine}")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    said: list[str] = []
    runs.train([str(ffpp)], whole, *words, say=said.append)
    assert any(line.startswith(f"regime: distil; teacher {mine}; 0.7 soft at temperature 4") for line in said)
    with pytest.raises(StoppedError):
        runs.train([str(ffpp)], parts, *words, save_every=2, callbacks=[StopBefore(5)])
    listed = mine / "ensemble.json"
    before = listed.read_text()
    record = json.loads(before)
    record["members"][0]["weight"], record["members"][1]["weight"] = 0.9, 0.1
    listed.write_text(json.dumps(record))
    with pytest.raises(SemblanceError, match=r"ensemble\.json has changed since .*last\.ckpt began to learn from it"):
        runs.train([str(ffpp)], parts, *words, resume=True)
    listed.write_text(before)
    runs.train([str(ffpp)], parts, *words, save_every=2, resume=True)
    rows = folder.read_lines(RunDir(whole).steps)
    assert rows == folder.read_lines(RunDir(parts).steps)
    assert {"loss", "soft", "hard", "agreement"} <= rows[0].keys()
    assert same(*(checkpoint.load(RunDir(each).last) for each in (parts, whole)))
    kept = checkpoint.load(RunDir(whole).best)
    assert {Path(name).parent.name for name in kept["sources"]} == {"teacher", "members"}
    roles = [one["role"] for one in json.loads((whole / "datasets.json").read_text())]
    assert "weights" in roles


def test_two_ranks_equal_one(ffpp: Path, teacher: Path, tmp_path: Path) -> None:
    """Two epochs of one step on all data: 60 units in one process, or 30 in each of two that communicate by gloo."""
    whole = ("data.draws=60", "data.batch_size=60", "augment.cutmix.p=0", "augment.mixup.p=0")
    words = (*STUDENT[:3], *whole, f"regime.teacher={teacher}")
    runs.train([str(ffpp)], tmp_path / "one", *words, build=runs.plain)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.runs", "ranks", str(tmp_path / "two"), str(ffpp)]
    done = subprocess.run(
        [*command, *words], env=environment, capture_output=True, text=True, timeout=HANG, check=False
    )
    assert done.returncode == 0, done.stderr
    one, two = (folder.read_lines(RunDir(tmp_path / name).steps) for name in ("one", "two"))
    assert len(one) == len(two) == 2
    for ours, theirs in zip(two, one, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    weights = [checkpoint.load(RunDir(tmp_path / name).last)["model"] for name in ("one", "two")]
    assert all(torch.allclose(weights[0][name], weights[1][name], rtol=1e-3, atol=1e-4) for name in weights[0])
