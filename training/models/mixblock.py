"""MixBlock: two streams of features, each attending to the other.

B: batch, C: channels, H, W: positions, N = H x W.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class MixBlock(nn.Module):
    """Cross-attention between FAD's and LFS's features (Qian et al. 2020, 3.3), of any size.

    One similarity matrix, with FAD's positions as queries and LFS's as keys, is used in both directions: along its
    rows it brings LFS's features to FAD, along its columns FAD's to LFS. Each stream adds the other's features through
    a 1x1 convolution and a gain that starts at zero, so training starts from independent streams. The paper gives no
    formula. Public versions multiply the attention elementwise, which ties it to one square size. No batch norm
    follows the convolutions, since it would cancel their spectral norm.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.to_fad = nn.Conv2d(channels, channels, 1)
        self.to_lfs = nn.Conv2d(channels, channels, 1)
        self.gain_fad = nn.Parameter(torch.zeros(1))
        self.gain_lfs = nn.Parameter(torch.zeros(1))

    def forward(self, fad_BCHW: Tensor, lfs_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        fad_BCN, lfs_BCN = fad_BCHW.flatten(2), lfs_BCHW.flatten(2)
        attention_BNN = self.similarity(fad_BCHW, lfs_BCHW)
        brought_fad = (lfs_BCN @ attention_BNN.softmax(2).to(lfs_BCN).transpose(1, 2)).view_as(fad_BCHW)
        brought_lfs = (fad_BCN @ attention_BNN.softmax(1).to(fad_BCN)).view_as(lfs_BCHW)
        return (
            fad_BCHW + self.gain_fad * self.to_fad(brought_fad),
            lfs_BCHW + self.gain_lfs * self.to_lfs(brought_lfs),
        )

    def similarity(self, fad_BCHW: Tensor, lfs_BCHW: Tensor) -> Tensor:
        """(B, N, N) scaled inner products of FAD's and LFS's positions; in float32, as half precision may overflow."""
        query_BCN = self.query(fad_BCHW).flatten(2)
        key_BCN = self.key(lfs_BCHW).flatten(2)
        with torch.autocast(query_BCN.device.type, enabled=False):
            product_BNN: Tensor = query_BCN.float().transpose(1, 2) @ key_BCN.float()
        return product_BNN / math.sqrt(query_BCN.shape[1])
