"""CutMix and MixUp within a batch, which keep both hard labels.

B: batch, H, W: pixels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semblance.training.augment.config import AugmentConfig
from semblance.training.records import Batch


def mix(batch: Batch, config: AugmentConfig, generator: torch.Generator | None = None) -> Batch:
    """Mix some pictures of a batch with others of it; the batch is unchanged if the draw mixes none.

    Each picture independently undergoes CutMix (Yun et al. 2019), MixUp (Zhang et al. 2018) or neither, with the
    configured probabilities. So losses on embeddings find unmixed pictures in most batches. ``lam_B`` is the weight of
    the picture itself; for CutMix it is the exact share of its area. ``image_BCHW`` must be floats. All draws come
    from ``generator``, on the CPU, so a seed gives the same mixing on any device.
    """
    count, _, height, width = batch.image_BCHW.shape
    if count < 2 or config.cutmix.p + config.mixup.p == 0:
        return batch
    seed = int(torch.randint(2**62, (1,), generator=generator))
    rng = np.random.default_rng(seed)
    way_B = rng.random(count)
    cut_B = way_B < config.cutmix.p
    blend_B = ~cut_B & (way_B < config.cutmix.p + config.mixup.p)
    if not (cut_B | blend_B).any():
        return batch
    ring = rng.permutation(count)
    partner_B = np.empty(count, np.int64)
    partner_B[ring] = np.roll(ring, 1)  # never the picture itself
    alpha_B = np.where(cut_B, config.cutmix.alpha, config.mixup.alpha)
    share_B: NDArray[np.float64] = rng.beta(alpha_B, alpha_B)
    weight_BHW = np.ones((count, height, width), np.float32)  # of the picture itself, at each pixel
    for place in np.flatnonzero(cut_B):
        rows, columns = box(height, width, float(share_B[place]), rng)
        weight_BHW[place, rows, columns] = 0
    weight_BHW[blend_B] = share_B[blend_B, None, None]
    lam_B = np.where(cut_B | blend_B, weight_BHW.astype(np.float64).mean((1, 2)), 1.0)
    return _mixed(batch, torch.from_numpy(partner_B), torch.from_numpy(weight_BHW), torch.from_numpy(lam_B).float())


def box(height: int, width: int, share: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """The rows and columns of a CutMix window: 1 - ``share`` of the area, centred anywhere, clipped at the edges."""
    side = np.sqrt(1 - share)
    half_height, half_width = round(height * side) / 2, round(width * side) / 2
    y, x = rng.integers(height), rng.integers(width)
    rows = slice(max(int(y - half_height), 0), min(int(y + half_height), height))
    return rows, slice(max(int(x - half_width), 0), min(int(x + half_width), width))


def _mixed(batch: Batch, partner_B: Tensor, weight_BHW: Tensor, lam_B: Tensor) -> Batch:
    image_BCHW = batch.image_BCHW
    device = image_BCHW.device
    partner_B, lam_B = partner_B.to(device), lam_B.to(device)
    weight_B1HW = weight_BHW.to(device, image_BCHW.dtype).unsqueeze(1)
    other_B = torch.where(lam_B < 1, batch.target_B[partner_B], batch.target_B)
    return replace(
        batch,
        image_BCHW=weight_B1HW * image_BCHW + (1 - weight_B1HW) * image_BCHW[partner_B],
        mixed_with_B=other_B,
        lam_B=lam_B,
    )
