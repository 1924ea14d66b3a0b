"""The losses: weighted sums of named parts.

B: batch, D: features of an embedding. Nothing here waits for the device: samples are left out by weights, not by index.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from pytorch_metric_learning.losses import ArcFaceLoss
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from semblance.manifests.config import Config
from semblance.manifests.errors import UsageError
from semblance.training.models import Model
from semblance.training.records import Batch, Output

CLASSES: Final = 2


class BceConfig(Config):
    """Binary cross-entropy. ``smoothing`` of 0.1 moves its targets from 0 and 1 to 0.05 and 0.95, in this loss only."""

    weight: float = Field(default=1.0, ge=0)
    smoothing: float = Field(default=0.0, ge=0, lt=1)


class FocalConfig(Config):
    """Focal loss (Lin et al. 2017) on hard labels, with weight ``alpha`` for fakes and 1 - alpha for reals."""

    weight: float = Field(default=0.0, ge=0)
    alpha: float = Field(default=0.7, ge=0, le=1)
    gamma: float = Field(default=2.0, ge=0)


class ArcFaceConfig(Config):
    """ArcFace (Deng et al. 2019) with two classes on the embedding, in training only; BCE's logit stays the only score.

    ``margin`` is in radians; 0.5 is 28.6 degrees. ``scale`` is 16, since at the library's 64 ArcFace would be 95 % of
    the plan's sum.
    """

    weight: float = Field(default=0.0, ge=0)
    margin: float = Field(default=0.5, ge=0, lt=math.pi)
    scale: float = Field(default=16.0, gt=0)


class CentreConfig(Config):
    """Single-centre loss (Li et al., CVPR 2021) on the pooled frequency embedding, in training only.

    It stands for the plan's "DCTFrequencyLoss", which is not a published loss. ``margin`` is in units of sqrt(D).
    """

    weight: float = Field(default=0.0, ge=0)
    margin: float = Field(default=0.3, ge=0)


class UniformityConfig(Config):
    """Uniformity (Wang and Isola, ICML 2020) of the embeddings of a batch, in training only.

    log of the mean of exp(-2 d^2) over all pairs, d the distance of two embeddings of length 1: 0 where all are equal.
    """

    weight: float = Field(default=0.0, ge=0)


class AlignmentConfig(Config):
    """Alignment (Wang and Isola, ICML 2020) by label, in training only.

    The mean of d^2 over the pairs of a batch with the same label, d the distance of two embeddings of length 1.
    """

    weight: float = Field(default=0.0, ge=0)


class LossConfig(Config):
    """The weighted sum of the parts; a part of ``weight`` 0 is not built."""

    bce: BceConfig = BceConfig()
    focal: FocalConfig = FocalConfig()
    arcface: ArcFaceConfig = ArcFaceConfig()
    centre: CentreConfig = CentreConfig()
    uniformity: UniformityConfig = UniformityConfig()
    alignment: AlignmentConfig = AlignmentConfig()


def build(config: LossConfig, model: Model) -> Loss:
    """The loss for a model. Its parameters (ArcFace's weights, the centre) must be optimised and saved too.

    Raises UsageError if no part trains the logit, or if a part needs an embedding that the model does not have.
    """
    return Loss(config, model.embedding_dim, model.frequency_dim)


class Loss(nn.Module):
    """``forward(output, batch)`` returns ``loss`` and each of its parts, the parts detached and unweighted.

    For samples that were mixed (CutMix, MixUp), BCE and focal loss are summed over both hard labels with weights
    lambda and 1 - lambda; losses on embeddings use only the samples that were not mixed. Losses on embeddings are
    not computed in evaluation, since they depend on the rest of the batch. All losses are computed in float32.
    """

    def __init__(self, config: LossConfig, embedding_dim: int, frequency_dim: int | None) -> None:
        super().__init__()
        self.config = config
        if config.bce.weight == config.focal.weight == 0:
            raise UsageError("loss: bce and focal both have weight 0, so the logit would learn nothing.")
        self.arcface: ArcFace | None = None
        self.centre: SingleCentre | None = None
        if config.arcface.weight:
            self.arcface = ArcFace(embedding_dim, config.arcface)
        if config.centre.weight:
            if frequency_dim is None:
                raise UsageError(
                    "loss.centre needs a model with a frequency embedding (f3net, in a mode other than rgb); "
                    "set loss.centre.weight=0."
                )
            self.centre = SingleCentre(frequency_dim, config.centre.margin)

    def forward(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        parts: dict[str, tuple[float, Tensor]] = {}
        logit_B = output.logit_B.float()
        if self.config.bce.weight:
            parts["bce"] = self.config.bce.weight, over_both(self._bce, logit_B, batch)
        if self.config.focal.weight:
            parts["focal"] = self.config.focal.weight, over_both(self._focal, logit_B, batch)
        if self.training and self.arcface is not None:
            arcface = self.arcface(output.embedding_BD.float(), batch.target_B, unmixed(batch))
            parts["arcface"] = self.config.arcface.weight, arcface
        if self.training and self.centre is not None:
            if output.frequency_BD is None:
                raise RuntimeError("the model has a frequency_dim but did not return a frequency embedding")
            centre = self.centre(output.frequency_BD.float(), batch.target_B, unmixed(batch))
            parts["centre"] = self.config.centre.weight, centre
        pairs = {"uniformity": self.config.uniformity.weight, "alignment": self.config.alignment.weight}
        if self.training and any(pairs.values()):
            found = of_pairs(output.embedding_BD.float(), batch.target_B, unmixed(batch))
            parts |= {name: (weight, part) for (name, weight), part in zip(pairs.items(), found, strict=True) if weight}
        total = torch.stack([weight * part for weight, part in parts.values()]).sum()
        return {"loss": total} | {name: part.detach() for name, (_, part) in parts.items()}

    def _bce(self, logit_B: Tensor, target_B: Tensor) -> Tensor:
        smoothing = self.config.bce.smoothing
        target_B = target_B * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(logit_B, target_B, reduction="none")

    def _focal(self, logit_B: Tensor, target_B: Tensor) -> Tensor:
        focal = self.config.focal
        loss_B: Tensor = sigmoid_focal_loss(logit_B, target_B, alpha=focal.alpha, gamma=focal.gamma)
        return loss_B


def over_both(loss: Callable[[Tensor, Tensor], Tensor], logit_B: Tensor, batch: Batch) -> Tensor:
    """The mean over the batch of ``loss`` on the hard label, or of its weighted sum on both labels if mixed."""
    loss_B = loss(logit_B, batch.target_B)
    if batch.mixed_with_B is None or batch.lam_B is None:
        return loss_B.mean()
    return (batch.lam_B * loss_B + (1 - batch.lam_B) * loss(logit_B, batch.mixed_with_B)).mean()


def unmixed(batch: Batch) -> Tensor:
    """Which samples were not mixed, (B,) bool."""
    return torch.ones_like(batch.target_B, dtype=torch.bool) if batch.lam_B is None else batch.lam_B == 1


def mean_where(value_B: Tensor, chosen_B: Tensor) -> Tensor:
    """The mean of the chosen values, zero if there are none; the others get a gradient of zero."""
    return torch.where(chosen_B, value_B, 0).sum() / chosen_B.sum().clamp(min=1)


def of_pairs(embedding_BD: Tensor, target_B: Tensor, chosen_B: Tensor) -> tuple[Tensor, Tensor]:
    """Uniformity and alignment (Wang and Isola 2020) of the chosen samples; zero without a pair.

    Of the pairs on this device: with several, each takes its share of the batch.
    """
    with torch.autocast(embedding_BD.device.type, enabled=False):
        unit_BD = F.normalize(embedding_BD)
        squared_BB = 2 - 2 * unit_BD @ unit_BD.T
    pair_BB = (chosen_B.unsqueeze(1) & chosen_B).triu(diagonal=1)
    same_BB = pair_BB & (target_B.unsqueeze(1) == target_B)
    closeness = mean_where(torch.exp(-2 * squared_BB), pair_BB)
    return torch.log(torch.where(pair_BB.any(), closeness, 1)), mean_where(squared_BB, same_BB)


def soft_loss(student_B: Tensor, teacher_B: Tensor, temperature: float) -> Tensor:
    """T^2 BCE(z_s / T, sigmoid(z_t / T)), the mean over a batch, for raw logits of a student and a teacher.

    It is T^2 times the Kullback-Leibler divergence of the two-class softmax of (0, z / T), plus the teacher's entropy,
    which has no gradient. T^2 keeps the size of the gradient, which falls with 1 / T^2 (Hinton et al. 2015, section 2).
    """
    target_B = torch.sigmoid(teacher_B / temperature)
    return temperature**2 * F.binary_cross_entropy_with_logits(student_B / temperature, target_B)


class ArcFace(nn.Module):
    """pytorch-metric-learning's ArcFace on the chosen samples: of (B, D), labels (B,), bool (B,); zero if none is."""

    def __init__(self, dim: int, config: ArcFaceConfig) -> None:
        super().__init__()
        self.loss = _Arc(CLASSES, dim, margin=math.degrees(config.margin), scale=config.scale)

    def forward(self, embedding_BD: Tensor, target_B: Tensor, chosen_B: Tensor) -> Tensor:
        with torch.autocast(embedding_BD.device.type, enabled=False):  # otherwise W would be cast to half precision
            loss_B = self.loss.by_sample(embedding_BD, target_B.long())
        return mean_where(loss_B, chosen_B)


class _Arc(ArcFaceLoss):  # type: ignore[misc]  # the library is untyped
    """The library's loss by sample, without its waiting for the device.

    Its gradients are finite for an embedding that equals a class's weight.
    """

    def get_angles(self, cosine_of_target_classes: Tensor) -> Tensor:
        return torch.acos(cosine_of_target_classes.clamp(-1 + 1e-6, 1 - 1e-6))

    def by_sample(self, embedding_BD: Tensor, label_B: Tensor) -> Tensor:
        cosine_BK = F.normalize(embedding_BD) @ F.normalize(self.W, dim=0)
        own_B1 = cosine_BK.gather(1, label_B.unsqueeze(1))
        moved_B1 = self.modify_cosine_of_target_classes(own_B1)
        logit_BK = self.scale_logits(cosine_BK.scatter(1, label_B.unsqueeze(1), moved_B1))
        return F.cross_entropy(logit_BK, label_B, reduction="none")


class SingleCentre(nn.Module):
    """Single-centre loss (Li et al., CVPR 2021, equation 1) on the chosen samples of (B, D), with labels (B,).

    M_real + max(0, M_real - M_fake + margin x sqrt(D)), M the mean Euclidean distance of a class to the learned
    centre. Reals gather around it, and fakes stay away by the margin in any direction. Zero if a class is missing in
    the batch.
    """

    def __init__(self, dim: int, margin: float) -> None:
        super().__init__()
        self.centre_D = nn.Parameter(torch.randn(dim))
        self.gap = margin * math.sqrt(dim)

    def forward(self, embedding_BD: Tensor, target_B: Tensor, chosen_B: Tensor) -> Tensor:
        fake_B, real_B = chosen_B & (target_B == 1), chosen_B & (target_B != 1)
        distance_B = torch.linalg.vector_norm(embedding_BD - self.centre_D, dim=1)
        real, fake = mean_where(distance_B, real_B), mean_where(distance_B, fake_B)
        # a zero that depends on every tensor: distributed training waits for the gradient of each parameter
        return torch.where(fake_B.any() & real_B.any(), real + F.relu(real - fake + self.gap), 0 * real)
