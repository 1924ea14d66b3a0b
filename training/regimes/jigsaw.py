"""Jigsaw puzzles (Noroozi and Favaro, ECCV 2016) in one picture, as in JiGen (Carlucci et al., CVPR 2019).

B: pictures of a batch, C: 3 colours, H, W: pixels. N: permutations, T: tiles, t: side of a tile in px.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import Final, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.records import Batch, to_device
from semblance.training.regimes import registry
from semblance.training.regimes.pretext import GREY, Classes, PretextConfig, Questions, guess

_SEED: Final = 0  # of the choice of permutations, which is the same in every run
_SPREAD: Final = 0.2  # deviation of a tile's values about grey; what is beyond [0, 1] is cut off
_LEAST: Final = 1 / 255  # deviation of a flat tile


class JigsawConfig(PretextConfig):
    """Tell in which of some orders the tiles of a picture are.

    The picture is cut into ``grid`` x ``grid`` cells. A tile leaves out ``gap`` of a cell's side, at a place drawn for
    each tile, so no edge goes on in the next tile. Each tile has the same mean and deviation in each colour. So neither
    edges nor colours say which tiles are neighbours. The tiles are put together into one picture, which the model sees
    as it sees any other; the original's network takes them one by one. ``permutations``: the number of orders, chosen
    far apart from each other (the published 30 of JiGen; 24 is all there are of 2 x 2 tiles).
    """

    kind: Literal["jigsaw"] = "jigsaw"
    grid: int = Field(default=3, ge=2, le=3)
    permutations: int = Field(default=30, ge=2, le=1000)
    gap: float = Field(default=0.15, gt=0, le=0.5)

    @property
    def terms(self) -> tuple[str, ...]:
        return (guess(self.permutations),)

    @model_validator(mode="after")
    def _there_are_as_many(self) -> Self:
        most = math.factorial(self.grid**2)
        if self.permutations > most:
            raise ValueError(f"{self.grid} x {self.grid} tiles have {most} orders; set regime.permutations to no more")
        return self


@registry.register(JigsawConfig)
class Jigsaw(Classes):
    """A linear layer on the embedding of the picture put together. The state keeps the permutations, (N, T)."""

    order_NT: Tensor

    def __init__(self, config: JigsawConfig, model: Model, loss: Loss) -> None:
        super().__init__(config, model, loss)
        self.grid, self.gap, self.classes = config.grid, config.gap, config.permutations
        self.register_buffer("order_NT", permutations(config.grid**2, config.permutations).clone())
        self.head = nn.Linear(model.embedding_dim, config.permutations)

    def ask(self, batch: Batch, epoch: int) -> Questions:
        image_BCHW, tiles = batch.image_BCHW, self.grid**2
        uniform = self.draw(batch.sample_ids, epoch, 1 + 2 * tiles)
        place = to_device((uniform[:, 0] * self.classes).long(), image_BCHW.device)
        shift_BT2 = uniform[:, 1:].view(-1, tiles, 2)
        image_BCHW = puzzle(image_BCHW, self.order_NT[place], shift_BT2, self.gap)
        return Questions(image_BCHW=image_BCHW.contiguous(memory_format=torch.channels_last), answer_Q=place)


def puzzle(image_BCHW: Tensor, order_BT: Tensor, shift_BT2: Tensor, gap: float) -> Tensor:
    """The pictures put together anew: cell i shows the tile of cell ``order_BT[:, i]``, and all else is grey.

    ``shift_BT2``: where in its cell a tile is cut, 0 to 1 down and right, on the host. A picture of a side that the
    grid does not divide has a grey margin too.
    """
    batch, colours, side = image_BCHW.shape[:3]
    grid = math.isqrt(order_BT.shape[1])
    cell = side // grid
    room = max(round(gap * cell), 1)  # px between tiles
    tile, margin = cell - room, (side - grid * cell) // 2
    corner_T2 = torch.tensor(list(itertools.product(range(grid), repeat=2))) * cell + margin
    first_BT2 = to_device(corner_T2 + (shift_BT2 * (room + 1)).long(), image_BCHW.device)
    pixel_BT2t = first_BT2[..., None] + torch.arange(tile, device=image_BCHW.device)
    picture = torch.arange(batch, device=image_BCHW.device)[:, None, None, None]
    tile_BTttC = image_BCHW.permute(0, 2, 3, 1)[picture, pixel_BT2t[:, :, 0, :, None], pixel_BT2t[:, :, 1, None, :]]
    tile_BTttC = _levelled(tile_BTttC)[picture[:, :, 0, 0], order_BT]
    shown = image_BCHW.new_full((batch, grid, cell, grid, cell, colours), GREY)
    start = room // 2
    tile_BggttC = tile_BTttC.view(batch, grid, grid, tile, tile, colours)
    shown[:, :, start : start + tile, :, start : start + tile] = tile_BggttC.transpose(2, 3)
    whole = torch.full_like(image_BCHW, GREY)
    inner = slice(margin, margin + grid * cell)
    whole[:, :, inner, inner] = shown.view(batch, grid * cell, grid * cell, colours).permute(0, 3, 1, 2)
    return whole


def _levelled(tile_BTttC: Tensor) -> Tensor:
    """Tiles with the mean and the deviation of all others in each colour."""
    std, mean = torch.std_mean(tile_BTttC, (2, 3), keepdim=True, correction=0)
    return ((tile_BTttC - mean) * (_SPREAD / std.clamp(min=_LEAST)) + GREY).clamp(0, 1)


@lru_cache(maxsize=4)
def permutations(tiles: int, count: int) -> Tensor:
    """``count`` permutations of ``tiles``, far apart in Hamming distance, (count, tiles).

    Greedily, as in the paper: each is the one whose least distance to those before is the largest; of equal ones the
    one with the largest sum of distances, and of these the first in a fixed random order.
    """
    every = np.array(list(itertools.permutations(range(tiles))), np.int8)
    every = np.random.default_rng(_SEED).permutation(every)
    chosen = [0]
    nearest, total = np.full(len(every), tiles + 1), np.zeros(len(every), np.int64)
    while len(chosen) < count:
        distance = (every != every[chosen[-1]]).sum(1)
        nearest, total = np.minimum(nearest, distance), total + distance
        chosen.append(int(np.argmax(nearest * (tiles * count + 1) + total)))
    return torch.from_numpy(every[chosen].astype(np.int64))
