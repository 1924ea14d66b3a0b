"""All tensors of one model under this package's names, which ``model.pretrained`` takes: no code can hide in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from semblance.manifests.config import canonical_json, fingerprint
from semblance.training import models
from semblance.training.export.registry import Ask, Format, Pictures, only_member, register
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics.classification import Floats
from semblance.training.models import lora, tensors


def write(predictor: Predictor, file: Path) -> None:
    """The weights that inference uses (the moving average, if the run kept one), those of its base and low-rank
    products merged; the model's recipe as metadata."""
    member = only_member(predictor, "a safetensors file")
    recipe = member.trained.recipe
    metadata = {
        "format": "pt",
        tensors.METADATA: canonical_json(recipe.model.model_dump(mode="json")),
        "semblance.run": predictor.name,
        "semblance.recipe": recipe.name,
        "semblance.recipe_fingerprint": fingerprint(recipe.model_dump(mode="json")),
        "semblance.checkpoint_sha256": member.sha256,
        "semblance.epoch": str(member.trained.epoch + 1),
    }
    if (licence := member.trained.model.licence) is not None:
        metadata[tensors.LICENCE] = licence
    state = lora.merged(member.trained.model.state_dict())
    save_file({name: value.contiguous() for name, value in state.items()}, file, metadata)


def read(file: Path, predictor: Predictor) -> Ask:
    """A new model that ``model.pretrained`` fills from the file."""
    member = predictor.members[0]
    model = models.build(member.trained.recipe.model.model_copy(update={"pretrained": str(file)})).eval()

    def ask(pictures: Pictures) -> Floats:
        with torch.no_grad():
            logit_B = model(torch.from_numpy(pictures[member.size]).to(torch.float32) / 255).logit_B
        return np.asarray(logit_B.double().numpy())

    return ask


register("safetensors", Format(suffix=".safetensors", write=write, read=read, answers="weights"))
