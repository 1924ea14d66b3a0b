"""Monte-Carlo dropout (Gal and Ghahramani 2016): uncertainty from predictions under different dropout masks.

Only the head's dropout is drawn: that is where the models have it, and what is before runs once per picture. F3-Net's
frequency dropout is noise on the input, in training only. B: batch, P: passes, N: pictures, V: videos (here and there
views).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from semblance.manifests.ids import digest
from semblance.training.inference import precision
from semblance.training.inference.member import Forward, Member, classified, member_features
from semblance.training.inference.member import forward as deterministic
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics.classification import Floats
from semblance.training.models import Model
from semblance.training.models.base import frozen_parts

PASSES: Final = 100
UNCERTAIN: Final = 0.3  # a prediction with a larger uncertainty is called uncertain
_PREFIX: Final = "pass_"


def layers(model: nn.Module) -> list[nn.Module]:
    """The dropout layers with a rate above 0; drop path, frequency dropout, batch norm, frozen parts do not count."""
    frozen = {id(layer) for part in frozen_parts(model) for layer in part.modules()}
    drops = (layer for layer in model.modules() if isinstance(layer, _DropoutNd) and layer.p > 0)
    return [layer for layer in drops if id(layer) not in frozen]


@contextmanager
def dropping(model: nn.Module) -> Iterator[None]:
    """Activate dropout layers and keep all others in eval mode; afterwards everything is in eval mode."""
    model.eval()
    for layer in layers(model):
        layer.train()
    try:
        yield
    finally:
        model.eval()


def passes(model: Model, image_BCHW: Tensor, count: int, seed: int, *, mirror: bool = False) -> Tensor:
    """(P, B) logits of ``count`` passes over pictures in [0, 1] and, with ``mirror``, their mirror images."""
    views = (image_BCHW, image_BCHW.flip(3)) if mirror else (image_BCHW,)
    with precision.HEADS:
        model.eval()
    return from_features(model, [precision.features(model, view_BCHW) for view_BCHW in views], count, seed)


def from_features(model: Model, features: Sequence[Tensor], count: int, seed: int) -> Tensor:
    """(P, B) logits of ``count`` passes, repeatable by seed, over what ``Model.features`` returned for each view.

    No dropout changes the features; a pass repeats ``Model.classify`` alone. It is the mean logit of the views (picture
    and mirror image) under the same masks.
    """
    logits_VPB = []
    with precision.HEADS, torch.random.fork_rng(), dropping(model):
        for one in features:
            torch.manual_seed(seed)
            logits_VPB.append(torch.stack([model.classify(one).logit_B for _ in range(count)]))
    return torch.stack(logits_VPB).mean(0)


def each(model: Model, features: Sequence[Tensor], count: int, seed: int) -> Tensor:
    """(P, B) like ``passes``, but a picture's masks depend on nothing but the seed: not on its place in a batch.

    ``features``: what ``Model.features`` returned for each view, (B, ...). A picture's passes are one call of the head.
    """
    copies = [[one[i : i + 1].expand(count, *one.shape[1:]) for one in features] for i in range(len(features[0]))]
    logits_BVP = []
    with precision.HEADS, torch.random.fork_rng(), dropping(model):
        for views in copies:
            logits_VP = []
            for one in views:
                torch.manual_seed(seed)
                logits_VP.append(model.classify(one).logit_B)
            logits_BVP.append(torch.stack(logits_VP))
    return torch.stack(logits_BVP).mean(1).T


def forward(count: int = PASSES, seed: int = 0, *, plain: bool = False) -> Forward:
    """A forward function for a predictor: columns pass_000, pass_001, ... of logits.

    A model without dropout runs once and returns equal columns. ``plain``: also the column ``logit`` without dropout,
    from the same features.
    """
    calls: dict[str, int] = {}

    def run(member: Member, image_BCHW: Tensor) -> dict[str, Tensor]:
        model = member.trained.model
        if not layers(model):
            logit_B = deterministic(member, image_BCHW)["logit"]
            return {f"{_PREFIX}{i:03d}": logit_B for i in range(count)} | ({"logit": logit_B} if plain else {})
        number = calls[member.key] = calls.get(member.key, -1) + 1
        own = int(digest(seed, member.key, number)[:15], 16)
        features = member_features(member, image_BCHW)
        columns = {f"{_PREFIX}{i:03d}": logit_B for i, logit_B in enumerate(from_features(model, features, count, own))}
        return columns | ({"logit": classified(member, features)} if plain else {})

    return run


def has_dropout(predictor: Predictor) -> bool:
    """Whether any member has a dropout layer; without one, uncertainty is unknown, not zero."""
    return any(layers(member.trained.model) for member in predictor.members)


def of_pictures(predictor: Predictor, logits_MNP: Sequence[Floats]) -> Floats:
    """(N,) uncertainty: twice the standard deviation of the calibrated probability over the passes."""
    return np.asarray(2 * predictor.probability(predictor.combine(logits_MNP), "frame").std(1))


def of_videos(predictor: Predictor, pictures: pl.DataFrame, logits_MNP: Sequence[Floats]) -> pl.DataFrame:
    """The same for each video, whose logit in each pass is the maximum over its persons of the mean logit.

    ``pictures``: video_id and person of the N pictures. Returns video_id and ``uncertainty``.
    """
    combined_NP = predictor.combine(logits_MNP)
    names = [f"{_PREFIX}{i:03d}" for i in range(combined_NP.shape[1])]
    rows = pictures.select("video_id", "person").hstack(pl.DataFrame(combined_NP, schema=names))
    by_person = rows.group_by("video_id", "person").agg(pl.col(names).mean())
    by_video = by_person.group_by("video_id").agg(pl.col(names).max()).sort("video_id")
    spread_V = 2 * predictor.probability(by_video.select(names).to_numpy(), "video").std(1)
    return by_video.select("video_id").with_columns(uncertainty=pl.Series(spread_V))


def columns(table: pl.DataFrame) -> list[str]:
    """The names of the pass columns in a table that ``forward`` filled."""
    return [name for name in table.columns if name.startswith(_PREFIX)]
