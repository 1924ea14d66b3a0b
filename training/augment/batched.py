"""Augmentations of a batch on any device: the operations of ``operations`` and albumentations as tensor code.

All take and return float32 pictures of whole grey levels, 0 to 255, and one parameter for each picture. Each picture
is computed alone, so the batch that it is in does not matter. Nothing waits for the device.

B: batch, C: 3 colours (RGB), H, W: pixels, N: their side.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from semblance.training.models import dct

GREY: Final = (0.299, 0.587, 0.114)  # ITU-R BT.601
_PRIME: Final = 0x45D9F3B  # a multiplier that mixes 32 bits well; products of it stay below 2**63


def warp(image_BCHW: Tensor, flip_B: Tensor, angle_B: Tensor, window_4B: Tensor) -> Tensor:
    """Mirrored, then turned about the centre, then cut to a window and resized to the size of before: square pictures.

    ``flip_B``: 1 mirrors. ``angle_B``: radians, anticlockwise. ``window_4B``: top, left, height and width in px. The
    picture is interpolated once, linearly, where albumentations does so twice. Coordinates are those of OpenCV:
    borders are reflected without repeating the edge, and the edge of the window is repeated by half a pixel.
    """
    side = image_BCHW.shape[-1]
    half = (side - 1) / 2
    top_B, left_B, height_B, width_B = window_4B
    down_BN1 = (_places(side, top_B, height_B) - half)[:, :, None]
    right_B1N = (_places(side, left_B, width_B) - half)[:, None, :]
    cos_B11, sin_B11 = angle_B.cos()[:, None, None], angle_B.sin()[:, None, None]
    x_BHW = (cos_B11 * right_B1N - sin_B11 * down_BN1) * (1 - 2 * flip_B)[:, None, None]
    y_BHW = sin_B11 * right_B1N + cos_B11 * down_BN1
    grid_BHW2 = torch.stack([x_BHW, y_BHW], -1) / half
    return F.grid_sample(image_BCHW, grid_BHW2, "bilinear", "reflection", align_corners=True).round_()


def _places(side: int, first_B: Tensor, length_B: Tensor) -> Tensor:
    """Where the ``side`` pixels of the result lie in the picture, (B, N), in px from the centre of its first pixel."""
    pixel_N = torch.arange(side, device=first_B.device) + 0.5
    place_BN = pixel_N * (length_B / side)[:, None] - 0.5
    return place_BN.clamp(min=0).minimum(length_B[:, None] - 1) + first_B[:, None]


def jitter(image_BCHW: Tensor, factor_3B: Tensor, hue_B: Tensor, order_4B: Tensor) -> Tensor:
    """Colour jitter as in torchvision: the four changes in each picture's own order, with whole grey levels between.

    ``factor_3B``: of brightness, contrast and saturation. ``hue_B``: turns. ``order_4B``: 0 brightness, 1 contrast, 2
    saturation, 3 hue, in the order of application.
    """
    place_4 = torch.arange(4, device=hue_B.device)[:, None]
    turned_B = (order_4B == 3).long().argmax(0)  # when the hue is turned; before it come up to three others, and after
    before_3B, after_3B = (torch.where(side_4B, order_4B, 3) for side_4B in (place_4 < turned_B, place_4 > turned_B))
    kind_6B = torch.cat([before_3B[:3], after_3B[1:]])
    maps = _maps(kind_6B, torch.cat([factor_3B, torch.ones_like(factor_3B[:1])]).gather(0, kind_6B))
    for place, (matrix_BCC, of_mean_BC) in enumerate(zip(*maps, strict=True)):
        if place == 3:
            image_BCHW = hue(image_BCHW, hue_B)
        grey_B11 = (image_BCHW.mean((2, 3)) * of_mean_BC).sum(1)[:, None, None]
        with dct.exact(image_BCHW.device):
            image_BCP = torch.baddbmm(grey_B11, matrix_BCC, image_BCHW.flatten(2))
        image_BCHW = image_BCP.clamp_(0, 255).round_().view_as(image_BCHW)
    return image_BCHW


def _maps(kind_6B: Tensor, factor_6B: Tensor) -> tuple[Tensor, Tensor]:
    """Each change as a linear map of the colours, (6, B, C, C), and of their means, (6, B, C), to a number to add.

    It is factor x the picture + the rest x black (kind 0: brightness), its mean grey (1: contrast) or its grey (2:
    saturation). Kind 3 has factor 1 and leaves the picture as it is.
    """
    grey_C = _constant(GREY, kind_6B.device)
    rest_6B = 1 - factor_6B
    own_6BCC = torch.eye(3, device=kind_6B.device) * factor_6B[..., None, None]
    of_mean_6BC = torch.where(kind_6B == 1, rest_6B, 0.0)[..., None] * grey_C
    return own_6BCC + torch.where(kind_6B == 2, rest_6B, 0.0)[..., None, None] * grey_C, of_mean_6BC


def hue(image_BCHW: Tensor, turn_B: Tensor) -> Tensor:
    """Hues turned by ``turn_B`` x 360 degrees in HSV (Smith 1978); value and saturation stay."""
    red, green, blue = image_BCHW.unbind(1)
    value_BHW, low_BHW = image_BCHW.amax(1), image_BCHW.amin(1)
    chroma_BHW = value_BHW - low_BHW
    per_BHW = torch.where(chroma_BHW > 0, 1 / chroma_BHW.clamp(min=1e-6), 0.0)
    sector_BHW = torch.where(
        value_BHW == red,
        (green - blue) * per_BHW,
        torch.where(value_BHW == green, 2 + (blue - red) * per_BHW, 4 + (red - green) * per_BHW),
    )
    sector_BHW = sector_BHW + 6 * turn_B[:, None, None]
    shift_C = _constant((5.0, 3.0, 1.0), image_BCHW.device)
    place_BCHW = (sector_BHW[:, None] + shift_C[:, None, None]).remainder_(6)
    share_BCHW = torch.minimum(place_BCHW, 4 - place_BCHW).clamp_(0, 1)
    return (value_BHW[:, None] - chroma_BHW[:, None] * share_BCHW).round_()


def spectral_noise(image_BCHW: Tensor, strength: float, start: float, normal_BHW: Tensor) -> Tensor:
    """Each DCT coefficient from frequency ``start`` on, multiplied by 1 + ``strength`` x its normal number.

    Frequencies are diagonals, from 0 (the mean, which stays) to 1. All three colours get the same noise.
    """
    rows, columns = image_BCHW.shape[2:]
    height_HW = _height(rows, columns, image_BCHW.device)
    noise_BHW = torch.where((height_HW >= start) & (height_HW > 0), strength * normal_BHW, 0.0)
    down_HH, right_WW = _matrix(rows, image_BCHW.device), _matrix(columns, image_BCHW.device)
    with dct.exact(image_BCHW.device):
        change_BCHW = dct.inverse(dct.forward(image_BCHW, down_HH, right_WW) * noise_BHW[:, None], down_HH, right_WW)
    return (image_BCHW + change_BCHW).clamp_(0, 255).round_()


def normal(seed_B: Tensor, rows: int, columns: int) -> Tensor:
    """Standard normal numbers (B, rows, columns) from whole numbers below 2**32: by counting, mixing and Box-Muller.

    A picture's numbers depend on its seed alone. Their bits are the same on every device, the numbers but for rounding.
    """
    pairs = -(-rows * columns // 2)
    bits_BN = _mixed_bits(_counted(2 * pairs, seed_B.device) ^ _mixed_bits(seed_B.long() + 1)[:, None])
    first_BN, second_BN = torch.split(((bits_BN >> 8).float() + 0.5) / 2**24, pairs, 1)
    radius_BN, angle_BN = (-2 * first_BN.log()).clamp_(min=0).sqrt(), 2 * math.pi * second_BN
    both_BN = torch.cat([radius_BN * angle_BN.cos(), radius_BN * angle_BN.sin()], 1)
    return both_BN[:, : rows * columns].view(-1, rows, columns)


def _mixed_bits(number: Tensor) -> Tensor:
    """A one-to-one map of the 32-bit numbers in an int64 tensor, such that neighbours have nothing in common."""
    for _ in range(2):
        number = ((number >> 16) ^ number) * _PRIME & 0xFFFFFFFF
    return (number >> 16) ^ number


def gridmask(image_BCHW: Tensor, cells: int, ratio: float, shift_2B: Tensor) -> Tensor:
    """GridMask (Chen et al. 2020): one black square in each of ``cells`` x ``cells`` cells.

    ``ratio``: side of the square relative to the cell. ``shift_2B``: (down, right) offset of the grid, in cells.
    """
    holes = []
    for length, offset_B in zip(image_BCHW.shape[2:], shift_2B, strict=True):
        place_N = (torch.arange(length, device=image_BCHW.device, dtype=torch.float64) + 0.5) / (length / cells)
        holes.append((place_N - offset_B.double()[:, None]).remainder(1) < ratio)
    hole_BHW = holes[0][:, :, None] & holes[1][:, None, :]
    return image_BCHW.masked_fill(hole_BHW[:, None], 0)


@lru_cache(maxsize=4)
def _counted(length: int, device: torch.device) -> Tensor:
    return _mixed_bits(torch.arange(length) + 1).to(device)


@lru_cache(maxsize=16)
def _matrix(size: int, device: torch.device) -> Tensor:
    return dct.matrix(size).to(device)


@lru_cache(maxsize=16)
def _height(rows: int, columns: int, device: torch.device) -> Tensor:
    down, right = (torch.arange(length, dtype=torch.float64) / length for length in (rows, columns))
    return ((down[:, None] + right[None, :]) / 2).float().to(device)


@lru_cache(maxsize=16)
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values).to(device)
