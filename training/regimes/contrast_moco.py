"""MoCo v3 (Chen, Xie and He, ICCV 2021), and with a queue MoCo v2's form (Chen et al. 2020) on its heads.

A picture's query is to find the key of its other view, made by a slowly following encoder, among those of other people.
U: units of a batch (two views each), C: dimensions of a projection; the other letters as in ``contrast_parts``.
"""

from __future__ import annotations

import copy
import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn

from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.records import Batch
from semblance.training.regimes import contrast_parts as parts
from semblance.training.regimes import registry
from semblance.training.regimes.base import Chance, Regime, RegimeConfig, Stage, Step
from semblance.training.regimes.contrast_parts import NOTHING, VIEWS, Exclude, Groups


class MoCoConfig(RegimeConfig):
    """Learn from two views of each picture (``data.views: 2``), or two frames of a track, without labels.

    ``queue: 0`` is MoCo v3: keys are those of the batch. A ``queue`` of 4096, say, is MoCo v2's form on MoCo v3's
    heads: negatives are that many keys of earlier batches. ``momentum``: the share that the key encoder keeps of itself
    in a step; ``schedule: cosine`` lets it grow to 1 over the run, as MoCo v3 does. ``hidden``: width of the heads.
    ``exclude``: whose pictures are no negatives: those of the same ``video``, or also those of the same ``family`` and
    person, or ``none`` but the picture itself. The patch projection of a vision transformer stays as it is.
    """

    labelled: ClassVar[bool] = False
    kind: Literal["moco"] = "moco"
    temperature: float = Field(default=0.2, gt=0)
    momentum: float = Field(default=0.999, ge=0, lt=1)
    schedule: Literal["constant", "cosine"] = "constant"
    queue: int = Field(default=0, ge=0)
    dim: int = Field(default=256, ge=2)
    hidden: int = Field(default=4096, ge=2)
    exclude: Exclude = "family"

    @property
    def terms(self) -> tuple[str, ...]:
        """Which MoCo this is."""
        form = f"MoCo v2's form on MoCo v3's heads, with a queue of {self.queue} keys" if self.queue else "MoCo v3"
        return form, parts.told(self.exclude)


class Queue(nn.Module):
    """The last ``size`` keys with the groups of their pictures, first in, first out. It starts empty."""

    key_KC: Tensor
    group_KG: Tensor
    place: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("key_KC", torch.zeros(size, dim))
        self.register_buffer("group_KG", torch.full((size, 2), NOTHING))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))  # of the next key

    @torch.no_grad()
    def add(self, key_NC: Tensor, group_NG: Tensor) -> None:
        """Take keys in, in order. One that is not finite, after an overflow in 16 bits, leaves its place empty."""
        size = len(self.key_KC)
        key_NC, group_NG = key_NC[-size:], group_NG[-size:]
        sound_N1 = key_NC.isfinite().all(1, keepdim=True)
        to_N = (self.place + torch.arange(len(key_NC), device=self.place.device)) % size
        self.key_KC[to_N] = torch.where(sound_N1, key_NC, 0)
        self.group_KG[to_N] = torch.where(sound_N1, group_NG, NOTHING)
        self.place.copy_((self.place + len(key_NC)) % size)


@registry.register(MoCoConfig)
class MoCo(Regime):
    """A predictor on the queries, an encoder that follows for the keys, and their cross-entropy in both directions."""

    config: MoCoConfig

    def __init__(self, config: MoCoConfig, model: Model, loss: Loss) -> None:
        super().__init__(config, loss)
        parts.check_model(config.kind, model)
        self.groups = Groups(config.exclude)
        patches = [part for part in model.modules() if isinstance(part, PatchEmbed)]
        for part in patches:
            part.proj.requires_grad_(False)
        # as in the authors' code: a transformer has one layer more, and a norm after the predictor
        inner, transformer = config.hidden, bool(patches)
        widths = [model.embedding_dim, *[inner] * (2 if transformer else 1), config.dim]
        self.projector = parts.mlp(widths, norms=True, last_norm=True)
        self.predictor = parts.mlp([config.dim, inner, config.dim], norms=True, last_norm=transformer)
        self.key_model = copy.deepcopy(model).requires_grad_(False)
        self.key_projector = copy.deepcopy(self.projector).requires_grad_(False)
        self.queue = Queue(config.queue, config.dim) if config.queue else None
        self._progress = 0.0  # of the last batch

    def begin(self, model: Model, stage: Stage) -> None:
        del model
        parts.check(self.config.kind, stage)
        self.groups.learn(stage, queue=self.queue is not None)

    def forward(self, model: Model, batch: Batch, chance: Chance) -> Step:
        output = model(batch.image_BCHW)
        with torch.no_grad():
            followed_BD = self.key_model(batch.image_BCHW).embedding_BD.float()
        found = parts.gathered(output.embedding_BD.float(), followed_BD, self.groups.of(batch))
        embedding_ND, followed_ND, group_NG = found
        with torch.autocast(embedding_ND.device.type, enabled=False):
            query_NC = F.normalize(self.predictor(self.projector(embedding_ND)), dim=1)
            with torch.no_grad():
                key_NC = F.normalize(self.key_projector(followed_ND), dim=1)
            loss, figures = self._both_ways(query_NC, key_NC, group_NG)
        if self.training:
            self._progress = chance.progress
            if self.queue is not None:
                self.queue.add(key_NC, group_NG)
        return Step(loss=loss + parts.untouched(output), parts={"loss": loss.detach(), **figures})

    def _both_ways(self, query_NC: Tensor, key_NC: Tensor, group_NG: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """2 tau x cross-entropy of each view's queries over the other view's keys, summed over both."""
        tau = self.config.temperature
        sides = []
        for view in range(VIEWS):
            query_UC, key_UC = query_NC[view::VIEWS], key_NC[1 - view :: VIEWS]
            group_UG = group_NG[view::VIEWS]
            positive_U = torch.arange(len(query_UC), device=query_NC.device)
            if self.queue is None:
                logit_UK, apart_UK = query_UC @ key_UC.T, self.groups.apart(group_UG, group_NG[1 - view :: VIEWS])
            else:
                own_U1 = (query_UC * key_UC).sum(1, keepdim=True)
                queued_KC = self.queue.key_KC.clone()  # new keys overwrite it before gradients are computed
                logit_UK = torch.cat([own_U1, query_UC @ queued_KC.T], 1)
                apart_UK = F.pad(self.groups.apart(group_UG, self.queue.group_KG), (1, 0))
                positive_U = torch.zeros_like(positive_U)
            sides.append(parts.cross_entropy(logit_UK / tau, positive_U, apart_UK))
        figures = {name: torch.stack([side[1][name] for side in sides]).mean() for name in sides[0][1]}
        return 2 * tau * (sides[0][0] + sides[1][0]), figures

    @property
    def momentum(self) -> float:
        """Of the next step of the key encoder."""
        if self.config.schedule == "constant":
            return self.config.momentum
        return 1 - (1 - self.config.momentum) * (1 + math.cos(math.pi * self._progress)) / 2

    @torch.no_grad()
    def stepped(self, model: Model) -> None:
        """The key encoder follows: it has moved before the next keys are made, and before the first it is equal."""
        ours: list[Tensor] = [*self.key_model.parameters(), *self.key_projector.parameters()]
        theirs: list[Tensor] = [*model.parameters(), *self.projector.parameters()]
        torch._foreach_lerp_(ours, theirs, 1 - self.momentum)
