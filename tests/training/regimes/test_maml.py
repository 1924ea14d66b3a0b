"""MAML against its closed form, finite differences and torch's own functional gradients; what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from semblance.manifests.errors import UsageError
from semblance.training import losses
from semblance.training.data.episodes import Source
from semblance.training.losses import BceConfig, Loss, LossConfig
from semblance.training.models import Model
from semblance.training.records import Batch, Output
from semblance.training.regimes import Chance, build, maml
from semblance.training.regimes.maml import Maml, MamlConfig
from tests.training import runs


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
    return Batch(
        image_BCHW=image_BCHW, target_B=target_B, sample_ids=names, video_ids=names, tracks=none, persons=none
    )


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
        grad(at)({name: one for name, one in model.train().named_parameters()})


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
