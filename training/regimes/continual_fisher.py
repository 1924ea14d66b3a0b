"""Elastic weight consolidation (Kirkpatrick et al., PNAS 2017) with the exact Fisher information of one logit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from semblance.training.models import Model
from semblance.training.models.base import in_eval
from semblance.training.records import Batch

ByName = dict[str, Tensor]  # parameter -> a tensor of its shape


def trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that are trained, by name."""
    return ((name, one) for name, one in model.named_parameters() if one.requires_grad)


def information(model: Model, batches: Iterable[Batch]) -> ByName:
    """The diagonal of the Fisher information by trained parameter: the mean over pictures of s (1 - s) (dz / dw)^2.

    z is the logit of a picture and s its sigmoid: s (1 - s) (dz / dw)^2 is the expectation of the squared gradient of
    the log likelihood over both labels, weighted by what the model holds of each. So no label is drawn, and that of the
    dataset is not used, which would give the empirical Fisher information, another quantity (Kunstner et al., NeurIPS
    2019). One backward pass for each picture: the square of a batch's mean gradient is not a mean of squares.

    In eval mode, float32 and without changing the model. Raises ValueError if there is no picture.
    """
    names, parameters = zip(*trained(model), strict=True)
    total = [torch.zeros_like(one) for one in parameters]
    pictures = 0
    with in_eval(model), torch.enable_grad():
        for batch in batches:
            for image_1CHW in torch.split(batch.image_BCHW, 1):
                with torch.autocast(image_1CHW.device.type, enabled=False):
                    logit = model(image_1CHW).logit_B.sum()
                gradients = torch.autograd.grad(logit, parameters, allow_unused=True)
                share = torch.sigmoid(logit.detach())
                weight = share * (1 - share)
                for sum_, gradient in zip(total, gradients, strict=True):
                    if gradient is not None:
                        sum_.add_(weight * gradient.square())
                pictures += 1
    if not pictures:
        raise ValueError("the Fisher information needs one picture or more")
    return {name: one / pictures for name, one in zip(names, total, strict=True)}


def penalty(model: nn.Module, fisher: Mapping[str, Tensor], anchor: Mapping[str, Tensor]) -> Tensor:
    """1/2 sum of F (w - w*)^2 over the trained parameters, a number."""
    parts = [(fisher[name] * (one - anchor[name]).square()).sum() for name, one in trained(model)]
    return torch.stack(parts).sum() / 2
