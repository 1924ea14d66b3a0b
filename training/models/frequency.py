"""The two frequency representations of F3-Net: FAD, pictures by band, and LFS, local statistics.

B: batch, H, W: pixels, h, w and L: windows (L = h x w), K: bands, S: side of a window.
"""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from semblance.training.models import dct

# Bands between diagonals: the first sixteenth of the spectrum's area, the second, and the rest.
FAD_EDGES: Final = (0.0, 1 / math.sqrt(32), 1 / 4, 1.0)
LFS_BANDS: Final = 6
LFS_WINDOW: Final = 10  # px
LFS_STRIDE: Final = 2  # px
LFS_PADDING: Final = 4  # px: 299 px give the paper's 149 x 149 windows, 224 px 112 x 112
LFS_FLOOR: Final = 1e-2  # a hundredth of a grey level keeps the logarithm of a flat window finite
LUMA: Final = (0.299, 0.587, 0.114)  # ITU-R BT.601


def weigh(mask: Tensor) -> Tensor:
    """Learned weights in (-1, 1): 2 sigmoid - 1, the paper's (1 - exp(-x)) / (1 + exp(-x))."""
    return 2 * torch.sigmoid(mask) - 1


class Fad(nn.Module):
    """Frequency-aware decomposition (Qian et al. 2020, 3.1): (B, 3, H, W) in [-1, 1] to (B, 12, H, W).

    The DCT of the picture is filtered by four masks and transformed back. A mask is a fixed band plus a learned weight
    per coefficient. The three bands, of 1/16, 1/16 and 7/8 of the spectrum by area, are half-open and add up to one;
    the fourth, "all", is one everywhere. The learned weights are the plan's "adaptive DCT coefficient selection". They
    are stored at ``size`` px and resampled for pictures of other sizes, so a weight keeps its frequency.
    """

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.learned_KHW = nn.Parameter(torch.zeros(len(FAD_EDGES), size, size))
        self.dropout = dct.FrequencyDropout(dropout)
        self.constants = dct.Constants()
        self.channels = 3 * len(FAD_EDGES)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        with dct.exact(image_BCHW.device):
            return self._decompose(image_BCHW.float())

    def masks(self, rows: int, columns: int) -> Tensor:
        """(4, rows, columns): low, middle, high, all."""
        learned_KHW: Tensor = self.learned_KHW
        if learned_KHW.shape[1:] != (rows, columns):
            learned_KHW = F.interpolate(learned_KHW[None], (rows, columns), mode="bilinear")[0]
        return self.constants.of(_fad_bands, rows, columns, device=learned_KHW.device) + weigh(learned_KHW)

    def _decompose(self, image_BCHW: Tensor) -> Tensor:
        height, width = image_BCHW.shape[2:]
        rows = self.constants.of(dct.matrix, height, device=image_BCHW.device)
        columns = self.constants.of(dct.matrix, width, device=image_BCHW.device)
        spectrum_BCHW = self.dropout(dct.forward(image_BCHW, rows, columns))
        filtered_BKCHW = spectrum_BCHW.unsqueeze(1) * self.masks(height, width).unsqueeze(1)
        return dct.inverse(filtered_BKCHW, rows, columns).flatten(1, 2)


def _fad_bands(rows: int, columns: int) -> Tensor:
    return torch.cat([dct.bands(rows, columns, FAD_EDGES), torch.ones(1, rows, columns)])


class Lfs(nn.Module):
    """Local frequency statistics (Qian et al. 2020, 3.2): (B, 3, H, W) in [-1, 1] to (B, 6, h, w).

    A window of 10 px slides over the luma (0..255) by 2 px. The DCT of each window is filtered by six masks: half-open
    bands of equal width plus learned weights. Each result is the base-10 logarithm *of the sum* of its absolute
    coefficients. h = (H - 2) // 2 + 1. Edges are mirrored.
    """

    luma_C11: Tensor
    basis_NN: Tensor  # from a window's pixels to its coefficients, N = S x S of each, row by row
    fixed_KN: Tensor

    def __init__(self) -> None:
        super().__init__()
        one_SS = dct.matrix(LFS_WINDOW)
        edges = tuple(i / LFS_BANDS for i in range(LFS_BANDS + 1))
        self.register_buffer("luma_C11", torch.tensor(LUMA).view(3, 1, 1), persistent=False)
        self.register_buffer("basis_NN", torch.kron(one_SS, one_SS), persistent=False)
        self.register_buffer("fixed_KN", dct.bands(LFS_WINDOW, LFS_WINDOW, edges).flatten(1), persistent=False)
        self.learned_KN = nn.Parameter(torch.zeros(LFS_BANDS, LFS_WINDOW * LFS_WINDOW))
        self.channels = LFS_BANDS

    def forward(self, image_BCHW: Tensor) -> Tensor:
        with dct.exact(image_BCHW.device):
            return self._statistics(image_BCHW.float())

    def _statistics(self, image_BCHW: Tensor) -> Tensor:
        luma_B1HW = ((image_BCHW + 1) * 127.5 * self.luma_C11).sum(1, keepdim=True)
        padded_B1HW = F.pad(luma_B1HW, (LFS_PADDING,) * 4, mode="reflect")
        spectrum_BNL = dct.product(self.basis_NN, F.unfold(padded_B1HW, LFS_WINDOW, stride=LFS_STRIDE))
        # |D x mask| = |D| x |mask|, so the filtered sums of all masks are one product
        filter_KN = (self.fixed_KN + weigh(self.learned_KN)).abs()
        sum_BKL = dct.product(filter_KN, spectrum_BNL.abs())
        height, width = ((side - LFS_WINDOW) // LFS_STRIDE + 1 for side in padded_B1HW.shape[2:])
        return torch.log10(sum_BKL + LFS_FLOOR).reshape(-1, LFS_BANDS, height, width)
