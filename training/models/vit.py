"""Vision transformers (Dosovitskiy et al. 2021) of which a small part is tuned, as a detector.

After GenD (Yermakov et al., WACV 2026): the tuned normalisation layers of a pretrained network generalise better to
unseen forgeries than the whole tuned network.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from timm.layers.norm import RmsNorm
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from semblance.manifests.errors import UsageError
from semblance.training.models import lora, weights
from semblance.training.models.base import Head, Model, ModelConfig, Normalise, freeze
from semblance.training.models.registry import register
from semblance.training.records import Output

Trainable = Literal["norms", "biases", "head", "lora", "all"]

_NORMS: Final = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, RmsNorm, _BatchNorm)
_PROJECTIONS: Final = ("qkv", "q_proj", "k_proj", "v_proj", "proj")  # of timm's attention, fused or not


class ViTConfig(ModelConfig):
    """``arch``: timm's name of a vision transformer, whose mean, deviation and pooling are used.

    ``size``: side of the pictures in px, a multiple of the patch. ``trainable``: what is trained beside the head:
    ``norms`` (scales and shifts of normalisation layers), ``biases`` (BitFit, Ben Zaken et al. 2022), ``lora``
    (Hu et al. 2022: ``lora_alpha`` / ``lora_rank`` x B A is added to the projections of attention), nothing (``head``)
    or ``all``. ``unit_length``: features have length 1 before the head, as GenD's. ``pretrained: imagenet``: timm's
    weights of that name, whatever they were trained on. ``dropout`` is applied before the head; Monte-Carlo dropout
    uses it. ``drop_path``: stochastic depth (Huang et al. 2016).
    """

    fixed_size: ClassVar[bool] = True
    kind: Literal["vit"] = "vit"
    arch: str = "vit_large_patch14_clip_224.openai"
    size: int = Field(default=224, ge=16, le=2048)
    trainable: Trainable = "norms"
    lora_rank: int = Field(default=8, ge=1, le=512)
    lora_alpha: float = Field(default=16.0, gt=0)
    unit_length: bool = True
    dropout: float = Field(default=0.0, ge=0, lt=1)
    drop_path: float = Field(default=0.0, ge=0, lt=1)


class UnitLength(nn.Module):
    """(B, D) to vectors of length 1, in float32 also under autocast."""

    def forward(self, features_BD: Tensor) -> Tensor:
        with torch.autocast(features_BD.device.type, enabled=False):
            return F.normalize(features_BD.float(), dim=1)


@register(ViTConfig)
class ViT(Model):
    """timm's vision transformer under its own normalisation and pooling, and one linear layer."""

    def __init__(self, config: ViTConfig, pretrained: str) -> None:
        super().__init__()
        self.config = config
        # one grid: the graph of any other would compute position embeddings, which OpenVINO cannot
        fixed = {"dynamic_img_size": False} if getattr(_checked(config), "dynamic_img_size", False) else {}
        backbone: Any = weights.create(
            config.arch, pretrained, img_size=config.size, drop_path_rate=config.drop_path, **fixed
        )
        published = backbone.pretrained_cfg
        self.backbone = backbone
        self.normalise = Normalise(published["mean"], published["std"])
        if config.unit_length:
            self.unit = UnitLength()
        self.embedding_dim = weights.width(self.backbone)
        self.head = Head(self.embedding_dim, config.dropout)

    def forward(self, image_BCHW: Tensor) -> Output:
        side = self.config.size
        if image_BCHW.shape[2:] != (side, side):
            high, wide = image_BCHW.shape[2:]
            raise UsageError(
                f"The model takes pictures of {side} x {side} px and was given {high} x {wide}; set augment.size and "
                "model.size to the same number."
            )
        backbone: Any = self.backbone
        features_BNF = backbone.forward_features(self.normalise(image_BCHW))
        embedding_BD = backbone.forward_head(features_BNF, pre_logits=True)
        if self.config.unit_length:
            embedding_BD = self.unit(embedding_BD)
        return Output(logit_B=self.head(embedding_BD), embedding_BD=embedding_BD)

    def settle(self) -> None:
        config = self.config
        backbone: Any = self.backbone
        match config.trainable:
            case "all":
                return
            case "head":
                freeze(backbone)
                return
            case "norms":
                chosen = [one for part in backbone.modules() if isinstance(part, _NORMS) for one in _own(part)]
            case "biases":
                chosen = [one for name, one in backbone.named_parameters() if name.endswith("bias")]
            case "lora":
                chosen = []
        backbone.requires_grad_(False)
        for parameter in chosen:
            parameter.requires_grad_(True)
        if config.trainable == "lora":
            lora.attach(_projections(backbone), config.lora_rank, config.lora_alpha)


def _own(part: nn.Module) -> Iterator[nn.Parameter]:
    return part.parameters(recurse=False)


def _projections(backbone: Any) -> Iterator[nn.Linear]:
    for block in backbone.blocks:
        for name in _PROJECTIONS:
            if isinstance(layer := getattr(block.attn, name, None), nn.Linear):
                yield layer


def _checked(config: ViTConfig) -> Any:
    """timm's network of shapes alone.

    Raises UsageError for an architecture that is no vision transformer, or a size that its patches do not divide.
    """
    with torch.device("meta"):  # shapes only
        probe: Any = weights.create(config.arch, "none")
    patches = getattr(probe, "patch_embed", None)
    blocks = getattr(probe, "blocks", None)
    if (
        not isinstance(patches, PatchEmbed)
        or not isinstance(blocks, nn.Sequential | nn.ModuleList)
        or not all(isinstance(getattr(getattr(block, "attn", None), "proj", None), nn.Linear) for block in blocks)
    ):
        raise UsageError(
            f"{config.arch} is not a vision transformer of equal blocks over square patches, such as "
            "vit_small_patch16_dinov3; choose another model.arch."
        )
    side = patches.patch_size[0]
    if config.size % side:
        near = max(side, round(config.size / side) * side)
        raise UsageError(
            f"{config.arch} cuts pictures into patches of {side} px, which do not divide {config.size} px; set "
            f"augment.size and model.size to {near}."
        )
    return probe
