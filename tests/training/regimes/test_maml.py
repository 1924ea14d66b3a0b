"""MAML against its closed form, finite differences and torch's own functional gradients; what it leaves alone."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.func import functional_call, grad

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training import losses, recipes
from semblance.training.data import query
from semblance.training.data.episodes import Source
from semblance.training.data.loader import Loader
from semblance.training.data.units import UnitConfig
from semblance.training.loop.module import DetectorModule
from semblance.training.losses import BceConfig, Loss, LossConfig
from semblance.training.models import Model
from semblance.training.records import Batch, Output
from semblance.training.regimes import Chance, Stage, build, maml
from semblance.training.regimes.maml import Maml, MamlConfig
from semblance.training.runs import checkpoint
from tests.training import builds, runs
from tests.training.loop.test_fit import child, lines
from tests.training.runs import StopBefore, StoppedError, same


class Line(Model):
    """One weight for each of three colours of a picture of one pixel."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.embedding_dim = 3
        self.weight_C = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=dtype))

    def forward(self, image_BCHW: Tensor) -> Output:
        embedding_BD = image_BCHW.flatten(1)
        return Output(logit_B=embedding_BD @ self.weight_C, embedding_BD=embedding_BD)


class Squared(nn.Module):
    """Half the mean of squared errors, whose gradients are linear in the weights."""

    def forward(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        return {"loss": ((output.logit_B - batch.target_B) ** 2).sum() / 2}


def batch_of(image_BCHW: Tensor, target_B: Tensor, videos: tuple[str, ...] | None = None) -> Batch:
    names = videos or tuple(f"v{place}" for place in range(len(target_B)))
    none = (0,) * len(target_B)
    return Batch(image_BCHW=image_BCHW, target_B=target_B, sample_ids=names, video_ids=names, tracks=none, persons=none)


def chance(seed: int = 0) -> Chance:
    return Chance(seed=seed, generator=torch.Generator().manual_seed(seed), epoch=0, progress=0.0)


def whole(*shape: int, seed: int) -> Tensor:
    """Small whole numbers: all that follows is exact in binary."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("steps", [1, 3])
def test_a_quadratic_loss_has_its_closed_form_exactly(steps: int) -> None:
    """L = |Xw - y|^2 / 2: w' = (1 - rA)w + rb for every step, A = X'X, and dL_q/dw = (1 - rA)^steps (A_q w' - b_q)."""
    loss, rate = cast(Loss, Squared()), 2.0**-5
    x, y, x_q, y_q = whole(4, 3, seed=1), whole(4, seed=2), whole(5, 3, seed=3), whole(5, seed=4)
    support, asked = batch_of(x[:, :, None, None], y), batch_of(x_q[:, :, None, None], y_q)
    through = torch.eye(3).double() - rate * x.T @ x
    for second_order in (True, False):
        model = Line()
        with maml.still(model):
            weights, first = maml.adapted(
                model, loss, support, ["weight_C"], rate=rate, steps=steps, second_order=second_order
            )
            value = maml.loss_at(model, loss, weights, asked)
        (found,) = torch.autograd.grad(value, [model.weight_C])
        expected = model.weight_C.detach()
        assert float(first) == float(((x @ expected - y) ** 2).sum() / 2)
        for _ in range(steps):
            expected = through @ expected + rate * x.T @ y
        assert torch.equal(weights["weight_C"], expected)
        at_query = x_q.T @ (x_q @ expected - y_q)
        exact = torch.linalg.matrix_power(through, steps) @ at_query
        assert torch.equal(found, exact if second_order else at_query)
        assert not torch.equal(exact, at_query)


SOURCES = {
    name: Source(dataset="ffpp", family=f"f{place // 2}", method="FaceSwap" if place % 2 else "pristine")
    for place, name in enumerate("abcdefgh")
}
TARGETS = torch.tensor([0.0, 1.0] * 4)


class CrossEntropy(nn.Module):
    """The recipe's loss is computed in float32; this one in the precision of the logits."""

    def forward(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        loss = nn.functional.binary_cross_entropy_with_logits(output.logit_B, batch.target_B)
        return {"loss": loss}


class Smooth(Model):
    """A convolution, a normalisation with statistics of its own and a head, all in double precision."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding_dim = 6
        self.body = nn.Conv2d(3, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 1)
        self.norm.running_mean, self.norm.running_var = torch.randn(6), torch.rand(6) + 0.5
        self.double()

    def forward(self, image_BCHW: Tensor) -> Output:
        embedding_BD = torch.tanh(self.norm(self.body(image_BCHW))).mean((2, 3))
        return Output(logit_B=self.head(embedding_BD).squeeze(1), embedding_BD=embedding_BD)


def regime(model: Model, loss: Loss | None = None, **config: Any) -> Maml:
    loss = loss or losses.build(LossConfig(bce=BceConfig(weight=1.0)), model)
    found = build(MamlConfig(**{"shots": 2, "queries": 2, **config}), model, loss)
    assert isinstance(found, Maml)
    found._sources = dict(SOURCES)
    return found


def pictures(dtype: torch.dtype = torch.float32) -> Batch:
    image_BCHW = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(3), dtype=dtype)
    return batch_of(image_BCHW, TARGETS.to(dtype), tuple("abcdefgh"))


@pytest.mark.parametrize("adapt", ["all", "norms", "head"])
def test_gradients_are_finite_differences(adapt: str) -> None:
    """Of the loss at the weights after two steps, along a random direction of all weights."""
    model, batch = Smooth(), pictures(torch.float64)
    parameters = list(model.parameters())
    generator = torch.Generator().manual_seed(5)
    ways = [torch.randn(one.shape, generator=generator, dtype=torch.float64) for one in parameters]

    def value(first_order: bool = False) -> Tensor:
        loss = cast(Loss, CrossEntropy())
        held = regime(model, loss, steps=2, rate=0.5, adapt=adapt, first_order=first_order)
        return held(model, batch, chance(7)).loss

    def slope(first_order: bool) -> float:
        gradients = torch.autograd.grad(value(first_order), parameters)
        return sum(float((one * way).sum()) for one, way in zip(gradients, ways, strict=True))

    exact, simple = slope(False), slope(True)
    ends = []
    for reach in (1e-5, -2e-5):
        with torch.no_grad():
            for one, way in zip(parameters, ways, strict=True):
                one.add_(way, alpha=reach)
        ends.append(float(value().detach()))
    assert exact == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)
    assert simple != pytest.approx(exact, rel=1e-3)


def test_steps_are_those_of_torchs_functional_gradients() -> None:
    """torch.func.grad raises where statistics would change, and agrees with what is used here."""
    model, batch = Smooth().eval(), pictures(torch.float64)
    loss, names = cast(Loss, CrossEntropy()), maml.chosen(model, "all")
    with maml.still(model):
        weights, _ = maml.adapted(model, loss, batch, names, rate=0.3, steps=3, second_order=True)

    def at(values: dict[str, Tensor]) -> Tensor:
        return maml.loss_at(model, loss, values, batch)

    expected = {name: one.detach() for name, one in model.named_parameters()}
    for _ in range(3):
        gradients = grad(at)(expected)
        expected = {name: one - 0.3 * gradients[name] for name, one in expected.items()}
    for name, one in expected.items():
        torch.testing.assert_close(weights[name], one, rtol=1e-12, atol=1e-12)
    with maml.still(model):
        detached = maml.adapted(model, loss, batch, names, rate=0.3, steps=3, second_order=False)[0]
        assert all(torch.equal(detached[name], one) for name, one in weights.items())
    with pytest.raises(RuntimeError, match="in-place operation"):
        grad(at)(dict(model.train().named_parameters()))


def test_buffers_flags_and_random_states_are_left_alone() -> None:
    torch.manual_seed(1)
    model = runs.Tiny().train()
    before = {name: one.clone() for name, one in model.named_buffers()}
    state = torch.get_rng_state()
    held = regime(model, steps=3)
    step = held(model, pictures(), chance())
    step.loss.backward()
    assert all(torch.equal(one, before[name]) for name, one in model.named_buffers())
    assert torch.equal(torch.get_rng_state(), state)  # no dropout
    assert all(part.training for part in model.modules())
    assert all(one.grad is not None and bool(one.grad.any()) for one in model.parameters())
    assert held.state_dict() == {}
    again = held(model, pictures(), chance())
    assert torch.equal(again.loss, step.loss)
    assert {name: float(value) for name, value in step.parts.items() if name in ("tasks", "shots")} == {
        "tasks": 1.0,
        "shots": 2.0,
    }
    assert list(step.parts) == ["loss", "support", "tasks", "shots"]


@pytest.mark.parametrize(("adapt", "moved"), [("head", {"head"}), ("norms", {"head", "norm"}), ("all", {"*"})])
def test_only_what_is_to_be_adapted_moves(adapt: str, moved: set[str]) -> None:
    model = Smooth()
    names = maml.chosen(model, adapt)
    assert {name.partition(".")[0] for name in names} == ({"body", "norm", "head"} if moved == {"*"} else moved)
    for parameter in model.norm.parameters():
        parameter.requires_grad_(False)
    assert not any(name.startswith("norm") for name in maml.chosen(model, adapt))
    model.requires_grad_(False)
    with pytest.raises(UsageError, match=rf"no {adapt} that is trained"):
        maml.chosen(model, adapt)


def test_a_batch_without_a_task_learns_nothing() -> None:
    """And every weight has a gradient, which other ranks wait for."""
    model = runs.Tiny()
    held = regime(model)
    one_family = replace(pictures(), video_ids=("a", "b") * 4)
    step = held(model, one_family, chance())
    step.loss.backward()
    assert (float(step.parts["loss"]), float(step.parts["tasks"])) == (0.0, 0.0)
    assert all(one.grad is not None and not one.grad.any() for one in model.parameters())


def test_mixed_pictures_are_refused() -> None:
    model, batch = runs.Tiny(), pictures()
    mixed = replace(batch, mixed_with_B=1 - batch.target_B, lam_B=torch.full((8,), 0.5))
    with pytest.raises(UsageError, match=r"augment\.cutmix\.p=0"):
        regime(model)(model, mixed, chance())


def test_pictures_of_a_clip_stay_together() -> None:
    batch = batch_of(torch.arange(6.0).view(6, 1, 1, 1), torch.tensor([0.0, 0, 1, 1, 0, 0]))
    found = maml.taken(batch, torch.tensor([2, 1]).numpy(), members=2)
    assert found.image_BCHW.flatten().tolist() == [4.0, 5.0, 2.0, 3.0]
    assert found.sample_ids == ("v4", "v5", "v2", "v3")
    assert found.target_B.tolist() == [0.0, 0.0, 1.0, 1.0]


def test_steps_lower_the_loss_of_their_support() -> None:
    model, batch = Smooth(), pictures(torch.float64)
    loss = cast(Loss, CrossEntropy())
    with maml.still(model):
        weights, first = maml.adapted(
            model, loss, batch, maml.chosen(model, "all"), rate=0.1, steps=5, second_order=False
        )
        assert maml.loss_at(model, loss, weights, batch) < first
    output = functional_call(model, dict(weights), (batch.image_BCHW,))
    assert output.logit_B.shape == (8,)


class Scaled(Line):
    """A step on its weights moves the logit by the square of ``scale``, which MAML can learn and plain training not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight_C = nn.Parameter(torch.tensor([0.1, -0.1, 0.1]).double())
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, image_BCHW: Tensor) -> Output:
        output = super().forward(image_BCHW)
        return Output(logit_B=self.scale * output.logit_B, embedding_BD=output.embedding_BD)


def brighter_and_darker(seed: int) -> Batch:
    """Eight families, each with a real and a fake of both methods: one method's are brighter, the other's darker."""
    generator = torch.Generator().manual_seed(seed)
    names = tuple(f"{family}-{kind}" for family in range(8) for kind in ("real", "brighter", "darker"))
    shift_B = torch.tensor([0.0, 1.0, -1.0] * 8).double()
    image_BCHW = 0.3 * torch.randn(24, 3, 1, 1, generator=generator).double()
    return batch_of(image_BCHW + shift_B.view(-1, 1, 1, 1), (shift_B != 0).double(), names)


def test_tasks_that_contradict_each_other_are_learned_by_adapting() -> None:
    """No weights serve both methods; after MAML two steps on the support of either do, after plain training not."""
    known = {
        f"{family}-{kind}": Source(dataset="ffpp", family=str(family), method=kind)
        for family in range(8)
        for kind in ("real", "brighter", "darker")
    }
    after = {}
    for kind in ("maml", "plain"):
        model, loss = Scaled(), cast(Loss, CrossEntropy())
        held = regime(model, loss, steps=2, rate=0.01, shots=4, queries=4)
        held._sources = known
        optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
        for step in range(150):
            batch = brighter_and_darker(step)
            value = (
                held(model, batch, chance(step)).loss
                if kind == "maml"
                else loss(model(batch.image_BCHW), batch)["loss"]
            )
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
        after[kind] = torch.stack(
            [held(model, brighter_and_darker(s), chance(s)).loss.detach() for s in range(900, 920)]
        )
    assert float(after["plain"].mean()) > 0.6
    assert float(after["maml"].mean()) < 0.75 * float(after["plain"].mean())


def test_a_compiled_model_is_differentiated_as_it_is() -> None:
    """torch differentiates compiled functions only once."""
    model, batch = runs.Tiny(), pictures()
    expected = regime(model, steps=2)(model, batch, chance()).loss
    model.compile()
    found = regime(model, steps=2)(model, batch, chance()).loss
    found.backward()
    assert torch.equal(found, expected)


def test_recipes_have_the_plans_rates() -> None:
    for name in ("maml_resnet50", "maml_resnet50_small"):
        recipe = recipes.load(name)
        assert isinstance(recipe.regime, MamlConfig)
        assert (recipe.regime.rate, recipe.optimiser.lr, recipe.regime.first_order) == (0.01, 0.001, False)
        assert recipe.augment.cutmix.p == recipe.augment.mixup.p == 0
    assert "MAML" in recipes.readings(recipes.load("maml_resnet50_small"))[0]


# --- in the loop

FEW = (
    *("augment.cutmix.p=0", "augment.mixup.p=0", "data.batch_size=24", "data.draws=72", "epochs=2"),
    *("regime.kind=maml", "regime.shots=2", "regime.queries=2", "regime.steps=2", "regime.rate=0.05"),
)


def buffers(run: Path, name: str) -> dict[str, Tensor]:
    state = checkpoint.load(run / "checkpoints" / name)["model"]
    return {key: value for key, value in state.items() if "running" in key or "batches" in key}


def test_a_run_learns_and_resumes_exactly(ffpp: Path, tmp_path: Path) -> None:
    """Stopped inside the second epoch: losses, tasks and weights are those of a run that was not stopped."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    said: list[str] = []
    runs.train([str(ffpp)], whole, *FEW, say=said.append)
    assert any("up to 4 tasks of 2 and 2 pictures" in line for line in said)
    with pytest.raises(StoppedError):
        runs.train([str(ffpp)], parts, *FEW, save_every=1, callbacks=[StopBefore(4)])
    runs.train([str(ffpp)], parts, *FEW, resume=True)
    assert lines(parts) == lines(whole)
    states = [checkpoint.load(each / "checkpoints" / "last.ckpt") for each in (parts, whole)]
    assert same(*states)
    rows = lines(whole)
    assert {"support", "tasks", "shots"} < rows[0].keys()
    assert all(row["tasks"] == 2 and 1 <= row["shots"] <= 2 for row in rows)  # ffpp has two methods
    assert same(buffers(whole, "last.ckpt"), buffers(whole, "best.ckpt"))  # statistics, from the first epoch on


class Begun(Callback):
    """Keeps the model as it is before the first step."""

    def on_train_batch_start(self, _: Any, task: DetectorModule, *__: Any) -> None:  # type: ignore[override]
        if task.step == 0:
            self.model = copy.deepcopy(task.model)


def test_statistics_of_random_weights_are_those_of_train(ffpp: Path, tmp_path: Path) -> None:
    """Against the moments of its pictures after the first convolution, all in one batch."""
    begun = Begun()
    runs.train([str(ffpp)], tmp_path / "run", *FEW, "epochs=1", "schedule.warmup_epochs=0", callbacks=[begun])
    body = cast(nn.Sequential, begun.model.body)
    (batch,) = Loader(query.select([str(ffpp)], "train"), batch=10**4)
    with torch.no_grad():
        value = body[0](batch.image_BCHW - 0.5).transpose(0, 1).flatten(1)
    assert isinstance(body[1], nn.BatchNorm2d)
    assert body[1].momentum == 0.1
    torch.testing.assert_close(body[1].running_mean, value.mean(1), rtol=0.02, atol=0.01)
    torch.testing.assert_close(body[1].running_var, value.var(1), rtol=0.1, atol=0.01)
    assert same(buffers(tmp_path / "run", "last.ckpt"), {f"body.1.{k}": v for k, v in body[1].named_buffers()})


def test_other_weights_keep_their_statistics(ffpp: Path) -> None:
    """Those of a run or of ImageNet, and those of a resumed run."""

    def begin(model: Model, resumed: bool) -> None:
        data = SimpleNamespace(train=query.select([str(ffpp)], "train"))
        regime(model).begin(model, cast(Stage, SimpleNamespace(data=data, resumed=resumed, seed=0, read=None)))

    begin(runs.Tiny(), resumed=True)
    of_run = runs.Tiny()
    of_run.origin = "the weights of a run"
    begin(of_run, resumed=False)
    with pytest.raises(TypeError):  # it wants to read
        begin(runs.Tiny(), resumed=False)


def test_some_units_are_a_selection_of_their_own(ffpp: Path) -> None:
    selection = query.select([str(ffpp)], "train", unit=UnitConfig(mode="pairs"))
    few = maml._some(selection, 7, seed=1)
    assert (few.units.height, few.pictures.height, few.members) == (7, 14, 2)
    assert few.pictures["unit"].unique().to_list() == list(range(7))
    assert set(few.pictures["sample_id"]) <= set(selection.pictures["sample_id"])
    assert sum(len(batch.sample_ids) for batch in Loader(few, batch=3)) == 14
    assert maml._some(selection, 10**6, seed=1) is selection


def test_a_split_without_tasks_is_refused_before_the_first_step(tmp_path: Path) -> None:
    out = builds.make(tmp_path / "out", builds.Plan(families=2, frames=2))
    with pytest.raises(SemblanceError, match="two families of fakes beside two of reals"):
        runs.train([str(out)], tmp_path / "run", *FEW, "data.query=family_id <> 'ffpp-train001'")


@pytest.mark.parametrize("order", ["false", "true"])
def test_half_precision_learns_too(ffpp: Path, tmp_path: Path, order: str) -> None:
    """Weights are cast to 16 bits and back in every pass, and the gradient goes through the casts."""
    few = (
        *FEW,
        "precision=bf16-mixed",
        "clip_norm=null",
        "epochs=1",
        "schedule.warmup_epochs=0",
        f"regime.first_order={order}",
    )
    runs.train([str(ffpp)], tmp_path / "half", *few, "precision=bf16-mixed")
    runs.train([str(ffpp)], tmp_path / "whole", *few, "precision=32-true")
    ours, theirs = (lines(tmp_path / name) for name in ("half", "whole"))
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=0.05)


def test_two_ranks_end_with_the_same_weights(ffpp: Path, tmp_path: Path) -> None:
    """Tasks are of a rank's own share, so two ranks do not equal one."""
    few = (*FEW, "data.batch_size=48", "data.draws=96", "epochs=1", "schedule.warmup_epochs=0")
    done = child("ranks", str(tmp_path / "ranks"), str(ffpp), *few)
    assert done.returncode == 0, done.stderr
    parts = [torch.load(tmp_path / f"ranks-rank{rank}.pt", weights_only=True)["model"] for rank in (0, 1)]
    assert same(*parts)
    assert all(1 <= row["tasks"] <= 2 for row in lines(tmp_path / "ranks"))  # the mean over ranks
