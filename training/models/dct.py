"""The discrete cosine transform, its bands, and dropout among its coefficients.

B: batch, C: channels, H, W: pixels or coefficients, K: bands.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula


def matrix(size: int) -> Tensor:
    """The orthonormal DCT-II matrix (size, size), float32: row k is the cosine of frequency k.

    Ahmed, Natarajan and Rao 1974; ``scipy.fft.dct(type=2, norm="ortho")``. Its transpose is its inverse.
    """
    k = torch.arange(size, dtype=torch.float64)[:, None]
    n = torch.arange(size, dtype=torch.float64)[None, :]
    rows = torch.cos(math.pi * (n + 0.5) * k / size) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows.float()


def forward(image_BCHW: Tensor, rows_HH: Tensor, columns_WW: Tensor) -> Tensor:
    """The two-dimensional DCT of every channel; mean at (0, 0), frequencies rising down and to the right."""
    return product(product(rows_HH, image_BCHW), columns_WW.T)


def inverse(spectrum_BCHW: Tensor, rows_HH: Tensor, columns_WW: Tensor) -> Tensor:
    """The inverse of ``forward``."""
    return product(product(rows_HH.T, spectrum_BCHW), columns_WW)


def height_of(rows: int, columns: int, steps: int = 0, device: torch.device | None = None) -> Tensor:
    """The frequency of each coefficient, (rows, columns) in (0, 1), along the diagonals of JPEG's zigzag.

    A coefficient counts at the centre of its cell in the unit square of frequencies. So the share of coefficients below
    a height differs from the area below it by less than 0.001 at 224 px. With ``steps``, the height is divided into
    that many steps, and the result is the index (int64). All coefficients of a diagonal have exactly the same height,
    since it is computed from integers.
    """
    down = torch.arange(rows, device=device) * 2 + 1
    right = torch.arange(columns, device=device) * 2 + 1
    whole = down[:, None] * columns + right[None, :] * rows
    return whole * steps // (4 * rows * columns) if steps else whole.double() / (4 * rows * columns)


def bands(rows: int, columns: int, edges: tuple[float, ...]) -> Tensor:
    """Masks (K, rows, columns) of 0 and 1 for the K half-open bands [edge, next edge) of ``height_of``.

    With edges from 0 to 1 every coefficient is in exactly one band.
    """
    height = height_of(rows, columns)
    return torch.stack([(low <= height) & (height < high) for low, high in itertools.pairwise(edges)]).float()


class FrequencyDropout(nn.Module):
    """Zero diagonals of a spectrum, each with probability ``p``, drawn separately for every sample.

    A diagonal holds the coefficients of equal height, in all channels. It is applied between DCT and inverse. As in
    other dropout, the remaining coefficients are divided by 1 - p, and nothing happens outside training. It changes
    the input, as augmentation does, so it is none of the dropout layers that Monte-Carlo dropout draws from.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, spectrum_BCHW: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return spectrum_BCHW
        batch, _, rows, columns = spectrum_BCHW.shape
        count = rows + columns - 1
        diagonal_HW = height_of(rows, columns, count, spectrum_BCHW.device)
        kept_BN = torch.rand(batch, count, device=spectrum_BCHW.device) >= self.p
        mask_B1HW = kept_BN[:, diagonal_HW].unsqueeze(1)
        return spectrum_BCHW * mask_B1HW / (1 - self.p)


class Constants(nn.Module):
    """Tensors that depend only on sizes, computed once per device and excluded from checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[tuple[object, ...], Tensor] = {}

    def of(self, make: Callable[..., Tensor], *sizes: int, device: torch.device) -> Tensor:
        """``make(*sizes)`` on a device. A compiled graph that meets new sizes computes them itself."""
        key = (make.__name__, sizes, device)
        if key in self._made:
            return self._made[key]
        if torch.compiler.is_compiling():
            return make(*sizes).to(device)
        with torch.inference_mode(False):  # otherwise training could not use one that validation made
            self._made[key] = make(*sizes).to(device)
        return self._made[key]


def exact(device: torch.device) -> AbstractContextManager[None]:
    """Keep autocast from half precision. With ``product``, everything inside is in full float32.

    Half precision and TF32 round by a thousandth of the mean, more than the high frequencies of a compressed picture.
    """
    return torch.autocast(device.type, enabled=False)


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` in float32, without TF32 on a GPU. An operator of its own, so that a compiler sees one graph."""
    if not left.is_cuda:
        return left @ right
    found: Tensor = exact_product(left, right)
    return found


@torch.library.custom_op("semblance::exact_product", mutates_args=())
def exact_product(left: Tensor, right: Tensor) -> Tensor:
    """The operator behind ``product``: torch's setting for TF32 is off inside, and afterwards as before."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    try:
        return left @ right
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


@exact_product.register_fake
def _shape(left: Tensor, right: Tensor) -> Tensor:
    return left @ right


@register_flop_formula(torch.ops.semblance.exact_product)
def _operations(left: torch.Size, right: torch.Size, *_: object, out_shape: torch.Size, **__: object) -> int:
    """For `training evaluate --cost`: a multiplication and an addition are two."""
    del right
    return 2 * math.prod(out_shape) * left[-1]


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    del output
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    left, right = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    return (
        exact_product(grad, right.mT).sum_to_size(left.shape) if wanted[0] else None,
        exact_product(left.mT, grad).sum_to_size(right.shape) if wanted[1] else None,
    )


exact_product.register_autograd(_backward, setup_context=_keep)
