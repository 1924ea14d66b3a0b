"""The interface of attacks, their registry, and the random numbers of each picture.

All pictures are in [0, 1], before normalisation. An attack raises L = -(2y - 1) z, z the logit and y the hard label:
the picture is judged wrongly where L > 0. L is used rather than the cross-entropy, whose gradient is exactly 0 in
float32 for a fake at z >= 17: such a fake would only seem robust.

B: pictures, C: colours, H, W: pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final, Literal, TypeVar

import torch
from torch import Tensor

from semblance.manifests.ids import digest
from semblance.manifests.registry import Registry
from semblance.training.attacks.target import Target

EPS: Final = 0.03  # the plan's, 7.65 grey levels
LADDER: Final = (1 / 255, 2 / 255, 4 / 255, EPS)

Randomness = torch.Generator | Sequence[torch.Generator]


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """How pictures are attacked: called with a target, pictures, hard labels and random numbers.

    ``norm``: what its changes are measured by. ``eps``: the largest change of a value; for an attack of norm ``l2``,
    which looks for the nearest picture, None allows any.
    """

    norm: ClassVar[Literal["linf", "l2"]] = "linf"
    eps: float | None = EPS

    @abstractmethod
    def perturb(
        self, target: Target, image_BCHW: Tensor, target_B: Tensor, generators_B: Sequence[torch.Generator]
    ) -> Tensor:
        """The attacked pictures. ``generators_B``: one generator a picture, of the host."""

    def __call__(self, target: Target, image_BCHW: Tensor, target_B: Tensor, generator: Randomness) -> Tensor:
        """The attacked pictures (B, C, H, W): in [0, 1], within ``eps`` of the given ones, and without a gradient.

        ``target_B``: the hard labels, 0 real and 1 fake. ``generator``: one for each picture (``generators``), so that
        a picture is attacked alike in any batch, up to the rounding of the target; or one of the host for the whole
        batch, from which one is seeded for each picture in turn.
        """
        if len(image_BCHW) == 0:
            return image_BCHW
        many = _seeded(generator, len(image_BCHW)) if isinstance(generator, torch.Generator) else generator
        with torch.inference_mode(False), torch.no_grad():
            clean_BCHW, label_B = image_BCHW.detach().clone(), target_B.detach().clone()
            return self.perturb(target, clean_BCHW, label_B, many)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A named attack: how it is made at a strength, as evaluation uses it, and with few iterations for training.

    ``passes`` and ``quick_passes``: about how many passes of the target a picture takes at most, a gradient counted as
    two. ``black_box``: it asks for logits only.
    """

    make: Callable[..., Attack]
    quick: Callable[..., Attack]
    passes: int
    quick_passes: int
    black_box: bool

    def at(self, eps: float) -> Attack:
        """The attack with a strength."""
        return self.make(eps=eps)


ATTACKS: Final[Registry[Kind]] = Registry("attack", "--attacks")
A = TypeVar("A", bound=type[Attack])


def register(
    name: str, *, passes: int, quick_passes: int | None = None, black_box: bool = False, **quick: Any
) -> Callable[[A], A]:
    """Decorate an attack, so that commands and recipes may name it. ``quick``: its settings in training, if others."""

    def add(attack: A) -> A:
        few = partial(attack, **quick)
        kind = Kind(make=attack, quick=few, passes=passes, quick_passes=quick_passes or passes, black_box=black_box)
        ATTACKS.add(name, kind)
        return attack

    return add


def generators(seed: int, names: Sequence[str]) -> list[torch.Generator]:
    """A generator for each picture, seeded by ``seed`` and its name: its ``sample_id``, or more than that."""
    return [torch.Generator().manual_seed(int(digest("attack", seed, name)[:15], 16)) for name in names]


def _seeded(generator: torch.Generator, count: int) -> list[torch.Generator]:
    seeds = torch.randint(2**62, (count,), generator=generator).tolist()
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def uniform(generators_B: Sequence[torch.Generator], *shape: int, like: Tensor) -> Tensor:
    """(B, *shape) numbers uniform in [0, 1), of each generator its own; drawn in float32 on the host."""
    drawn = torch.stack([torch.rand(shape, generator=generator) for generator in generators_B])
    return drawn.to(like.device, like.dtype)


def within(image_BCHW: Tensor, clean_BCHW: Tensor, eps: float) -> Tensor:
    """The nearest pictures in [0, 1] that differ from the clean ones by ``eps`` at most."""
    return image_BCHW.clamp(clean_BCHW - eps, clean_BCHW + eps).clamp(0, 1)


def over(value_B: Tensor) -> Tensor:
    """(B,) as (B, 1, 1, 1), a number for each picture."""
    return value_B.view(-1, 1, 1, 1)


__all__ = [
    "ATTACKS",
    "EPS",
    "LADDER",
    "Attack",
    "Kind",
    "Randomness",
    "generators",
    "over",
    "register",
    "uniform",
    "within",
]
