"""Weights under timm's names: what ``timm.create_model(NAME, num_classes=1, checkpoint_path=FILE)`` takes.

A vision transformer also needs ``img_size=SIZE``, the side of its pictures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from semblance.manifests.errors import UsageError
from semblance.training.export.registry import Ask, Format, Pictures, only_member, register
from semblance.training.inference.member import Member
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics.classification import Floats
from semblance.training.models import lora
from semblance.training.models.base import Head, Normalise

_PARTS: Final = {"normalise", "backbone", "head"}


def write(predictor: Predictor, file: Path) -> None:
    """The backbone without its prefix, and the head as timm's classifier of one class, as safetensors."""
    member = only_member(predictor, "a file for timm")
    save_file(_named(member), file, {"format": "pt"})


def read(file: Path, predictor: Predictor) -> Ask:
    """timm's own model with the file, on normalised pictures."""
    member = predictor.members[0]
    sized: dict[str, Any] = {"img_size": member.size} if member.trained.recipe.model.fixed_size else {}
    model = timm.create_model(_arch(member), num_classes=1, checkpoint_path=str(file), **sized).eval()
    normalise = _part(member, "normalise", Normalise)

    def ask(pictures: Pictures) -> Floats:
        bytes_BCSS = torch.from_numpy(pictures[member.size])
        with torch.no_grad():
            logit_B1 = model(normalise(bytes_BCSS.to(torch.float32) / 255))
        return np.asarray(logit_B1.squeeze(1).double().numpy())

    return ask


def _named(member: Member) -> dict[str, Tensor]:
    head = _part(member, "head", Head)
    backbone: Any = getattr(member.trained.model, "backbone", None)
    classifier = getattr(backbone, "pretrained_cfg", {}).get("classifier")
    parts = {name for name, _ in member.trained.model.named_children()}
    if not isinstance(classifier, str) or parts != _PARTS:  # more, such as the unit length of features, timm lacks
        raise _foreign(member)
    state = {name: value.contiguous() for name, value in lora.merged(backbone.state_dict()).items()}
    return state | {f"{classifier}.{name}": value.contiguous() for name, value in head.linear.state_dict().items()}


def _arch(member: Member) -> str:
    model = member.trained.recipe.model
    arch = getattr(model, "arch", None)
    if arch is None or getattr(model, "width", 1) != 1:  # timm's names know no other width
        raise _foreign(member)
    return str(arch)


def _part(member: Member, name: str, kind: type[Any]) -> Any:
    part = getattr(member.trained.model, name, None)
    if not isinstance(part, kind):
        raise _foreign(member)
    return part


def _foreign(member: Member) -> UsageError:
    return UsageError(
        f"timm has no model like {member.name} (model.kind {member.trained.recipe.model.kind}); export it as onnx, "
        "openvino, torchscript or safetensors."
    )


register("timm", Format(suffix=".safetensors", write=write, read=read, answers="weights", stem="timm"))
