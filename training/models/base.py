"""The interface of models: from pictures in [0, 1] to one logit and its embedding; parts that are not trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Self

import torch
from torch import Tensor, nn

from semblance.manifests.config import Config
from semblance.training.records import Output

_FROZEN: Final = "semblance_frozen"  # attribute of a part that ``freeze`` was called for


class ModelConfig(Config):
    """What all models have in common.

    ``pretrained``: ``imagenet`` (through timm, if the weights can be reached), ``none``, a local file of weights for
    the backbone (of timm, torchvision or a plain state_dict), or the folder of a run, which fills the whole model.
    ``kind``: the name of the model, a constant of each subclass. ``base_key``: the setting that names where the
    weights that are not trained come from, from which a checkpoint of the others is completed. ``fixed_size``: the
    model takes pictures of its setting ``size`` and no others.
    """

    base_key: ClassVar[str] = "pretrained"
    fixed_size: ClassVar[bool] = False
    pretrained: Literal["imagenet", "none"] | str = "none"
    kind: str

    @property
    def members(self) -> int:
        """``Model.members`` of its models."""
        return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Where the tensors of a model that are not trained can be had again.

    ``source``: ``imagenet``, or the absolute path of a file or run. ``sha256``: that of the tensors themselves.
    """

    source: str
    sha256: str


class Model(nn.Module, ABC):
    """A detector.

    ``embedding_dim`` is D of ``embedding_BD``, ``frequency_dim`` that of ``frequency_BD``. ``origin``: the
    source of its weights, ``licence`` their licence by timm's name (``unknown``; None: random weights). ``base``: that
    of the tensors that are not trained; None if all are, or if they are random. ``members``: the pictures of a score. A
    clip model has more than one: it takes B pictures of U = B / members clips, those of a clip adjacent and in time
    order, and its logit and embeddings are of U. ``side``: that of the pictures of its frozen part's training in px;
    None if any will do. ``concurrent``: several threads may ask for its features at once.
    """

    members: int = 1
    side: int | None = None
    embedding_dim: int
    frequency_dim: int | None = None
    concurrent: bool = False
    origin: str = "random weights"
    licence: str | None = None
    base: Base | None = None

    def settle(self) -> None:
        """Called once when all weights are there: freeze what the configuration does not train. Here: nothing.

        Parameters that are not trained get ``requires_grad_(False)``. A part that is not trained at all is passed to
        ``freeze`` instead, which also keeps its statistics and its dropout still.
        """

    def train(self, mode: bool = True) -> Self:
        """As in torch, but frozen parts stay in eval mode, in training too."""
        super().train(mode)
        for part in frozen_parts(self):
            nn.Module.train(part, False)
        return self

    @abstractmethod
    def forward(self, image_BCHW: Tensor) -> Output:
        """The output for float pictures (B, 3, H, W) in [0, 1], RGB; the model normalises them itself."""

    def features(self, image_BCHW: Tensor) -> Tensor:
        """What ``classify`` needs of the pictures, (B, ...): computed once for all passes of Monte-Carlo dropout.

        This one serves a model whose ``head`` takes the embedding. For another model it is the pictures themselves;
        one that overrides both methods keeps its dropout layers out of this one.
        """
        return self(image_BCHW).embedding_BD if isinstance(getattr(self, "head", None), Head) else image_BCHW

    def classify(self, features: Tensor) -> Output:
        """The output from ``features``: the last part of ``forward``, with all dropout of Monte-Carlo dropout."""
        head = getattr(self, "head", None)
        return Output(logit_B=head(features), embedding_BD=features) if isinstance(head, Head) else self(features)

    def __call__(self, image_BCHW: Tensor) -> Output:
        output: Output = super().__call__(image_BCHW)
        return output


def freeze(part: nn.Module) -> None:
    """Never train ``part``: no gradients, and eval mode in training too, so that none of its tensors changes.

    It must belong to a ``Model``, which keeps its mode.
    """
    part.requires_grad_(False)
    setattr(part, _FROZEN, True)
    nn.Module.train(part, False)


@contextmanager
def in_eval(*modules: nn.Module) -> Iterator[None]:
    """The modules in eval mode; afterwards each of their parts is back in the mode that it had."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, training in modes:
            part.training = training


def frozen_parts(model: nn.Module) -> Iterator[nn.Module]:
    """The parts that ``freeze`` was called for."""
    return (part for part in model.modules() if getattr(part, _FROZEN, False))


class Normalise(nn.Module):
    """(B, 3, H, W) in [0, 1] to zero mean and unit deviation, by the given mean and deviation of each colour."""

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.register_buffer("mean_C11", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std_C11", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return (image_BCHW - self.mean_C11) / self.std_C11


class Head(nn.Module):
    """(B, D) to the logit (B,): dropout, then one linear layer, in float32 (at least) also under autocast.

    In 16 bits scores would be rounded to some hundred values, and pictures would tie.
    """

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, 1)

    def forward(self, embedding_BD: Tensor) -> Tensor:
        with torch.autocast(embedding_BD.device.type, enabled=False):
            exact_BD = embedding_BD.to(torch.promote_types(embedding_BD.dtype, torch.float32))
            logit_B1: Tensor = self.linear(self.dropout(exact_BD))
        return logit_B1.squeeze(1)
