"""F3-Net (Qian et al. 2020): frequency bands and local frequency statistics of faces."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from semblance.manifests.errors import UsageError
from semblance.training.models import xception
from semblance.training.models.base import Model, ModelConfig
from semblance.training.models.frequency import Fad, Lfs
from semblance.training.models.mixblock import MixBlock
from semblance.training.models.registry import register
from semblance.training.models.xception import Xception
from semblance.training.records import Output

Mode = Literal["rgb", "fad", "lfs", "both", "mix"]


class F3NetConfig(ModelConfig):
    """``mode``: plain Xception (``rgb``), one stream (``fad``, ``lfs``), two independent streams (``both``), or two
    joined by MixBlocks (``mix``, as in the paper). ``pretrained: none`` is He initialisation, ``imagenet`` Xception's.

    Interpretation of the plan: spectral norm is applied only to the final linear layer and MixBlock's 1x1 convolutions;
    before a batch norm it would cancel out, and invalidate pretrained statistics. Spatial dropout drops entire maps of
    each stream's last features before the head; Monte-Carlo dropout draws it. Frequency dropout zeroes random
    diagonals between FAD's DCT and its inverse, in training only. "Adaptive DCT coefficient selection" is the learned
    masks of FAD and LFS.
    """

    kind: Literal["f3net"] = "f3net"
    mode: Mode = "mix"
    size: int = Field(default=224, ge=32, le=2048)  # px at which FAD's learned masks are stored
    width: float = Field(default=1.0, gt=0, le=1)  # share of Xception's channels; below 1 for small machines only
    spatial_dropout: float = Field(default=0.3, ge=0, lt=1)
    frequency_dropout: float = Field(default=0.2, ge=0, lt=1)
    spectral_norm: bool = True


@register(F3NetConfig)
class F3Net(Model):
    """FAD and LFS with an Xception each, and one linear layer; pictures are scaled from [0, 1] to [-1, 1].

    The embedding is the concatenation of both streams' pooled features. It is also the frequency embedding, except in
    mode ``rgb``, which has none.
    """

    def __init__(self, config: F3NetConfig, pretrained: str) -> None:
        super().__init__()
        if pretrained != "none" and config.width != 1:
            raise UsageError(f"model.width {config.width} has no pretrained weights; set model.pretrained to none.")
        self.mode = config.mode
        self.fad = Fad(config.size, config.frequency_dropout) if config.mode in ("fad", "both", "mix") else None
        self.lfs = Lfs() if config.mode in ("lfs", "both", "mix") else None
        self.fad_stream = _stream(3 if config.mode == "rgb" else 12, 2, config) if config.mode != "lfs" else None
        self.lfs_stream = _stream(6, 1, config) if self.lfs is not None else None
        streams = [stream for stream in (self.fad_stream, self.lfs_stream) if stream is not None]
        self.mix7 = MixBlock(streams[0].middle_dim) if config.mode == "mix" else None
        self.mix12 = MixBlock(streams[0].late_dim) if config.mode == "mix" else None
        self.stream_dims = [stream.dim for stream in streams]
        self.embedding_dim = sum(self.stream_dims)
        self.frequency_dim = None if config.mode == "rgb" else self.embedding_dim
        self.dropout = nn.Dropout2d(config.spatial_dropout)
        self.linear = nn.Linear(self.embedding_dim, 1)
        xception.initialise(self)
        if pretrained != "none":
            xception.load_pretrained(streams, pretrained)
        if config.spectral_norm:
            _normalise_spectra(self)

    def forward(self, image_BCHW: Tensor) -> Output:
        return self.classify(self.features(image_BCHW))

    def features(self, image_BCHW: Tensor) -> Tensor:
        return torch.cat([maps_BCHW.mean((2, 3)) for maps_BCHW in self._maps(image_BCHW * 2 - 1)], 1)

    def classify(self, features: Tensor) -> Output:
        # to drop a map before its mean is to drop its mean; streams one after another, as their maps were drawn
        means = torch.split(features[:, :, None, None], self.stream_dims, 1)
        dropped_BD = torch.cat([self.dropout(mean_BC11) for mean_BC11 in means], 1).flatten(1)
        with torch.autocast(features.device.type, enabled=False):  # as in base.Head
            logit_B1 = self.linear(dropped_BD.float())
        return Output(
            logit_B=logit_B1.squeeze(1),
            embedding_BD=features,
            frequency_BD=None if self.frequency_dim is None else features,
        )

    def _maps(self, image_BCHW: Tensor) -> list[Tensor]:
        """Each stream's last maps, (B, 2048, H/32, W/32)."""
        streams, seen = [], []
        if self.fad_stream is not None:
            streams.append(self.fad_stream)
            seen.append(image_BCHW if self.fad is None else self.fad(image_BCHW))
        if self.lfs_stream is not None and self.lfs is not None:
            streams.append(self.lfs_stream)
            seen.append(self.lfs(image_BCHW))
        maps = [stream.early(view) for stream, view in zip(streams, seen, strict=True)]
        if self.mix7 is not None:
            # the streams' maps differ by one row and column at some sizes
            maps = list(self.mix7(maps[0], _resized(maps[1], maps[0])))
        maps = [stream.late(view) for stream, view in zip(streams, maps, strict=True)]
        if self.mix12 is not None:
            maps = list(self.mix12(*maps))
        return [stream.exit(view) for stream, view in zip(streams, maps, strict=True)]


def _stream(channels: int, stem_stride: int, config: F3NetConfig) -> Xception:
    return Xception(channels, stem_stride, config.width)


def _resized(maps_BCHW: Tensor, like_BCHW: Tensor) -> Tensor:
    size = like_BCHW.shape[2:]
    return maps_BCHW if maps_BCHW.shape[2:] == size else F.interpolate(maps_BCHW, size, mode="bilinear")


def _normalise_spectra(model: F3Net) -> None:
    """Largest singular value one for the final layer and MixBlock's convolutions (Miyato et al. 2018)."""
    spectral_norm(model.linear)
    for block in (model.mix7, model.mix12):
        if block is not None:
            for convolution in (block.query, block.key, block.to_fad, block.to_lfs):
                spectral_norm(convolution)
