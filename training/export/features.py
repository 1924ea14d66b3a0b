"""OpenVINO's graph of what a model computes before its head, which Monte-Carlo dropout repeats: pictures to features.

B: batch, S: side of the pictures in px, U: clips, T: pictures of a clip, D: features of an embedding.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Image
from semblance.quality import openvino_core
from semblance.training.export.graph import folded
from semblance.training.inference.member import Member, batches
from semblance.training.metrics.classification import Floats
from semblance.training.models import Model
from semblance.training.models.base import Head

TOLERANCE: Final = 1e-4  # of a feature, or of the largest one if that is above 1
NAMES: Final = ("image", "features")  # of the graph's input and output
Ask = Callable[[Floats], Floats]  # float32 (B, 3, S, S) in [0, 1] -> float32 (B, ...), of clips (U, T, D)


class Features(nn.Module):
    """``Model.features`` as a module, in 32 bits."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = folded(model)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.model.features(image_BCHW).float()


def has_any(model: Model) -> bool:
    """Whether the model computes features before its head; else ``Model.features`` is the pictures themselves."""
    return type(model).features is not Model.features or isinstance(getattr(model, "head", None), Head)


def write(member: Member, file: Path, images: Sequence[Image] = ()) -> float | None:
    """Write FILE.xml and FILE.bin, which take any batch of pictures, of a clip model any number of whole clips.

    Returns the largest difference of a feature from torch's, over noise and the crops ``images``; None, and no file,
    if the model has no features. Raises SemblanceError if a difference is above the tolerance.
    """
    model, size, length = member.trained.model.cpu(), member.size, member.clip
    if not has_any(model):
        return None
    openvino_core.without_telemetry()
    import openvino

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        converted = openvino.convert_model(_program(Features(model).eval(), size, length))
    (taken,), (given,) = converted.inputs, converted.outputs
    taken.get_tensor().set_names({NAMES[0]})
    taken.get_node().set_friendly_name(NAMES[0])
    taken.get_node().set_partial_shape(openvino.PartialShape([-1, 3, size, size]))
    given.get_tensor().set_names({NAMES[1]})
    converted.validate_nodes_and_infer_types()
    openvino.save_model(converted, str(file), compress_to_fp16=False)
    off = difference(member, file, images)
    if not off <= TOLERANCE:
        raise SemblanceError(
            f"OpenVINO's features of {member.name} are up to {off:.3g} off torch's, more than {TOLERANCE:g}; please "
            "report the model and the versions."
        )
    return off


def _program(features: Features, size: int, length: int) -> torch.export.ExportedProgram:
    """The graph as torch.export sees it, of any batch size."""
    example = torch.rand(2 * length, 3, size, size, generator=torch.Generator().manual_seed(0))
    units: Any = torch.export.Dim("units", min=1)
    features(example)  # makes the constants that depend on sizes
    return torch.export.export(
        features, (example,), dynamic_shapes={"image_BCHW": {0: units if length == 1 else length * units}}
    )


def read(file: Path) -> Ask:
    """The process's one Core, on one CPU thread, in 32 bits."""
    core = openvino_core.core()
    compiled = core.compile_model(core.read_model(str(file)), "CPU", openvino_core.CPU)

    def ask(image_BCHW: Floats) -> Floats:
        return np.array(compiled({NAMES[0]: np.ascontiguousarray(image_BCHW, np.float32)})[NAMES[1]])

    return ask


def difference(member: Member, file: Path, images: Sequence[Image] = ()) -> float:
    """The largest difference of a feature between file and model, in parts of the largest feature if that is above 1.

    Over noise and the crops ``images``, all together and the first one (the first clip) alone.
    """
    ask, model = read(file), member.trained.model.cpu()
    noise = torch.rand(2 * member.clip, 3, member.size, member.size, generator=torch.Generator().manual_seed(1))
    image_BCHW = torch.cat([noise, *batches(images, member.size)])
    image_BCHW = image_BCHW[: len(image_BCHW) // member.clip * member.clip]
    off = 0.0
    for one_BCHW in (image_BCHW, image_BCHW[: member.clip]):
        with torch.no_grad():
            wanted = model.features(one_BCHW).float().numpy()
        found = ask(one_BCHW.numpy())
        if found.shape != wanted.shape or not np.isfinite(found).all():
            return float("inf")
        off = max(off, float(np.abs(found - wanted).max() / max(1.0, float(np.abs(wanted).max()))))
    return off
