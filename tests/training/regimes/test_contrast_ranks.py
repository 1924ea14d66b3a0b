"""Contrast over two ranks is that of one: loss, gradients, batch norms and queue."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from semblance.training import losses, regimes
from semblance.training.records import Batch
from semblance.training.regimes import Chance
from semblance.training.regimes.contrast import SimCLRConfig
from semblance.training.regimes.contrast_moco import MoCoConfig
from tests.conftest import HANG, REPOSITORY
from tests.training import runs

CONFIGS = [
    SimCLRConfig(dim=8),
    SimCLRConfig(dim=8, exclude="none"),
    MoCoConfig(dim=8, hidden=16),
    MoCoConfig(dim=8, hidden=16, queue=50),
]
CHANCE = Chance(seed=0, generator=torch.Generator(), epoch=0, progress=0.0)
SHARES = (slice(0, 10), slice(10, 16))  # five units on one rank, three on the other


def batch(step: int, rows: slice) -> Batch:
    """Noise of eight units, those of two families in turn: the given rows of it."""
    generator = torch.Generator().manual_seed(step)
    image_BCHW = torch.rand(16, 3, 12, 12, generator=generator)[rows]
    names = tuple(f"{step}-{place}" for place in range(16))[rows]
    same: Any = (0,) * len(names)
    return Batch(
        image_BCHW=image_BCHW,
        target_B=torch.zeros(len(names)),
        sample_ids=names,
        video_ids=names,
        tracks=same,
        persons=same,
    )


def made(config: Any) -> tuple[Any, Any]:
    torch.manual_seed(0)
    model = runs.Tiny(norm=False)
    regime = regimes.build(config, model, losses.build(losses.LossConfig(), model))
    regime.groups._of = {f"{step}-{i}": (1 + i // 4, 1 + i // 4) for step in range(3) for i in range(16)}
    return model, regime


def two_steps(config: Any, rows: slice, mean: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """The losses and figures, gradients of the second step, and what the regime keeps. ``mean``: over ranks."""
    model, regime = made(config)
    told = []
    for step in range(2):
        model.zero_grad()
        regime.zero_grad()
        found = regime(model, batch(step, rows), CHANCE)
        found.loss.backward()
        regime.stepped(model)
        told.append({name: float(value) for name, value in found.parts.items()})
    gradients = [mean(one.grad) for one in (*model.parameters(), *regime.parameters()) if one.grad is not None]
    return {"told": told, "gradients": gradients, "state": copy.deepcopy(regime.state_dict())}


def over_ranks(gradient: Tensor) -> Tensor:
    """What torch's data parallel does."""
    dist.all_reduce(gradient)
    return gradient / dist.get_world_size()


def rank_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = [two_steps(config, SHARES[rank], over_ranks) for config in CONFIGS]
    torch.save(found, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """By rank and configuration."""
    folder: Path = tmp_path_factory.mktemp("ranks")
    torch.set_num_threads(1)
    # not forked: a process whose autograd has had threads cannot be, and spawning would import pytest's own
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.regimes.test_contrast_ranks", str(folder)]
    processes = [subprocess.Popen([*command, str(rank)], env=environment) for rank in (0, 1)]
    assert [one.wait(HANG) for one in processes] == [0, 0]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("place", range(len(CONFIGS)))
def test_two_ranks_equal_one(ranks: list[list[dict[str, Any]]], place: int) -> None:
    alone = two_steps(CONFIGS[place], slice(0, 16), lambda gradient: gradient)
    assert sum(bool(one.abs().max() > 1e-3) for one in alone["gradients"]) > 4
    for rank in ranks:
        for ours, theirs in zip(rank[place]["told"], alone["told"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5)
        torch.testing.assert_close(rank[place]["gradients"], alone["gradients"], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(rank[place]["state"], alone["state"], rtol=1e-5, atol=1e-6)


if __name__ == "__main__":  # python -m tests.training.regimes.test_contrast_ranks FOLDER RANK
    rank_of_two(int(sys.argv[2]), sys.argv[1])
