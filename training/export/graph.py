"""A run as one module of plain tensors: bytes of pictures in, logit and probability out.

B: batch, S: side of the pictures in px, T: pictures of a clip. The pictures of a clip model are (B, T, 3, S, S).
"""

from __future__ import annotations

import copy
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from semblance.manifests.errors import UsageError
from semblance.training.inference.member import Member
from semblance.training.inference.predictor import Predictor
from semblance.training.models import Model

OUTPUTS: Final = ("logit", "probability")


class Graph(nn.Module):
    """What a predictor computes of square crops, uint8 (B, 3, S, S) RGB, one input for each size of its members.

    Of a clip model it computes clips, (B, T, 3, S, S). Returns the logit (B,), weighted over the members and with
    mirror images where the run asks for them, and the calibrated probability of fake of a picture (B,). Scaling and
    normalisation are inside; resizing is not.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.sizes = sizes(predictor)
        self.places = [self.sizes.index(member.size) for member in predictor.members]
        self.mirrors = [member.mirror for member in predictor.members]
        self.weights = predictor.weights
        self.temperature = predictor.frame_temperature
        self.models = nn.ModuleList(folded(member.trained.model) for member in predictor.members)
        self.clips = clip(predictor) > 1
        self.eval()

    def forward(self, *bytes_BCSS: Tensor) -> tuple[Tensor, Tensor]:
        images = [(one.flatten(0, 1) if self.clips else one).to(torch.float32) / 255 for one in bytes_BCSS]
        logit_B = images[0].new_zeros(())
        for model, place, mirror, weight in zip(self.models, self.places, self.mirrors, self.weights, strict=True):
            one_B = model(images[place]).logit_B
            if mirror:
                one_B = (one_B + model(images[place].flip(3)).logit_B) / 2
            logit_B = logit_B + weight * one_B
        return logit_B, torch.sigmoid(logit_B / self.temperature)


def sizes(predictor: Predictor) -> list[int]:
    """The sides of the pictures that its members take, each once, ascending."""
    return sorted({member.size for member in predictor.members})


def clip(predictor: Predictor) -> int:
    """T of its clips, 1 for pictures. Raises UsageError if its members take different ones, which no file can hold."""
    found = sorted({member.clip for member in predictor.members})
    if len(found) > 1:
        raise UsageError(
            f"{predictor.path} has members over {' and '.join(map(str, found))} pictures, which one file cannot take; "
            "export its member runs."
        )
    return found[0]


def shape(predictor: Predictor, size: int) -> list[int]:
    """The shape of an input of that side, without the batch."""
    length = clip(predictor)
    return [3, size, size] if length == 1 else [length, 3, size, size]


def inputs(predictor: Predictor) -> dict[str, int]:
    """The names of a graph's inputs and their sides: ``image``, or ``image_112`` and so on if there are several."""
    found = sizes(predictor)
    return {"image" if len(found) == 1 else f"image_{size}": size for size in found}


def examples(predictor: Predictor, batch: int = 2) -> tuple[Tensor, ...]:
    """Noise of the right shapes to trace with."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randint(0, 256, (batch, *shape(predictor, size)), dtype=torch.uint8, generator=generator)
        for size in sizes(predictor)
    )


def program(predictor: Predictor) -> torch.export.ExportedProgram:
    """The graph as torch.export sees it, of any batch size."""
    graph, pictures = Graph(predictor), examples(predictor)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        graph(*pictures)  # makes the constants that depend on sizes
        return torch.export.export(graph, pictures, dynamic_shapes={"bytes_BCSS": tuple({0: batch} for _ in pictures)})


def folded(model: Model) -> Model:
    """A copy on the CPU in eval mode, with each parametrized weight (spectral norm's) replaced by its value.

    OpenVINO has no operation for the product by which torch computes a spectral norm (``aten::vdot``), and at
    inference its result is constant.
    """
    copied = copy.deepcopy(model).cpu().eval()
    for part in list(copied.modules()):
        if parametrize.is_parametrized(part):
            values = {name: getattr(part, name).detach().clone() for name in part.parametrizations}  # type: ignore[union-attr]
            del part.parametrizations
            # not remove_parametrizations, which changes the class that the copy shares with the model (torch 2.15)
            part.__class__ = type(part).__bases__[0]
            for name, value in values.items():
                part.register_parameter(name, nn.Parameter(value))
    return copied.requires_grad_(False)


def plain_logit(member: Member, bytes_BCSS: Tensor) -> Tensor:
    """(B,) the member's logits of the pictures (or clips) alone, in float32 on the CPU, by the model as trained."""
    flat_BCSS = bytes_BCSS.flatten(0, -4) if member.clip > 1 else bytes_BCSS
    with torch.no_grad():
        return member.trained.model.cpu()(flat_BCSS.to(torch.float32) / 255).logit_B
