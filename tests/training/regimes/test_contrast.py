"""SimCLR and MoCo: the loss by other means, who is never a negative, the queue, the following encoder."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import NTXentLoss
from torch import Tensor

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training import losses, models, regimes
from semblance.training.data import query
from semblance.training.data.loader import DataConfig, Loader
from semblance.training.data.splits import TrainingData
from semblance.training.models.resnet import ResNetConfig
from semblance.training.models.vit import ViTConfig
from semblance.training.records import Batch
from semblance.training.regimes import Chance, Stage
from semblance.training.regimes import contrast_parts as parts
from semblance.training.regimes.contrast import SimCLRConfig, nt_xent
from semblance.training.regimes.contrast_moco import MoCo, MoCoConfig, Queue
from tests.training import builds, runs

CHANCE = Chance(seed=0, generator=torch.Generator(), epoch=0, progress=0.0)
TAU = 0.1


def stage(out: Path, **data: Any) -> Stage:
    given: dict[str, Any] = {"views": 2, "query": "label = 0", "balanced_per_method": False} | data
    config = DataConfig(**given)
    train = query.select([str(out)], "train", config, config)
    val = query.select([str(out)], "val", config, config)
    held = TrainingData(train=train, val={"ffpp": val}, others={}, datasets=())
    nothing: Any = None
    return Stage(
        data=held, seed=0, size=32, epochs=1, read=nothing, draw=nothing, score=nothing, state=nothing, resumed=False
    )


def begun(config: Any, given: Stage, model: Any = None, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    model = model or runs.Tiny(norm=False)
    regime = regimes.build(config, model, losses.build(losses.LossConfig(), model))
    regime.begin(model, given)
    return regime


def batches(given: Stage, batch: int = 12) -> list[Batch]:
    return list(Loader(given.data.train, batch=batch, size=32))


def unit_vectors(count: int, dim: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=dtype), dim=1)


def all_apart(count: int) -> Tensor:
    return torch.ones(count, count, dtype=torch.bool)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_nt_xent_is_that_of_pytorch_metric_learning(temperature: float) -> None:
    for seed in range(5):
        z_NC = (3 * unit_vectors(16, 8, seed, torch.float32)).requires_grad_()
        ours, _ = nt_xent(F.normalize(z_NC, dim=1), all_apart(16), temperature)
        theirs = NTXentLoss(temperature=temperature)(z_NC, torch.arange(8).repeat_interleave(2))  # normalises itself
        assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-6)
        gradients = [torch.autograd.grad(loss, z_NC, retain_graph=True)[0] for loss in (ours, theirs)]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=6), st.integers(0, 99))
def test_nt_xent_with_families_left_out_is_that_of_a_double_loop(families: list[int], seed: int) -> None:
    """In float64, from the paper's formula; and of the library, whose pairs are then named."""
    of_N = [family for family in families for _ in range(2)]
    z_NC = unit_vectors(len(of_N), 5, seed)
    group_N = torch.tensor(of_N)
    loss, figures = nt_xent(z_NC, group_N[:, None] != group_N, TAU)
    total, nearest, counted = 0.0, 0, 0
    for i in range(len(of_N)):
        others = [k for k in range(len(of_N)) if k != i and (k == i ^ 1 or of_N[k] != of_N[i])]
        similar = {k: math.exp(float(z_NC[i] @ z_NC[k]) / TAU) for k in others}
        total -= math.log(similar[i ^ 1] / sum(similar.values()))
        nearest += max(similar, key=lambda k: similar[k]) == i ^ 1
        counted += len(others) - 1
    assert float(loss) == pytest.approx(total / len(of_N), rel=1e-12)
    assert float(figures["accuracy"]) == pytest.approx(nearest / len(of_N))
    assert float(figures["negatives"]) == pytest.approx(counted / len(of_N))
    every = torch.arange(len(of_N))
    negative = torch.nonzero(group_N[:, None] != group_N)
    if len(negative):
        pairs = (every, every ^ 1, *negative.T)
        theirs = NTXentLoss(temperature=TAU)(z_NC, indices_tuple=pairs)
        assert float(loss) == pytest.approx(float(theirs), rel=1e-6)


@pytest.mark.parametrize("exclude", ["video", "family", "none"])
def test_no_key_of_ones_own_people_is_a_negative(ffpp: Path, exclude: Any) -> None:
    """Of real batches: by the ids of the build, not by those of the regime. Fakes too: a family has its original."""
    given = stage(ffpp, query=None)
    regime = begun(SimCLRConfig(exclude=exclude), given)
    rows = {row["sample_id"]: row for row in given.data.train.pictures.to_dicts()}
    own = {"video": ("video_id",), "family": ("video_id", "family_id"), "none": ()}[exclude]
    for batch in batches(given):
        group_NG = regime.groups.of(batch)
        apart_NN = regime.groups.apart(group_NG, group_NG)
        for i, one in enumerate(batch.sample_ids):
            for k, other in enumerate(batch.sample_ids):
                shared = any(rows[one][name] == rows[other][name] for name in own)
                assert bool(apart_NN[i, k]) != shared


def test_nor_is_one_of_the_same_person_in_another_family(tmp_path: Path) -> None:
    """Where the dataset names the person. Val's pictures have groups too."""
    out = tmp_path / "named"
    builds.make(out, builds.Plan(families=4))
    for file in out.glob("manifests/samples/*.parquet"):
        table = pl.read_parquet(file)
        even = pl.col("family_id").str.slice(-1).is_in(["0", "2"])
        table.with_columns(
            target_id=pl.when(even).then(pl.lit("anna")).otherwise(pl.lit(None, pl.String))
        ).write_parquet(file)
    given = stage(out)
    regime = begun(SimCLRConfig(), given)
    seen = set()
    for batch in (*batches(given, 32), *Loader(given.data.val["ffpp"], batch=32, size=32)):
        number_N = [name.partition("-c23")[0] for name in batch.sample_ids]
        group_NG = regime.groups.of(batch)
        apart_NN = regime.groups.apart(group_NG, group_NG)
        for i, one in enumerate(number_N):
            for k, other in enumerate(number_N):
                anna = one[-1] in "02" and other[-1] in "02"
                assert bool(apart_NN[i, k]) == (one != other and not anna)
                seen.add((one, other))
    assert ("ffpp-train000", "ffpp-train002") in seen


@settings(max_examples=30)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 7))
def test_the_queue_is_first_in_first_out(sizes: list[int], size: int) -> None:
    queue = Queue(size, 2)
    told: list[int] = []
    for count in sizes:
        number_N = torch.arange(len(told), len(told) + count)
        told += number_N.tolist()
        queue.add(number_N[:, None].expand(-1, 2).float(), number_N[:, None].expand(-1, 2) + 100)
    held = sorted(int(group) - 100 for group, _ in queue.group_KG if group != parts.NOTHING)
    assert held == told[-size:]
    for key, (group, _) in zip(queue.key_KC, queue.group_KG, strict=True):
        if group != parts.NOTHING:
            assert float(key[0]) == float(group) - 100  # ids stay beside their keys
    groups = parts.Groups("family")
    apart_NK = groups.apart(torch.tensor([[100 + told[-1]] * 2, [-5, -5]]), queue.group_KG)
    assert int(apart_NK[1].sum()) == len(held)  # an empty place is no negative
    assert int(apart_NK[0].sum()) == len(held) - 1
    assert parts.Groups("none").apart(torch.zeros(1, 2), queue.group_KG).sum() == len(held)


def test_a_key_that_overflowed_is_no_negative() -> None:
    queue = Queue(4, 2)
    queue.add(torch.tensor([[1.0, 0.0], [torch.nan, 0.0]]), torch.tensor([[1, 1], [2, 2]]))
    assert queue.group_KG[:, 0].tolist() == [1, parts.NOTHING, parts.NOTHING, parts.NOTHING]
    assert queue.key_KC.isfinite().all()


@pytest.mark.parametrize("queue", [0, 30])
def test_moco_by_a_double_loop(ffpp: Path, queue: int) -> None:
    """Both directions, 2 tau, the queue as it was before this batch, and nothing of one's own family."""
    given = stage(ffpp)
    model = runs.Tiny(norm=False)
    regime = begun(MoCoConfig(dim=8, hidden=16, queue=queue), given, model)
    first, second = batches(given, 8)[:2]
    regime(model, first, CHANCE)
    held = copy_of(regime.queue) if queue else []
    ours = float(regime(model, second, CHANCE).loss.detach())
    with torch.no_grad():
        embedding_BD = model(second.image_BCHW).embedding_BD
        q = F.normalize(regime.predictor(regime.projector(embedding_BD)), dim=1).double()
        k = F.normalize(regime.key_projector(regime.key_model(second.image_BCHW).embedding_BD), dim=1).double()
    family = [name.partition("-c")[0] for name in second.sample_ids]
    of_family = {int(regime.groups.of(second)[i, 0]): one for i, one in enumerate(family)}
    total, tau = 0.0, regime.config.temperature
    for i in range(len(q)):
        if queue:
            keys = [key for key, group in held if of_family.get(group) != family[i]]
        else:
            keys = [k[j] for j in range(1 - i % 2, len(k), 2) if family[j] != family[i]]
        positive = math.exp(float(q[i] @ k[i ^ 1]) / tau)
        total -= math.log(positive / (positive + sum(math.exp(float(q[i] @ key) / tau) for key in keys)))
    assert ours == pytest.approx(2 * tau * 2 * total / len(q), rel=1e-5)


def copy_of(queue: Queue) -> list[tuple[Tensor, int]]:
    return [
        (key.double().clone(), int(group))
        for key, (group, _) in zip(queue.key_KC, queue.group_KG, strict=True)
        if group != parts.NOTHING
    ]


def test_the_key_encoder_keeps_m_to_the_k(ffpp: Path) -> None:
    """After k steps of a model that stands still its distance to it is m^k of what it was; at first it is equal."""
    model = runs.Tiny().double()
    regime = begun(MoCoConfig(dim=8, hidden=16, momentum=0.9), stage(ffpp), model).double()
    pairs = list(zip(regime.key_model.parameters(), model.parameters(), strict=True))
    pairs += list(zip(regime.key_projector.parameters(), regime.projector.parameters(), strict=True))
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
    with torch.no_grad():
        for ours, _ in pairs:
            ours.add_(1)
    for _ in range(7):
        regime.stepped(model)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours - theirs, torch.full_like(ours, 0.9**7), rtol=1e-12, atol=1e-12)


def test_momentum_grows_to_one(ffpp: Path) -> None:
    given = stage(ffpp)
    model = runs.Tiny(norm=False)
    regime = begun(MoCoConfig(dim=8, hidden=16, momentum=0.99, schedule="cosine"), given, model)
    (batch, *_), found = batches(given, 8), []
    for progress in (0.0, 0.5, 1.0):
        regime(model, batch, replace(CHANCE, progress=progress))
        found.append(regime.momentum)
    assert found == pytest.approx([0.99, 0.995, 1.0])
    before = regime.momentum
    regime.eval()(model.eval(), batch, CHANCE)
    assert regime.momentum == before


@pytest.mark.parametrize("config", [SimCLRConfig(), MoCoConfig(dim=8, hidden=16, queue=64)])
def test_judging_val_changes_nothing(ffpp: Path, config: Any) -> None:
    given = stage(ffpp)
    model = runs.Tiny()
    regime = begun(config, given, model)
    batch, *_ = batches(given)
    regime(model, batch, CHANCE)
    model.eval()
    regime.eval()
    before = {name: value.clone() for name, value in regime.state_dict().items()}
    with torch.no_grad():
        found = [
            regime(model, one, CHANCE) for one in [batch, *Loader(given.data.val["ffpp"], batch=5, size=32), batch]
        ]
    assert float(found[0].loss) == float(found[-1].loss)
    assert all(torch.equal(value, before[name]) for name, value in regime.state_dict().items())
    assert {tuple(step.parts) for step in found} == {("loss", "accuracy", "negatives")}


@pytest.mark.parametrize(
    "config", [SimCLRConfig(), MoCoConfig(dim=8, hidden=16), MoCoConfig(dim=8, hidden=16, queue=64)]
)
def test_every_trained_parameter_has_a_gradient(ffpp: Path, config: Any) -> None:
    """Several ranks wait for all of them. The classifier's is zero, and that of the key encoder is not asked for."""
    given = stage(ffpp)
    model = runs.Tiny()
    regime = begun(config, given, model)
    for batch in batches(given, 8)[:2]:
        model.zero_grad()
        regime.zero_grad()
        regime(model, batch, CHANCE).loss.backward()
    trained = [one for one in (*model.parameters(), *regime.parameters()) if one.requires_grad]
    assert all(one.grad is not None for one in trained)
    assert all(not one.grad.any() for one in model.head.parameters())
    assert sum(bool(one.grad.any()) for one in trained) > 0.6 * len(trained)
    followers = [one for name, one in regime.named_parameters() if name.startswith("key_")]
    assert bool(followers) == isinstance(regime, MoCo)
    assert all(one.grad is None for one in followers)


def test_heads_of_networks() -> None:
    """As in the authors' code: two layers for a ResNet, three for a transformer, whose patch projection stays."""
    config, loss = MoCoConfig(dim=8, hidden=16), losses.build(losses.LossConfig(), runs.Tiny())
    net = models.build(ResNetConfig(arch="test_resnet.r160_in1k"), pretrained=False)
    regime = MoCo(config, net, loss)
    kinds = [[type(layer).__name__ for layer in part] for part in (regime.projector, regime.predictor)]
    hidden = ["Linear", "BatchNorm1d", "ReLU"]
    assert kinds == [[*hidden, "Linear", "BatchNorm1d"], [*hidden, "Linear"]]
    assert all(one.requires_grad for one in net.parameters())
    vit = models.build(ViTConfig(arch="test_vit", size=160, trainable="all"), pretrained=False)
    regime = MoCo(config, vit, loss)
    kinds = [[type(layer).__name__ for layer in part] for part in (regime.projector, regime.predictor)]
    assert kinds == [[*hidden, *hidden, "Linear", "BatchNorm1d"], [*hidden, "Linear", "BatchNorm1d"]]
    fixed = [name for name, one in vit.named_parameters() if not one.requires_grad]
    assert fixed == ["backbone.patch_embed.proj.weight", "backbone.patch_embed.proj.bias"]


def test_what_cannot_be_compared_is_refused(ffpp: Path, tmp_path: Path) -> None:
    for data in ({"views": 1}, {"views": 3}, {"views": 1, "mode": "pairs", "query": None}):
        for config in (SimCLRConfig(), MoCoConfig(dim=8, hidden=16)):
            with pytest.raises(UsageError, match=rf"regime {config.kind} learns from two views.*data\.views=2"):
                begun(config, stage(ffpp, **data))
    begun(SimCLRConfig(), stage(ffpp, views=1, mode="clips", clip={"frames": 2}))
    one = stage(builds.make(tmp_path / "one", builds.Plan(families=2)), query="label = 0 AND family_id LIKE '%000'")
    for exclude in ("video", "family"):
        with pytest.raises(SemblanceError, match=f"of one {exclude}, so none has a negative"):
            begun(SimCLRConfig(exclude=exclude), one)
    begun(SimCLRConfig(exclude="none"), one)
    # a val of one family has a loss of 0 whatever is learned: the first epoch was the best for ever
    given = stage(ffpp)
    val = {"ffpp": query.select([str(ffpp)], "val", DataConfig(query="label = 0 AND family_id LIKE '%000'"))}
    lone = replace(given, data=replace(given.data, val=val))
    for config in (SimCLRConfig(), MoCoConfig(dim=8, hidden=16)):
        with pytest.raises(SemblanceError, match=r"All pictures of val \(ffpp\) are of one family.*no epoch"):
            begun(config, lone)
    begun(MoCoConfig(dim=8, hidden=16, queue=30), lone)


def test_what_a_queue_makes_of_it_is_said() -> None:
    assert MoCoConfig().terms[0] == "MoCo v3"
    assert MoCoConfig(queue=4096).terms[0] == "MoCo v2's form on MoCo v3's heads, with a queue of 4096 keys"


def test_groups_are_the_same_in_every_build_and_process(ffpp: Path, tmp_path: Path) -> None:
    """The numbers come from ids alone, so they are the same in every process and for any set of builds."""
    given, other = stage(ffpp), stage(builds.make(tmp_path / "other", builds.Plan(families=4)))
    numbers = [regime.groups._of for regime in (begun(SimCLRConfig(), one) for one in (given, other))]
    both = numbers[0].keys() & numbers[1].keys()
    assert both
    assert all(numbers[0][name] == numbers[1][name] for name in both)
