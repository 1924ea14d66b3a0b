"""Losses against their formulas, with mixed samples, and with a missing class."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import ArcFaceLoss
from torch import Tensor

from semblance.manifests.errors import UsageError
from semblance.training import losses, models, recipes
from semblance.training.losses import ArcFaceConfig, LossConfig
from semblance.training.models.resnet import ResNetConfig
from semblance.training.records import Batch, Output
from tests.training import dispatch

ALL: dict[str, Any] = {
    "bce": {"weight": 0.7, "smoothing": 0.1},
    "focal": {"weight": 0.2},
    "arcface": {"weight": 0.3},
    "centre": {"weight": 0.4},
    "uniformity": {"weight": 0.5},
    "alignment": {"weight": 0.1},
}


def loss_of(values: dict[str, Any], dim: int = 16) -> losses.Loss:
    torch.manual_seed(0)
    return losses.Loss(LossConfig.model_validate(values), dim, dim)


def output_of(count: int, dim: int = 16, seed: int = 1) -> Output:
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(count, dim, generator=generator).requires_grad_()
    frequency = torch.randn(count, dim, generator=generator).requires_grad_()
    logit = torch.randn(count, generator=generator).requires_grad_()
    return Output(logit_B=logit, embedding_BD=embedding, frequency_BD=frequency)


def batch_of(target: list[int], lam: list[float] | None = None, other: list[int] | None = None) -> Batch:
    names = tuple(map(str, range(len(target))))
    return Batch(
        image_BCHW=torch.zeros(len(target), 3, 4, 4),
        target_B=torch.tensor(target).float(),
        lam_B=None if lam is None else torch.tensor(lam),
        mixed_with_B=None if other is None else torch.tensor(other).float(),
        sample_ids=names,
        video_ids=names,
        tracks=(0,) * len(target),
        persons=(0,) * len(target),
    )


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


@given(smoothing=st.sampled_from([0.0, 0.1, 0.3]))
def test_bce_moves_its_targets_by_half_the_smoothing(smoothing: float) -> None:
    output, batch = output_of(6), batch_of([0, 1, 1, 0, 1, 0])
    found = loss_of({"bce": {"smoothing": smoothing}})(output, batch)["bce"]
    p, y = sigmoid(output.logit_B.detach().numpy()), batch.target_B.numpy()
    y = np.where(y == 1, 1 - smoothing / 2, smoothing / 2)
    assert found.item() == pytest.approx(float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()), rel=1e-5)


def test_focal_loss_follows_lin_et_al() -> None:
    output, batch = output_of(6), batch_of([0, 1, 1, 0, 1, 0])
    found = loss_of({"focal": {"weight": 1.0}, "bce": {"smoothing": 0.3}})(output, batch)["focal"]
    p, y = sigmoid(output.logit_B.detach().numpy()), batch.target_B.numpy() == 1
    p_true, alpha = np.where(y, p, 1 - p), np.where(y, 0.7, 0.3)
    assert found.item() == pytest.approx(float((-alpha * (1 - p_true) ** 2 * np.log(p_true)).mean()), rel=1e-5)


def test_arcface_follows_deng_et_al() -> None:
    loss, output, batch = loss_of(ALL), output_of(6), batch_of([0, 1, 1, 0, 1, 0])
    found = loss(output, batch)["arcface"]
    assert loss.arcface is not None
    weight = loss.arcface.loss.W.detach().numpy()
    e = output.embedding_BD.detach().numpy()
    cosine = (e / np.linalg.norm(e, axis=1, keepdims=True)) @ (weight / np.linalg.norm(weight, axis=0))
    y = batch.target_B.numpy().astype(int)
    angle = np.arccos(cosine[np.arange(6), y])
    assert (angle < math.pi - 0.5).all()
    cosine[np.arange(6), y] = np.cos(angle + 0.5)
    logit = 16 * cosine
    expected = np.log(np.exp(logit).sum(1)) - logit[np.arange(6), y]
    assert found.item() == pytest.approx(float(expected.mean()), rel=1e-5)


def test_arcface_equals_the_library() -> None:
    """By sample and with its gradients, on the samples that were chosen alone."""
    torch.manual_seed(3)
    ours = losses.ArcFace(16, ArcFaceConfig(margin=0.5, scale=16.0))
    theirs = ArcFaceLoss(2, 16, margin=math.degrees(0.5), scale=16.0)
    theirs.W.data.copy_(ours.loss.W.data)
    embedding, label = torch.randn(40, 16, requires_grad=True), torch.arange(40) % 2
    chosen = torch.rand(40) < 0.6
    found, expected = ours(embedding, label.float(), chosen), theirs(embedding[chosen], label[chosen])
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    mine, other = (torch.autograd.grad(loss, embedding)[0] for loss in (found, expected))
    assert torch.allclose(mine, other, rtol=1e-5, atol=1e-7)


def test_scale_64_would_dominate_the_bce() -> None:
    """Why the recipe does not use the library's scale: ArcFace would start at about 95 % of the weighted sum."""
    share = {}
    for scale in (16.0, 64.0):
        loss = losses.Loss(
            LossConfig.model_validate({"bce": {"weight": 0.7}, "arcface": {"weight": 0.3, "scale": scale}}), 1792, None
        )
        output = replace(output_of(64, 1792), logit_B=torch.zeros(64))
        parts = loss(output, batch_of([0, 1] * 32))
        share[scale] = 0.3 * parts["arcface"].item() / parts["loss"].item()
    assert share[64.0] == pytest.approx(0.95, abs=0.01)
    assert share[16.0] < 0.85


def test_single_centre_loss_follows_li_et_al() -> None:
    loss, output, batch = loss_of(ALL), output_of(5), batch_of([0, 1, 1, 0, 1])
    assert loss.centre is not None
    assert output.frequency_BD is not None
    torch.nn.init.normal_(loss.centre.centre_D)
    found = loss(output, batch)["centre"]
    distance = np.linalg.norm(output.frequency_BD.detach().numpy() - loss.centre.centre_D.detach().numpy(), axis=1)
    real, fake = distance[[0, 3]].mean(), distance[[1, 2, 4]].mean()
    assert found.item() == pytest.approx(float(real + max(0, real - fake + 0.3 * math.sqrt(16))), rel=1e-5)


def test_single_centre_loss_ignores_distant_fakes() -> None:
    centre = losses.SingleCentre(4, 0.3)
    embedding = torch.tensor([[0.1, 0, 0, 0], [9.0, 0, 0, 0]]).requires_grad_()
    centre(embedding, torch.tensor([0.0, 1.0]), torch.tensor([True, True])).backward()
    assert embedding.grad is not None
    assert embedding.grad[1].abs().sum() == 0
    assert embedding.grad[0].abs().sum() > 0


def pairs_one_by_one(embedding: Tensor, target: list[int], chosen: list[bool]) -> tuple[float, float]:
    """Uniformity and alignment by their definition, in float64."""
    rows = embedding.detach().double().numpy()
    closeness, squared = [], []
    for i in range(len(rows)):
        for j in range(i):
            if chosen[i] and chosen[j]:
                difference = rows[i] / np.linalg.norm(rows[i]) - rows[j] / np.linalg.norm(rows[j])
                closeness.append(math.exp(-2 * float(difference @ difference)))
                if target[i] == target[j]:
                    squared.append(float(difference @ difference))
    uniformity = math.log(sum(closeness) / len(closeness)) if closeness else 0.0
    return uniformity, sum(squared) / len(squared) if squared else 0.0


@given(samples=st.lists(st.tuples(st.integers(0, 1), st.booleans()), min_size=1, max_size=9), seed=st.integers(0, 99))
def test_uniformity_and_alignment_follow_wang_and_isola(samples: list[tuple[int, bool]], seed: int) -> None:
    """Over every pair of samples that were not mixed, of one class or both, one sample or none."""
    target, chosen = [label for label, _ in samples], [whole for _, whole in samples]
    output = output_of(len(samples), 5, seed)
    weights = {"uniformity": {"weight": 0.5}, "alignment": {"weight": 0.1}}
    lam = [1.0 if whole else 0.5 for whole in chosen]
    parts = loss_of(weights, 5)(output, batch_of(target, lam, target))
    uniformity, alignment = pairs_one_by_one(output.embedding_BD, target, chosen)
    assert parts["uniformity"].item() == pytest.approx(uniformity, abs=2e-6)
    assert parts["alignment"].item() == pytest.approx(alignment, abs=2e-6)
    parts["loss"].backward()
    assert output.embedding_BD.grad is not None
    assert output.embedding_BD.grad.isfinite().all()


def test_uniformity_of_equal_embeddings_is_zero_and_of_opposite_ones_minus_eight() -> None:
    loss = loss_of({"uniformity": {"weight": 1.0}, "alignment": {"weight": 1.0}})
    one = torch.ones(2, 16).requires_grad_()
    for embedding, uniformity, alignment in ((one, 0, 0), (one * torch.tensor([[1.0], [-1.0]]), -8, 4)):
        parts = loss(replace(output_of(2), embedding_BD=embedding), batch_of([1, 1]))
        assert parts["uniformity"].item() == pytest.approx(uniformity, abs=1e-6)
        assert parts["alignment"].item() == pytest.approx(alignment, abs=1e-6)
        parts["loss"].backward(retain_graph=True)
        assert one.grad is not None
        assert one.grad.isfinite().all()


@given(lam=st.floats(0, 1), own=st.integers(0, 1), other=st.integers(0, 1))
@settings(max_examples=40)
def test_mixed_is_the_weighted_sum_of_both_hard_labels(lam: float, own: int, other: int) -> None:
    loss, output = loss_of({"bce": {"smoothing": 0.1}, "focal": {"weight": 1.0}}), output_of(3)
    mixed = loss(output, batch_of([own] * 3, [lam] * 3, [other] * 3))
    first, second = loss(output, batch_of([own] * 3)), loss(output, batch_of([other] * 3))
    for name in ("bce", "focal"):
        expected = lam * first[name].item() + (1 - lam) * second[name].item()
        assert mixed[name].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_losses_on_embeddings_skip_mixed_samples() -> None:
    loss, output = loss_of(ALL), output_of(6)
    lam = [1.0, 0.4, 1.0, 1.0, 0.9, 1.0]
    parts = loss(output, batch_of([0, 1, 1, 0, 1, 1], lam, [0, 0, 1, 0, 0, 1]))
    alone = [0, 2, 3, 5]
    assert output.frequency_BD is not None
    rest = Output(
        logit_B=output.logit_B[alone],
        embedding_BD=output.embedding_BD[alone],
        frequency_BD=output.frequency_BD[alone],
    )
    expected = loss(rest, batch_of([0, 1, 0, 1]))
    for name in ("arcface", "centre", "uniformity", "alignment"):
        assert parts[name].item() == pytest.approx(expected[name].item(), rel=1e-5)
    parts["loss"].backward()
    assert output.embedding_BD.grad is not None
    touched = output.embedding_BD.grad.abs().sum(1) > 0
    assert touched.tolist() == [lam_i == 1 for lam_i in lam]


@pytest.mark.parametrize(
    "batch",
    [
        batch_of([1, 1, 1]),
        batch_of([0, 0, 0]),
        batch_of([0, 1, 1], [0.5, 1.0, 1.0], [1, 1, 1]),
        batch_of([0, 1, 0], [0.5] * 3, [1, 0, 1]),
    ],
)
def test_a_missing_class_gives_zero_and_reaches_every_parameter(batch: Batch) -> None:
    loss, output = loss_of(ALL), output_of(3)
    parts = loss(output, batch)
    assert parts["centre"].item() == 0
    assert parts["loss"].isfinite()
    parts["loss"].backward()
    for parameter in loss.parameters():  # otherwise a distributed step would wait for its gradient forever
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_loss_is_the_weighted_sum_of_its_parts() -> None:
    loss, output, batch = loss_of(ALL), output_of(6), batch_of([0, 1, 1, 0, 1, 0])
    parts = loss(output, batch)
    assert set(parts) == {"loss", *ALL}
    expected = sum(ALL[name]["weight"] * parts[name].item() for name in ALL)
    assert parts["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_evaluation_excludes_losses_on_embeddings() -> None:
    loss, output, batch = loss_of(ALL).eval(), output_of(6), batch_of([0, 1, 1, 0, 1, 0])
    assert set(loss(output, batch)) == {"loss", "bce", "focal"}
    halves = [loss(_part(output, half), batch_of([0, 1, 1, 0, 1, 0][half]))["loss"].item() for half in HALVES]
    assert loss(output, batch)["loss"].item() == pytest.approx(sum(halves) / 2, rel=1e-5)


HALVES = (slice(0, 3), slice(3, 6))


def _part(output: Output, half: slice) -> Output:
    return Output(logit_B=output.logit_B[half], embedding_BD=output.embedding_BD[half])


def test_arcface_is_finite_at_its_weight_and_in_half_precision() -> None:
    loss = loss_of(ALL)
    assert loss.arcface is not None
    weight = loss.arcface.loss.W
    embedding: Tensor = (weight.detach().T * 3).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        output = Output(logit_B=torch.zeros(2).bfloat16(), embedding_BD=embedding.bfloat16(), frequency_BD=embedding)
        parts = loss(output, batch_of([0, 1]))
    parts["loss"].backward()
    assert weight.dtype == parts["loss"].dtype == torch.float32
    assert embedding.grad is not None
    assert embedding.grad.isfinite().all()


@pytest.mark.parametrize("lam", [None, [1.0, 0.4, 1.0, 1.0, 0.9, 1.0], [0.5] * 6])
def test_a_loss_waits_for_nothing(lam: list[float] | None) -> None:
    loss, output = loss_of(ALL), output_of(6)
    batch = batch_of([0, 1, 1, 0, 1, 1], lam, None if lam is None else [1, 0, 0, 1, 0, 0])
    with dispatch.Counter() as counted:
        loss(output, batch)["loss"].backward()
    assert counted.waits == 0


def test_the_parameters_of_the_loss() -> None:
    names = {name for name, _ in loss_of(ALL).named_parameters()}
    assert names == {"arcface.loss.W", "centre.centre_D"}
    assert set(loss_of(ALL).state_dict()) == names


def test_impossible_losses_are_refused() -> None:
    model = models.build(ResNetConfig(arch="resnet10t.c3_in1k"))
    with pytest.raises(UsageError, match=r"loss\.centre\.weight=0"):
        losses.build(recipes.load("f3net").loss, model)
    with pytest.raises(UsageError, match="learn nothing"):
        loss_of({"bce": {"weight": 0.0}})
