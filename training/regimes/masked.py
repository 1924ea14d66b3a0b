"""Masked autoencoding (He et al., CVPR 2022): a vision transformer sees a quarter of the patches, and paints the rest.

B: pictures of a batch, N: patches of a picture, V: visible ones, V': these and the class token. D, W: features of
encoder and decoder. P: pixels of a patch, in all colours.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from semblance.manifests.errors import UsageError
from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.models.vit import ViT
from semblance.training.records import Batch, to_device
from semblance.training.regimes import registry
from semblance.training.regimes.base import Chance, Step
from semblance.training.regimes.pretext import Pretext, PretextConfig

_EPS: Final = 1e-6  # added to the variance of a patch, as the paper's code does


class MaskedConfig(PretextConfig):
    """Paint the hidden patches of a picture from the visible ones. For plain vision transformers only.

    ``mask``: the share of patches that are hidden, drawn for each picture. ``width``, ``depth`` and ``heads`` are those
    of the decoder, which learns beside the model and is no part of it. The paper's is 512 wide and 8 deep; one of a
    single block is as good after fine-tuning (its table 1).
    """

    kind: Literal["masked"] = "masked"
    mask: float = Field(default=0.75, gt=0, lt=1)
    width: int = Field(default=256, ge=8, multiple_of=4)
    depth: int = Field(default=4, ge=1, le=12)
    heads: int = Field(default=8, ge=1)

    @property
    def terms(self) -> tuple[str, ...]:
        return ("grey everywhere would have a loss of about 1",)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"regime.heads ({self.heads}) must divide regime.width ({self.width}); change one of them")
        return self


class Decoder(nn.Module):
    """Visible tokens (B, V', D) to all patches (B, N, P): blocks over these and one learned token for all hidden ones.

    Positions are fixed sines and cosines. ``prefix``: tokens before the patches, such as the class token.
    """

    position_NW: Tensor

    def __init__(self, config: MaskedConfig, dim: int, grid: int, pixels: int, prefix: int) -> None:
        super().__init__()
        self.prefix = prefix
        self.embed = nn.Linear(dim, config.width)
        self.hidden = nn.Parameter(torch.zeros(1, 1, config.width))
        nn.init.normal_(self.hidden, std=0.02)
        self.register_buffer("position_NW", positions(grid, config.width), persistent=False)
        self.blocks = nn.Sequential(*(Block(config.width, config.heads, qkv_bias=True) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(config.width)
        self.pixels = nn.Linear(config.width, pixels)

    def forward(self, token_BVD: Tensor, visible_BV: Tensor) -> Tensor:
        token_BVW = self.embed(token_BVD)
        batch, _, width = token_BVW.shape
        whole_BNW = self.hidden.to(token_BVW.dtype).expand(batch, len(self.position_NW), width)
        place_BVW = visible_BV[..., None].expand(-1, -1, width)
        whole_BNW = whole_BNW.scatter(1, place_BVW, token_BVW[:, self.prefix :]) + self.position_NW
        whole = self.norm(self.blocks(torch.cat([token_BVW[:, : self.prefix], whole_BNW], 1)))
        pixel_BNP: Tensor = self.pixels(whole[:, self.prefix :])
        return pixel_BNP


@registry.register(MaskedConfig)
class Masked(Pretext):
    """The mean squared error on hidden patches, of pixels normalised within each patch.

    An answer of grey everywhere has a loss of about 1. Raises UsageError for a model that is not timm's plain vision
    transformer, whose blocks take any subset of patches.
    """

    def __init__(self, config: MaskedConfig, model: Model, loss: Loss) -> None:
        super().__init__(config, model, loss)
        backbone: Any = getattr(model, "backbone", None)
        if not isinstance(model, ViT) or not isinstance(backbone, VisionTransformer):
            raise UsageError(
                "The regime masked hides patches of a plain vision transformer, such as vit_small_patch16_224; set "
                "model.kind=vit and such a model.arch."
            )
        self.side = int(backbone.patch_embed.patch_size[0])
        patches = int(backbone.patch_embed.num_patches)
        self.visible = int(patches * (1 - config.mask))
        if not 0 < self.visible < patches:
            raise UsageError(
                f"regime.mask {config.mask:g} leaves {self.visible} of {patches} patches visible; change it, or "
                "take larger pictures."
            )
        self.decoder = Decoder(
            config, model.embedding_dim, math.isqrt(patches), 3 * self.side**2, backbone.num_prefix_tokens
        )

    def forward(self, model: Model, batch: Batch, chance: Chance) -> Step:
        image_BCHW = batch.image_BCHW
        assert isinstance(model, ViT)
        visible_BV = to_device(self.seen(batch, chance.epoch), image_BCHW.device)
        painted_BNP = self.decoder(encode(model, image_BCHW, visible_BV), visible_BV)
        target_BNP = normalised(patches(image_BCHW, self.side))
        hidden_BN = torch.ones(target_BNP.shape[:2], device=image_BCHW.device).scatter(1, visible_BV, 0.0)
        loss = error(painted_BNP.float(), target_BNP, hidden_BN)
        return Step(loss=loss, parts={"loss": loss.detach()})

    def seen(self, batch: Batch, epoch: int) -> Tensor:
        """The visible patches of each picture in ascending order, (B, V), on the host."""
        count = self.decoder.position_NW.shape[0]
        return self.draw(batch.sample_ids, epoch, count).argsort(1)[:, : self.visible].sort(1).values


def encode(model: ViT, image_BCHW: Tensor, visible_BV: Tensor) -> Tensor:
    """The encoder's tokens of the visible patches after its prefix tokens, (B, V', D). It sees no others."""
    backbone: Any = model.backbone
    token_BND = backbone._pos_embed(backbone.patch_embed(model.normalise(image_BCHW)))
    prefix = backbone.num_prefix_tokens
    place_BVD = visible_BV[..., None].expand(-1, -1, token_BND.shape[2])
    token_BVD = torch.cat([token_BND[:, :prefix], token_BND[:, prefix:].gather(1, place_BVD)], 1)
    encoded_BVD: Tensor = backbone.norm(backbone.blocks(backbone.norm_pre(token_BVD)))
    return encoded_BVD


def patches(image_BCHW: Tensor, side: int) -> Tensor:
    """The pixels of each patch of ``side`` px, row by row, (B, N, P)."""
    batch, colours, height, width = image_BCHW.shape
    image_BChswt = image_BCHW.reshape(batch, colours, height // side, side, width // side, side)
    return image_BChswt.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, side * side * colours)


def normalised(patch_BNP: Tensor) -> Tensor:
    """Patches of mean 0 and (unbiased) variance 1 over all their values, as in the paper's code."""
    variance, mean = torch.var_mean(patch_BNP, 2, keepdim=True)
    return (patch_BNP - mean) / (variance + _EPS).sqrt()


def error(painted_BNP: Tensor, target_BNP: Tensor, hidden_BN: Tensor) -> Tensor:
    """The mean squared error over the patches where ``hidden_BN`` is 1."""
    error_BN = (painted_BNP - target_BNP).square().mean(2)
    return (error_BN * hidden_BN).sum() / hidden_BN.sum()


def positions(grid: int, width: int) -> Tensor:
    """Sines and cosines of the row and the column of each patch, at wavelengths to 10,000 x 2 pi, (N, width)."""
    rate = 10000.0 ** -(np.arange(width // 4) / (width // 4))
    row, column = (place.reshape(-1, 1) * rate for place in np.indices((grid, grid)).astype(np.float64))
    return torch.from_numpy(np.concatenate([np.sin(column), np.cos(column), np.sin(row), np.cos(row)], 1)).float()
