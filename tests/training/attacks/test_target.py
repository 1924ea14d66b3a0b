"""What is attacked is left as it was found, and its gradients are right."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from semblance.manifests.errors import UsageError
from semblance.training import models
from semblance.training.attacks import ATTACKS, Target, generators, of_model
from semblance.training.attacks.gradient import Pgd
from semblance.training.models import Model, ModelConfig
from semblance.training.models.base import freeze
from semblance.training.models.efficientnet import EfficientNetConfig
from semblance.training.models.f3net import F3NetConfig
from semblance.training.models.resnet import ResNetConfig
from tests.training.attacks import nets
from tests.training.attacks.nets import Small

SMALL = (
    ResNetConfig(arch="resnet10t.c3_in1k"),
    EfficientNetConfig(arch="tf_efficientnet_b0.ap_in1k"),
    F3NetConfig(size=64, width=0.25),
)


def lively(config: ModelConfig) -> Model:
    """A model with random weights whose batch norms are not those of an untrained one, which pass hardly a gradient."""
    model = models.build(config).train()
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(0, 0.2)
        for _ in range(3):
            model(torch.rand(4, 3, 64, 64))
    return model


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_a_model_is_left_as_it_was(attack: str, small: Small) -> None:
    model = copy.deepcopy(small).train()
    body = list(model.body)
    body[1].eval()  # flags of parts differ, and one does not learn
    freeze(body[3])
    image_BCHW, target_B = nets.faces(4, 9)
    model(image_BCHW).logit_B.sum().backward()
    before = copy.deepcopy(model)
    grads = [None if one.grad is None else one.grad.clone() for one in model.parameters()]
    flags = [part.training for part in model.modules()]
    learns = [one.requires_grad for one in model.parameters()]
    host, numbers = torch.get_rng_state(), torch.Generator().manual_seed(5)
    clean_BCHW = image_BCHW.clone()
    ATTACKS.find(attack).quick(eps=0.03)(of_model(model), image_BCHW, target_B, numbers)
    assert [part.training for part in model.modules()] == flags
    assert [one.requires_grad for one in model.parameters()] == learns
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name])
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        kept = parameter.grad
        assert (kept is None) == (grad is None) == (not parameter.requires_grad)
        assert kept is None or grad is None or torch.equal(kept, grad)
    assert torch.equal(torch.get_rng_state(), host)
    assert torch.equal(image_BCHW, clean_BCHW)
    assert not image_BCHW.requires_grad


@pytest.mark.parametrize("config", SMALL, ids=lambda config: config.kind)
def test_a_model_of_the_plan_is_left_as_it_was(config: ModelConfig) -> None:
    """Statistics of batch norm, and the vectors of spectral norm; crafted in train mode nearly all would change."""
    model = lively(config)
    before = {name: tensor.clone() for name, tensor in (*model.named_buffers(), *model.named_parameters())}
    image_BCHW = torch.rand(2, 3, 64, 64)
    found_BCHW = Pgd(steps=2)(of_model(model), image_BCHW, torch.tensor([0.0, 1.0]), torch.Generator())
    after = dict((*model.named_buffers(), *model.named_parameters()))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training
    assert (found_BCHW != image_BCHW).float().mean() > 0.9


def test_half_precision_takes_no_gradient_away(small: Small) -> None:
    """Under autocast to float16, whose smallest number is 6e-8, a faint gradient would be 0."""
    faint = nets.Small(gain=1e-6).eval()
    faint.load_state_dict(small.state_dict())
    image_BCHW, target_B = nets.faces(4, 9)
    _, exact_BCHW = of_model(faint).gradient(image_BCHW, target_B)
    with torch.autocast("cpu", torch.float16):
        _, gradient_BCHW = of_model(faint).gradient(image_BCHW, target_B)
    assert torch.equal(gradient_BCHW, exact_BCHW)
    assert (gradient_BCHW != 0).all()


def test_a_model_that_fails_is_left_as_it_was_too() -> None:
    model = Small().train()
    with pytest.raises(RuntimeError):
        of_model(model).gradient(torch.rand(2, 5, 16, 16), torch.ones(2))
    assert all(part.training for part in model.modules())
    assert all(one.requires_grad for one in model.parameters())


@pytest.mark.parametrize("config", SMALL, ids=lambda config: config.kind)
def test_gradients_are_those_of_differences(config: ModelConfig) -> None:
    """Central differences along random directions; the cosine transform of F3-Net is in float32."""
    model, exact = lively(config), config.kind != "f3net"
    kind = torch.float64 if exact else torch.float32
    target = of_model(model.to(kind))
    draw = torch.Generator().manual_seed(1)
    image_BCHW = torch.rand(2, 3, 64, 64, generator=draw, dtype=kind)
    target_B = torch.tensor([0, 1], dtype=kind)
    _, gradient_BCHW = target.gradient(image_BCHW, target_B)
    step = 1e-6 if exact else 3e-4
    for _ in range(3):
        along_BCHW = torch.randn(image_BCHW.shape, generator=draw, dtype=kind) / image_BCHW[0].numel() ** 0.5
        along_BCHW = along_BCHW + gradient_BCHW / gradient_BCHW.norm()  # so that the slope is not near 0
        difference_B = target.loss(image_BCHW + step * along_BCHW, target_B) - target.loss(
            image_BCHW - step * along_BCHW, target_B
        )
        slope_B = (gradient_BCHW * along_BCHW).flatten(1).sum(1)
        assert torch.allclose(difference_B / (2 * step), slope_B, rtol=1e-6 if exact else 1e-2)


def test_attacks_work_inside_inference_mode(small: Small) -> None:
    image_BCHW, target_B = nets.faces(4, 9)
    pgd, target = ATTACKS.find("pgd").at(0.03), of_model(small)
    outside_BCHW = pgd(target, image_BCHW, target_B, generators(0, "abcd"))
    with torch.inference_mode():
        inside_BCHW = pgd(target, image_BCHW * 1, target_B * 1, generators(0, "abcd"))
    assert torch.equal(inside_BCHW, outside_BCHW)
    assert not torch.equal(inside_BCHW, image_BCHW)
    assert not inside_BCHW.is_inference()


def test_any_combination_of_models_is_a_target() -> None:
    """FGSM follows the gradient of the combined logit, not that of a member."""
    model, image_BCHW, target_B = nets.linear(1)
    other, _, _ = nets.linear(2)

    def logits(image_BCHW: Tensor) -> Tensor:
        return 0.3 * model(image_BCHW).logit_B + 0.7 * other(image_BCHW).logit_B

    shared = zip(model.parameters(), other.parameters(), strict=True)
    weight_D, bias = (0.3 * one.detach() + 0.7 * two.detach() for one, two in shared)
    both, target = nets.Linear(weight_D, float(bias)), Target(logits, (model, other))
    found_BCHW = ATTACKS.find("fgsm").at(0.03)(target, image_BCHW, target_B, torch.Generator())
    assert torch.allclose(-of_model(both).loss(found_BCHW, target_B), nets.exact(both, image_BCHW, target_B, 0.03))


def test_a_target_without_a_gradient_is_refused() -> None:
    target = Target(lambda image_BCHW: image_BCHW.detach().sum((1, 2, 3)))
    with pytest.raises(UsageError, match="no gradient"):
        target.gradient(torch.rand(2, 3, 4, 4), torch.ones(2))


def test_passes_are_counted() -> None:
    model, image_BCHW, target_B = nets.linear()
    for name in ("fgsm", "pgd"):
        target = of_model(model)
        ATTACKS.find(name).at(0.03)(target, image_BCHW, target_B, torch.Generator())
        assert target.passes == ATTACKS.find(name).passes * len(image_BCHW)
