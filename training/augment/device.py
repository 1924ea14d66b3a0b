"""The augmentation of a whole batch where it is trained on, from the rows that its workers drew.

B: batch, C: 3 colours (RGB), H, W: pixels, K: columns of a row, N: pictures that a step changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np
import torch
from torch import Tensor

from semblance.training.augment import batched, draws
from semblance.training.augment.config import AugmentConfig
from semblance.training.records import Batch, to_device

Columns = Callable[..., Tensor]  # names of columns -> their values for N pictures, (columns, N)


def on_device(batch: Batch, config: AugmentConfig) -> Batch:
    """A batch of uint8 pictures with the rows ``draws_BK``, augmented on its device: float32 in [0, 1], without rows.

    The pictures keep their order of memory (``channels_last``), as those of validation do.
    The steps are mirror, rotation and window in one interpolation, colour jitter, noise on the spectrum, and grid mask.
    Each takes only the pictures that it changes. The rows are on the host, and nothing waits for the device.
    """
    assert batch.draws_BK is not None
    device = batch.image_BCHW.device
    image_BCHW = batch.image_BCHW.to(torch.float32, memory_format=torch.contiguous_format)
    rows_KB, indices = _sent(batch.draws_BK, device)
    for index_N, step in zip(indices, _STEPS.values(), strict=True):
        if len(index_N):
            rows_KN = rows_KB[:, index_N]
            image_BCHW.index_copy_(0, index_N, step(image_BCHW[index_N], _columns(rows_KN), config))
    last = batch.image_BCHW.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return replace(batch, image_BCHW=image_BCHW.div_(255).contiguous(memory_format=layout), draws_BK=None)


def _sent(draws_BK: Tensor, device: torch.device) -> tuple[Tensor, list[Tensor]]:
    """The rows as (K, B) and, for each step, the pictures that it changes, brought to the device in one piece."""
    rows_KB = np.ascontiguousarray(draws_BK.numpy().T)
    indices = [np.flatnonzero(rows_KB[draws.COLUMNS.index(name)]) for name in _STEPS]
    parts = [rows_KB.ravel(), *(index.astype(np.float32) for index in indices)]
    together = to_device(torch.from_numpy(np.concatenate(parts)), device)
    sent = torch.split(together, [len(part) for part in parts])
    return sent[0].view(rows_KB.shape), [index.long() for index in sent[1:]]


def _columns(rows_KN: Tensor) -> Columns:
    places = {name: place for place, name in enumerate(draws.COLUMNS)}
    return lambda *names: torch.stack([rows_KN[places[name]] for name in names])


def _warped(image_NCHW: Tensor, of: Columns, _: AugmentConfig) -> Tensor:
    flip_N, angle_N = of("flip", "angle")
    return batched.warp(image_NCHW, flip_N, angle_N, of("top", "left", "height", "width"))


def _jittered(image_NCHW: Tensor, of: Columns, _: AugmentConfig) -> Tensor:
    hue_N, order_N = of("hue", "order")
    order_4N = _orders(image_NCHW.device)[:, order_N.long()]
    return batched.jitter(image_NCHW, of("brightness", "contrast", "saturation"), hue_N, order_4N)


def _noisy(image_NCHW: Tensor, of: Columns, config: AugmentConfig) -> Tensor:
    normal_NHW = batched.normal(of("seed")[0], *image_NCHW.shape[2:])
    return batched.spectral_noise(image_NCHW, config.frequency.strength, config.frequency.start, normal_NHW)


def _masked(image_NCHW: Tensor, of: Columns, config: AugmentConfig) -> Tensor:
    return batched.gridmask(image_NCHW, config.gridmask.cells, config.gridmask.ratio, of("down", "right"))


# in order of application, by the column that says which pictures a step changes
_STEPS: Final[dict[str, Callable[[Tensor, Columns, AugmentConfig], Tensor]]] = {
    "applied": _warped,
    "jitter": _jittered,
    "frequency": _noisy,
    "gridmask": _masked,
}


@lru_cache(maxsize=16)
def _orders(device: torch.device) -> Tensor:
    return torch.tensor(draws.ORDERS).T.contiguous().to(device)
