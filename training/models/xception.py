"""Xception (Chollet 2017) in three parts, so that two streams can exchange features between blocks."""

from __future__ import annotations

import torch
from timm.models.xception import Block, SeparableConv2d
from torch import Tensor, nn

from semblance.training.models import weights


class Xception(nn.Module):
    """timm's ``legacy_xception``, built from timm's blocks with timm's names, with F3-Net's changes.

    ``in_channels``: 12 for FAD, 6 for LFS. ``stem_stride``: 2, or 1 for LFS, whose windows already halve the picture.
    ``width``: share of all channels, below 1 for small machines only; pretrained weights need 1. One forward pass is
    ``early`` (to block 7), then ``late`` (to block 12), then ``exit``.
    """

    def __init__(self, in_channels: int, stem_stride: int = 2, width: float = 1.0) -> None:
        super().__init__()
        c32, c64, c128, c256, c728, c1024, c1536, c2048 = (
            max(8, round(width * channels / 8) * 8) for channels in (32, 64, 128, 256, 728, 1024, 1536, 2048)
        )
        self.middle_dim, self.late_dim, self.dim = c728, c1024, c2048
        # padding if the stride is 1: LFS's map then shrinks like FAD's, 112 -> 14 and 224 -> 14
        self.conv1 = nn.Conv2d(in_channels, c32, 3, stem_stride, 0 if stem_stride == 2 else 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c32)
        self.conv2 = nn.Conv2d(c32, c64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(c64)
        self.act = nn.ReLU(inplace=True)
        self.block1 = Block(c64, c128, 2, 2, start_with_relu=False)
        self.block2 = Block(c128, c256, 2, 2)
        self.block3 = Block(c256, c728, 2, 2)
        for number in range(4, 12):
            self.add_module(f"block{number}", Block(c728, c728, 3, 1))
        self.block12 = Block(c728, c1024, 2, 2, grow_first=False)
        self.conv3 = SeparableConv2d(c1024, c1536, 3, 1, 1)
        self.bn3 = nn.BatchNorm2d(c1536)
        self.conv4 = SeparableConv2d(c1536, c2048, 3, 1, 1)
        self.bn4 = nn.BatchNorm2d(c2048)

    def early(self, x_BCHW: Tensor) -> Tensor:
        """The entry flow and the middle flow's first half: (B, in, H, W) to (B, 728, H/16, W/16)."""
        x_BCHW = self.act(self.bn1(self.conv1(x_BCHW)))
        x_BCHW = self.act(self.bn2(self.conv2(x_BCHW)))
        return self._blocks(x_BCHW, 1, 7)

    def late(self, x_BCHW: Tensor) -> Tensor:
        """The middle flow's second half and block 12: to (B, 1024, H/32, W/32)."""
        return self._blocks(x_BCHW, 8, 12)

    def exit(self, x_BCHW: Tensor) -> Tensor:
        """The last two convolutions: to (B, 2048, H/32, W/32)."""
        x_BCHW = self.act(self.bn3(self.conv3(x_BCHW)))
        activated: Tensor = self.act(self.bn4(self.conv4(x_BCHW)))
        return activated

    def _blocks(self, x_BCHW: Tensor, first: int, last: int) -> Tensor:
        for number in range(first, last + 1):
            x_BCHW = self.get_submodule(f"block{number}")(x_BCHW)
        return x_BCHW


def initialise(module: nn.Module) -> None:
    """He et al. 2015 for every convolution and linear layer of ``module``: normal, variance 2 / fan-in."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def load_pretrained(streams: list[Xception], pretrained: str) -> None:
    """Load timm's Xception weights into every stream.

    The first convolution repeats the weights of its three colours over the stream's channels, scaled to keep their
    sum, as public versions of F3-Net do.

    Raises what ``weights.create`` raises.
    """
    source = weights.create("legacy_xception.tf_in1k", pretrained)
    state = source.state_dict()
    for stream in streams:
        stream.origin = weights.origin(source)  # type: ignore[assignment]
        stream.licence = weights.licence(source)  # type: ignore[assignment]
        first = state["conv1.weight"]  # (32, 3, 3, 3)
        times = stream.conv1.in_channels // 3
        with torch.no_grad():
            stream.load_state_dict({**state, "conv1.weight": first.repeat(1, times, 1, 1) / times})
