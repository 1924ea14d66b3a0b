"""CutMix and MixUp within a batch, which keep both hard labels.

B: batch, C: colours, H, W: pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semblance.training.augment.config import AugmentConfig
from semblance.training.records import Batch, to_device

Table = NDArray[np.float32]


def mix(
    batch: Batch,
    config: AugmentConfig,
    generator: torch.Generator | None = None,
    members: int = 1,
    kept: Sequence[int] = (),
) -> Batch:
    """Mix some pictures of a batch with others of it; the batch is unchanged if the draw mixes none.

    Each picture independently undergoes CutMix (Yun et al. 2019), MixUp (Zhang et al. 2018) or neither, with the
    configured probabilities. So losses on embeddings find unmixed pictures in most batches. ``lam_B`` is the weight of
    the picture itself; for CutMix it is the exact share of its area. ``image_BCHW`` must be floats. All draws come
    from ``generator``, on the CPU, so a seed gives the same mixing on any device. Only six numbers a picture go to the
    device, which makes the masks of them; nothing waits for the device. ``members``: pictures of a clip, which is mixed
    as a whole with another one, picture by picture, with one window and one weight. ``kept``: places of pictures (of
    clips) that stay as they are, which changes no draw for the others.
    """
    count, _, height, width = batch.image_BCHW.shape
    count //= members
    if count < 2 or config.cutmix.p + config.mixup.p == 0:
        return batch
    seed = torch.randint(2**62, (1,), generator=generator).numpy()[0]
    table_6B = draw(count, height, width, config, np.random.default_rng(seed))
    if table_6B is None:
        return batch
    table_6B[:5, list(kept)] = [[0.0], [0.0], [0.0], [0.0], [1.0]]
    return _mixed(batch, _by_member(table_6B, members))


def draw(count: int, height: int, width: int, config: AugmentConfig, rng: np.random.Generator) -> Table | None:
    """Six numbers for each of ``count`` pictures, float32 (6, count); None if no picture is mixed.

    They are first row, end row, first column and end column of its CutMix window, which is empty without CutMix, the
    weight of the picture itself (``lam_B``), and its partner.
    """
    way_B = rng.random(count)
    cut_B = way_B < config.cutmix.p
    blend_B = ~cut_B & (way_B < config.cutmix.p + config.mixup.p)
    if not (cut_B | blend_B).any():
        return None
    ring = rng.permutation(count)
    partner_B = np.empty(count, np.int64)
    partner_B[ring] = np.roll(ring, 1)  # never the picture itself
    alpha_B = np.where(cut_B, config.cutmix.alpha, config.mixup.alpha)
    share_B: NDArray[np.float64] = rng.beta(alpha_B, alpha_B)
    table_6B = np.zeros((6, count), np.float32)
    table_6B[4] = np.where(blend_B, share_B, 1.0)
    table_6B[5] = partner_B
    for place in np.flatnonzero(cut_B):
        rows, columns = box(height, width, float(share_B[place]), rng)
        area = max(rows.stop - rows.start, 0) * max(columns.stop - columns.start, 0)
        if area:
            lam = (height * width - area) / (height * width)
            table_6B[:5, place] = rows.start, rows.stop, columns.start, columns.stop, lam
    return table_6B


def _by_member(table_6U: Table, members: int) -> Table:
    """The numbers of U units for each of their pictures, whose partner is the picture at its place."""
    table_6B = np.repeat(table_6U, members, 1)
    table_6B[5] = table_6B[5] * members + np.tile(np.arange(members), table_6U.shape[1])
    return table_6B


def box(height: int, width: int, share: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """The rows and columns of a CutMix window: 1 - ``share`` of the area, centred anywhere, clipped at the edges."""
    side = np.sqrt(1 - share)
    half_height, half_width = round(height * side) / 2, round(width * side) / 2
    y, x = rng.integers(height), rng.integers(width)
    rows = slice(max(int(y - half_height), 0), min(int(y + half_height), height))
    return rows, slice(max(int(x - half_width), 0), min(int(x + half_width), width))


def _mixed(batch: Batch, table_6B: Table) -> Batch:
    image_BCHW = batch.image_BCHW
    top_B, end_B, left_B, right_B, lam_B, partner_B = to_device(torch.from_numpy(table_6B), image_BCHW.device)
    partner_B = partner_B.long()
    within_BHW = (
        _between(top_B, end_B, image_BCHW.shape[2])[:, :, None]
        & (_between(left_B, right_B, image_BCHW.shape[3])[:, None, :])
    )
    outside_B = torch.where(end_B > top_B, 1.0, lam_B)  # CutMix leaves all but the window, MixUp changes every pixel
    weight_BHW = torch.where(within_BHW, 0.0, outside_B[:, None, None])
    weight_B1HW = weight_BHW.to(image_BCHW.dtype).unsqueeze(1)
    other_B = torch.where(lam_B < 1, batch.target_B[partner_B], batch.target_B)
    return replace(
        batch,
        image_BCHW=weight_B1HW * image_BCHW + (1 - weight_B1HW) * image_BCHW[partner_B],
        mixed_with_B=other_B,
        lam_B=lam_B,
    )


def _between(first_B: Tensor, end_B: Tensor, length: int) -> Tensor:
    """Which of the places 0 to ``length`` - 1 lie in [first, end), (B, length)."""
    place = torch.arange(length, device=first_B.device)
    return (place >= first_B[:, None]) & (place < end_B[:, None])
