"""A run of every kind of model, and an ensemble, as if they had been trained."""

from __future__ import annotations

from pathlib import Path

import torch

from semblance.training import models, recipes
from semblance.training.ensemble import fit
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir
from tests.training import clip_runs, untrained
from tests.training.export import runs

KINDS = ("resnet", "efficientnet", "mirrored", "f3net", "lora", "ensemble", "attention", "transformer")


def make(folder: Path, out: Path) -> dict[str, Path]:
    """The runs by kind, and ``frame``, which the clip models are over; trained on a build."""
    found = {kind: runs.make(folder / kind, out, kind) for kind in runs.KINDS}
    found["lora"] = lora(folder / "lora", out)
    found["frame"] = untrained.make(folder / "frame", [out], gain=9)
    for pooling in ("attention", "transformer"):
        settings = (f"model.pooling={pooling}", "tta=mirror")
        found[pooling] = clip_runs.make(folder / pooling, found["frame"], *settings)
    found["ensemble"] = folder / "ensemble"
    fit.combine([str(out)], [str(found["f3net"]), str(found["frame"])], found["ensemble"], say=lambda _: None)
    return found


def lora(folder: Path, out: Path) -> Path:
    """A vision transformer with low-rank products of which none is zero."""
    settings = ("model.arch=test_vit", "model.pretrained=none", "model.size=32", "augment.size=32")
    recipe = recipes.load(
        "vit_s_norms_small", (*settings, "model.trainable=lora", "model.lora_rank=2", "model.dropout=0.3")
    )
    torch.manual_seed(0)
    model = models.build(recipe.model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("b_OR"):
                parameter.normal_(0, 0.5)
    values = {"epoch": 0, "step": 1, "figures": {}, "loss": {}, "average": None, "model": model.state_dict()}
    run = RunDir(folder)
    run.begin(recipe, [untrained.trained(out)], 0)
    checkpoint.save(run.best, {"recipe": recipe.model_dump(mode="json"), "datasets": [untrained.trained(out)]} | values)
    return folder
