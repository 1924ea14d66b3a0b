"""The registry of regimes: what ``regime.kind`` of a recipe may be, and how each kind is configured and made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from semblance.manifests.config import OneOf
from semblance.manifests.registry import Registry
from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.regimes.base import Regime, RegimeConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of regime: its section of the recipe, and how it is made from that, a model and the recipe's loss."""

    config: type[RegimeConfig]
    make: Callable[[Any, Model, Loss], Regime]


REGIMES: Final[Registry[Kind]] = Registry("regime", "regime.kind")
M = TypeVar("M", bound=Callable[[Any, Model, Loss], Regime])
AnyRegimeConfig = Annotated[RegimeConfig, OneOf(lambda: {name: kind.config for name, kind in REGIMES.items()})]


def register(config: type[RegimeConfig]) -> Callable[[M], M]:
    """Decorate a regime, so that recipes may name the ``kind`` of its ``config``.

    It is called with the configuration, the model, and the recipe's loss. Raises ValueError if the kind is taken.
    """

    def add(make: M) -> M:
        REGIMES.add(config.model_fields["kind"].default, Kind(config=config, make=make))
        return make

    return add


def build(config: RegimeConfig, model: Model, loss: Loss) -> Regime:
    """The regime of a new run; raises UsageError where it cannot train this model."""
    return REGIMES.find(config.kind).make(config, model, loss)
