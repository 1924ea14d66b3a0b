"""Runs of a temporal head over a frame run: as ``training fit`` leaves them, or with weights drawn at random."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from semblance.training import models, recipes
from semblance.training.loop.fit import FitOptions, fit
from semblance.training.loop.machine import Machine
from semblance.training.models import tuned
from semblance.training.models.temporal import Temporal
from semblance.training.recipes import TrainingRecipe
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir

LENGTH = 3  # faces of a clip


def recipe(frame: Path, *settings: str, length: int = LENGTH) -> TrainingRecipe:
    given = (f"model.frames_from={frame}", f"model.frames={length}", f"data.clip.frames={length}")
    small = ("data.clip.step=1", "augment.size=32", "epochs=2", "model.width=16", "optimiser.lr=0.01")
    return recipes.load("temporal_small", (*given, *small, *settings))


def train(out: Path, run: Path, one: TrainingRecipe, **options: Any) -> Path:
    """Train on one core."""
    torch.set_num_threads(1)
    machine = Machine(
        accelerator="cpu",
        workers=0,
        save_every=options.pop("save_every", 50),
        devices=options.pop("devices", None),
    )
    fit([str(out)], one, RunDir(run), FitOptions(machine=machine, tracking=None, **options), say=lambda _: None)
    return run


def model(frame: Path, *settings: str, drawn: bool = True, length: int = LENGTH) -> Temporal:
    """A new head over a run; ``drawn``: what starts at zero is drawn at random, as training would leave it."""
    torch.manual_seed(0)
    found = models.build(recipe(frame, *settings, length=length).model).eval()
    assert isinstance(found, Temporal)
    if drawn:
        with torch.no_grad():
            for parameter in found.pool.parameters():
                parameter.normal_(0, 0.5)
    return found


def make(folder: Path, frame: Path, *settings: str, length: int = LENGTH) -> Path:
    """Write an untrained run into ``folder``, with what the frame run has seen."""
    one, new = recipe(frame, *settings, length=length), model(frame, *settings, length=length)
    before = checkpoint.load(frame / "checkpoints" / "best.ckpt")
    run = RunDir(folder)
    run.begin(one, before["datasets"], 0)
    assert new.base is not None
    values = {"recipe": one.model_dump(mode="json"), "base": asdict(new.base)}
    checkpoint.save(run.best, before | values | {"model": tuned.kept(new, new.state_dict())})
    return folder


if __name__ == "__main__":  # python -m tests.training.clip_runs FRAME OUT RUN [SETTING ...], on two ranks
    frame_run, build, to, *more = sys.argv[1:]
    train(Path(build), Path(to), recipe(Path(frame_run), *more), devices=2)
