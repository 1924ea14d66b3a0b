"""The regimes, one interface for all; a file in this folder that registers a regime is one."""

from __future__ import annotations

from semblance.training.regimes.base import Chance, Regime, RegimeConfig, Stage, Step
from semblance.training.regimes.registry import REGIMES, AnyRegimeConfig, Kind, build, register

REGIMES.discover(__name__, __path__)

__all__ = [
    "REGIMES",
    "AnyRegimeConfig",
    "Chance",
    "Kind",
    "Regime",
    "RegimeConfig",
    "Stage",
    "Step",
    "build",
    "register",
]
