"""Continual learning without a run: Fisher information in closed form, the memory's rows, soft targets, summaries."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from semblance.manifests.errors import SemblanceError
from semblance.training.data import query
from semblance.training.data.loader import Loader
from semblance.training.data.query import QueryConfig
from semblance.training.models import Model
from semblance.training.models.base import Head
from semblance.training.protocols import forgetting
from semblance.training.records import Batch, Output
from semblance.training.regimes import continual, continual_fisher, continual_memory
from tests.training import builds, runs


class Logistic(Model):
    """z = w x + b over the three colours of a picture of one pixel, in double precision."""

    def __init__(self, weight_D: Tensor, bias: float) -> None:
        super().__init__()
        self.embedding_dim = len(weight_D)
        self.head = Head(len(weight_D), 0.5).double()
        with torch.no_grad():
            self.head.linear.weight.copy_(weight_D)
            self.head.linear.bias.fill_(bias)

    def forward(self, image_BCHW: Tensor) -> Output:
        embedding_BD = image_BCHW.flatten(1)
        linear = self.head.linear
        logit_B = nn.functional.linear(self.head.dropout(embedding_BD), linear.weight, linear.bias).squeeze(1)
        return Output(logit_B=logit_B, embedding_BD=embedding_BD)


def batch(image_BCHW: Tensor, target_B: Tensor | None = None) -> Batch:
    count = len(image_BCHW)
    names = tuple(map(str, range(count)))
    target_B = torch.zeros(count) if target_B is None else target_B
    return Batch(
        image_BCHW=image_BCHW,
        target_B=target_B,
        sample_ids=names,
        video_ids=names,
        tracks=(0,) * count,
        persons=(0,) * count,
    )


@pytest.fixture
def logistic() -> tuple[Logistic, Tensor, Tensor]:
    """A model, pictures (B, 3, 1, 1), and labels that it is not sure of."""
    generator = torch.Generator().manual_seed(3)
    image_BCHW = torch.rand(200, 3, 1, 1, generator=generator, dtype=torch.float64)
    model = Logistic(torch.tensor([2.0, -3.0, 1.0], dtype=torch.float64), 0.4)
    sure_B = torch.sigmoid(model.eval()(image_BCHW).logit_B.detach())
    return model, image_BCHW, (torch.rand(200, generator=generator, dtype=torch.float64) < sure_B**4).double()


def test_fisher_information_is_that_of_logistic_regression(logistic: tuple[Logistic, Tensor, Tensor]) -> None:
    """F = mean of s (1 - s) x^2, in any batches; the usual mistakes give something else."""
    model, image_BCHW, target_B = logistic
    feature_BD = torch.cat([image_BCHW.flatten(1), torch.ones(200, 1, dtype=torch.float64)], 1)
    share_B = torch.sigmoid(model(image_BCHW).logit_B.detach())
    exact_D = (share_B * (1 - share_B)) @ feature_BD.square() / 200
    for size in (1, 7, 200):
        found = continual_fisher.information(model.train(), [batch(part) for part in image_BCHW.split(size)])
        ours_D = torch.cat([found["head.linear.weight"].flatten(), found["head.linear.bias"]])
        assert torch.allclose(ours_D, exact_D, rtol=0, atol=1e-6)
        assert model.training
    wrong = {
        "labels of the dataset": (share_B - target_B).square() @ feature_BD.square() / 200,
        "square of the mean gradient": ((share_B - target_B) @ feature_BD / 200).square(),
        "without s (1 - s)": feature_BD.square().mean(0),
    }
    for name, other_D in wrong.items():
        assert ((other_D / exact_D - 1).abs() > 0.1).all(), name


def test_fisher_information_leaves_the_model_alone() -> None:
    model = runs.Tiny().train()
    model.head.eval()
    model.body[3].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [part.training for part in model.modules()]
    state = torch.get_rng_state()
    image_BCHW = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = continual_fisher.information(model, [batch(image_BCHW)])
    assert set(found) == {name for name, one in model.named_parameters() if one.requires_grad}
    assert "body.3.weight" not in found
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [part.training for part in model.modules()] == modes
    assert all(one.grad is None for one in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert all((one >= 0).all() for one in found.values())
    with pytest.raises(ValueError, match="one picture"):
        continual_fisher.information(model, [])


def test_the_penalty_pulls_back_by_its_weight(logistic: tuple[Logistic, Tensor, Tensor]) -> None:
    """Closed form of value and gradient; the best weights under it come to w* as 1 / weight."""
    model, image_BCHW, target_B = logistic
    fisher = continual_fisher.information(model, [batch(image_BCHW)])
    anchor = {name: one.detach().clone() for name, one in model.named_parameters()}
    with torch.no_grad():
        model.head.linear.bias.add_(0.5)
    value = continual_fisher.penalty(model, fisher, anchor)
    assert value.item() == pytest.approx(float(fisher["head.linear.bias"]) * 0.25 / 2)
    (gradient,) = torch.autograd.grad(value, [model.head.linear.bias])
    assert torch.allclose(gradient, fisher["head.linear.bias"] * 0.5)
    moved = []
    for weight in (0.0, 10.0, 1e3, 1e5):
        one = Logistic(anchor["head.linear.weight"].flatten(), float(anchor["head.linear.bias"])).eval()
        search = torch.optim.LBFGS(one.parameters(), max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

        def closure(one: Logistic = one, weight: float = weight, search: Any = search) -> Tensor:
            search.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(one(image_BCHW).logit_B, target_B)
            loss = loss + weight * continual_fisher.penalty(one, fisher, anchor)
            loss.backward()
            return loss

        search.step(closure)
        moved.append(sum((p - anchor[name]).abs().sum().item() for name, p in one.named_parameters()))
    assert moved[0] > moved[1] > moved[2] > moved[3]
    assert moved[2] / moved[3] == pytest.approx(100, rel=0.1)
    assert moved[3] < 1e-3 * moved[0]


def test_soft_targets_are_the_divergence_of_two_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    logit_B, old_B = (4 * torch.randn(9, generator=generator, dtype=torch.float64) for _ in range(2))
    logit_B.requires_grad_(True)
    for temperature in (1.0, 2.0, 4.0):
        value = continual.softened(logit_B, old_B, temperature)
        two, old = (torch.stack([torch.zeros(9), one / temperature], 1).log_softmax(1) for one in (logit_B, old_B))
        expected = nn.functional.kl_div(two, old, reduction="batchmean", log_target=True) * temperature**2
        assert value.item() == pytest.approx(expected.item(), abs=1e-12)
        (gradient,) = torch.autograd.grad(value, [logit_B])
        closed_B = temperature / 9 * (torch.sigmoid(logit_B / temperature) - torch.sigmoid(old_B / temperature))
        assert torch.allclose(gradient, closed_B)
    assert float(continual.softened(old_B, old_B, 2.0)) == pytest.approx(0, abs=1e-12)


# --- the memory

PLACES = st.tuples(
    st.sampled_from(("ffpp", "dfdc")), st.sampled_from((0, 1)), st.sampled_from((None, "a", "b")), st.integers(1, 6)
)


@st.composite
def pools(draw: st.DrawFn) -> pl.DataFrame:
    """Rows of videos with one or more frames, of several datasets, labels and methods."""
    found = []
    for number, (dataset, target, method, frames) in enumerate(draw(st.lists(PLACES, min_size=1, max_size=14))):
        for frame in range(frames):
            video = f"{dataset}-{number}"
            found.append((dataset, dataset, "split", f"{video}-{frame}", video, dataset, target, method))
    return pl.DataFrame(found, schema=continual_memory.SCHEMA, orient="row")


@settings(deadline=None, max_examples=25)
@given(pool=pools(), size=st.integers(1, 60), seed=st.integers(0, 9))
def test_the_memory_is_small_stratified_and_reproducible(pool: pl.DataFrame, size: int, seed: int) -> None:
    found = continual_memory.kept(pool, size)
    assert found.height == min(size, pool.height)
    assert found["sample_id"].is_unique().all()
    assert set(found["sample_id"]) <= set(pool["sample_id"])
    shuffled = pl.concat([pool, pool.head(3)]).sample(fraction=1.0, shuffle=True, seed=seed)
    assert continual_memory.kept(shuffled, size).equals(found)
    assert continual_memory.kept(found, size).equals(found)

    def equal(keys: tuple[str, ...], inside: pl.DataFrame, kept: pl.DataFrame) -> None:
        """The parts are equal but for one, where none of them is used up."""
        parts = inside.group_by(keys[0]).len().rows()
        counts = {name: kept.filter(pl.col(keys[0]).eq_missing(pl.lit(name))).height for name, _ in parts}
        left = [counts[name] for name, available in parts if counts[name] < available]
        if left:
            assert max(counts.values()) <= min(left) + 1
        for name, _ in parts if keys[1:] else ():
            same = pl.col(keys[0]).eq_missing(pl.lit(name))
            equal(keys[1:], inside.filter(same), kept.filter(same))

    equal(("dataset", "target", "method"), pool, found)
    for _, part in pool.group_by("dataset", "target", "method"):
        frames = Counter(part["video_id"])
        taken = Counter(found.join(part, on="sample_id", how="semi")["video_id"])
        more = [taken[video] for video in frames if taken[video] < frames[video]]
        assert not more or max(taken[video] for video in frames) <= min(more) + 1  # no second frame before every first


@settings(deadline=None, max_examples=10)
@given(first=pools(), second=pools(), third=pools(), size=st.integers(1, 40))
def test_tasks_share_one_memory(first: pl.DataFrame, second: pl.DataFrame, third: pl.DataFrame, size: int) -> None:
    """It never grows beyond its size, and only forgets."""
    memory = continual_memory.of_state(None)
    for number, task in enumerate((first, second, third)):
        named = task.with_columns(pl.format("{}-{}", pl.lit(number), pl.col(name)).alias(name) for name in ("dataset",))
        named = named.with_columns(pl.format("{}-{}", pl.lit(number), "sample_id").alias("sample_id"))
        before, memory = memory, continual_memory.kept(pl.concat([memory, named]), size)
        assert memory.height <= size
        assert set(memory["sample_id"]) <= {*before["sample_id"], *named["sample_id"]}
        again = continual_memory.of_state(continual_memory.to_state(memory))
        assert again.equals(memory)
        assert again.schema == continual_memory.SCHEMA


def test_shares_are_as_equal_as_they_can_be() -> None:
    assert continual_memory.shares([10, 10, 10], 10) == [3, 3, 4]
    assert continual_memory.shares([1, 10, 2], 9) == [1, 6, 2]
    assert continual_memory.shares([5, 5], 100) == [5, 5]
    assert continual_memory.shares([], 5) == []
    for available in itertools.product(range(4), repeat=3):
        for total in range(12):
            assert sum(continual_memory.shares(available, total)) == min(total, sum(available))


def records(*outs: Path) -> list[dict[str, object]]:
    return [
        {"role": "train", "out": str(out), "fingerprint": f"{name}-4-2", "split_column": "split"}
        for out, name in zip(outs, ("ffpp", "dfdc"), strict=False)
    ]


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    plans = [builds.Plan(dataset=name, families=4, frames=2, methods=("swap",)) for name in ("ffpp", "dfdc")]
    return [builds.make(tmp_path / plan.dataset, plan) for plan in plans]


def test_rows_find_their_pictures_again(two: list[Path], tmp_path: Path) -> None:
    """From two builds, also where one has moved; each with its own label. A build that is gone is named."""
    train = query.select([str(out) for out in two], "train")
    rows = continual_memory.kept(continual_memory.rows(train, records(*two)), 12)
    assert Counter(rows["dataset"]) == {"ffpp": 6, "dfdc": 6}
    assert Counter(rows["target"]) == {0: 6, 1: 6}
    assert set(rows["sample_id"]) <= set(train.pictures["sample_id"])
    images: dict[str, Tensor] = {}
    for one in Loader(train, batch=8):
        images |= zip(one.sample_ids, one.image_BCHW, strict=True)
    for moved in (False, True):
        places = []
        if moved:
            places = [str(shutil.move(two[1], tmp_path / "elsewhere"))]
        found = continual_memory.selection(rows, places, "the memory")
        assert set(found.pictures["sample_id"]) == set(rows["sample_id"])
        labels = dict(rows.select("sample_id", "target").iter_rows())
        seen = 0
        for one in Loader(found, batch=5):
            for name, image, target in zip(one.sample_ids, one.image_BCHW, one.target_B, strict=True):
                assert torch.equal(image, images[name])
                assert int(target) == labels[name]
                seen += 1
        assert seen == 12
    with pytest.raises(SemblanceError, match=r"the memory needs pictures of the build .*dfdc .*regime\.builds"):
        continual_memory.selection(rows, [], "the memory")
    strange = rows.with_columns(sample_id=pl.lit("nothing")).head(1)
    with pytest.raises(SemblanceError, match="is empty"):
        continual_memory.selection(strange, [str(tmp_path / "elsewhere")], "the memory")


def test_selections_together_are_one_of_both_builds(two: list[Path]) -> None:
    outs = [str(out) for out in two]
    both = query.select(outs, "train", QueryConfig(query="frame_index = 0"))
    joined = query.together([query.select([out], "train", QueryConfig(query="frame_index = 0")) for out in outs[::-1]])
    assert joined.counts == both.counts
    assert joined.pictures.drop("source", "shard").equals(both.pictures.drop("source", "shard"))
    assert set(joined.shards) == set(both.shards)
    names = [
        [(one.shards[row["shard"]].url, row["sample_id"]) for row in one.pictures.iter_rows(named=True)]
        for one in (joined, both)
    ]
    assert names[0] == names[1]
    with pytest.raises(ValueError, match="frames of one split"):
        query.together([query.select(outs, "train"), query.select(outs, "val")])


# --- accuracy and forgetting


def test_forgetting_of_three_tasks_by_hand() -> None:
    """Chaudhry et al. 2018: (max(.9, .7) - .6 + max(.5, .8) - .7) / 2."""
    matrix = [[0.9, 0.5, 0.4], [0.7, 0.8, 0.6], [0.6, 0.7, 0.75]]
    found = forgetting.summary(matrix)
    assert found.average == pytest.approx((0.6 + 0.7 + 0.75) / 3)
    assert found.forgetting == pytest.approx((0.3 + 0.1) / 2)
    assert found.new == pytest.approx((0.9 + 0.8 + 0.75) / 3)
    helped = [[0.6, 0.5], [0.7, 0.9]]
    assert forgetting.forgetting(helped) == pytest.approx(-0.1)
    early = [[0.5, 0.9, 0.5], [0.5, 0.8, 0.5], [0.5, 0.7, 0.5]]  # best before it was learned
    assert forgetting.forgetting(early) == pytest.approx((0.0 + 0.2) / 2)
    assert forgetting.forgetting([[0.9]]) is None
    assert forgetting.forgetting([[0.9, 0.5], [None, 0.5]]) is None
    assert forgetting.average([[0.9, 0.5], [None, 0.5]]) is None
