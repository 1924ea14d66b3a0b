"""Protocols with a very small ResNet on small builds: a run takes about a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from semblance.training import recipes
from semblance.training.benchmark.result import Benchmark
from semblance.training.loop.fit import FitOptions
from semblance.training.loop.machine import Machine
from semblance.training.protocols.carry_out import carry_out
from semblance.training.protocols.plan import Plan
from semblance.training.recipes import TrainingRecipe

SETTINGS = (
    "model.arch=test_resnet.r160_in1k",
    "model.pretrained=none",
    "data.mix=null",
    "data.batch_size=8",
    "data.draws=24",
    "augment.size=32",
    "epochs=1",
    "early_stop=null",
    "schedule.warmup_epochs=0",
)
DRAWS = 20


def recipe(*settings: str) -> TrainingRecipe:
    return recipes.load("resnet50", (*SETTINGS, *settings))


def options(**more: Any) -> FitOptions:
    torch.set_num_threads(1)  # with many small operations, threads mostly wait for each other
    machine = Machine(accelerator="cpu", devices=1, workers=0)
    return FitOptions(machine=machine, tracking=None, **more)


def carried_out(plan: Plan, to: Path, said: list[str] | None = None, **more: Any) -> Benchmark:
    lines: list[str] = [] if said is None else said
    return carry_out(plan, to, options(**more), lines.append, draws=DRAWS, date="2026-01-01 00:00 UTC", pictures=False)


def words(outs: Sequence[Path], to: Path, *more: str) -> list[str]:
    """The arguments of a command that does the same."""
    named = [word for out in outs for word in ("--data", str(out))]
    set_ = [word for one in SETTINGS for word in ("--set", one)]
    plain = ("--recipe", "resnet50", "--to", str(to), "--tracking", "none", "--workers", "0", "--accelerator", "cpu")
    return [*named, *plain, *set_, "--draws", str(DRAWS), "--no-pictures", *more]
