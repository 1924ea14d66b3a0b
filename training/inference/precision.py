"""Where and how precisely networks run: on a GPU in bfloat16 and channels last up to the head, on a CPU in float32.

The head, its passes of dropout and the logit are always float32: a logit of 8 bits would tie the scores of many videos.
B: batch, H, W: pixels, F: whatever ``Model.features`` returns.
"""

from __future__ import annotations

import threading
from typing import Final

import torch
from torch import Tensor

from semblance.training.models import Model

# One thread at a time: dropout is switched on in the module itself, and torch has one generator for all threads, which
# a forward pass would use up while another thread draws.
HEADS: Final = threading.Lock()


def device() -> torch.device:
    """A GPU if torch can use one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def half(where: torch.device) -> torch.dtype | None:
    """The type that a device computes features in: bfloat16 on a GPU that has it, None for float32.

    float16 is no choice: its largest number is 65504, which F3-Net's spectra exceed.
    """
    has_it = where.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has_it else None


def place(model: Model, where: torch.device) -> Model:
    """The model on a device, there with its channels last if that computes in half precision."""
    model.to(where)
    if half(where) is not None:
        model.to(memory_format=torch.channels_last)
    return model


def features(model: Model, image_BCHW: Tensor, kind: torch.dtype | None = None) -> Tensor:
    """``model.features`` in float32, (B, F), computed in ``kind``, by default what ``half`` says for their device.

    A model of its own kind, whose features are the pictures themselves, is thus computed in float32 as a whole.
    """
    kind = half(image_BCHW.device) if kind is None else kind
    if model.concurrent:
        return model.features(image_BCHW)
    with HEADS:
        return _features(model, image_BCHW, kind)


def _features(model: Model, image_BCHW: Tensor, kind: torch.dtype | None) -> Tensor:
    if kind is None:
        return model.features(image_BCHW)
    with torch.autocast(image_BCHW.device.type, kind):
        found = model.features(image_BCHW.contiguous(memory_format=torch.channels_last))
    return found.float()


def logits(model: Model, image_BCHW: Tensor) -> Tensor:
    """(B,) logits of pictures (B, 3, H, W) in [0, 1]."""
    found = features(model, image_BCHW)
    with HEADS:
        return model.classify(found).logit_B
