"""Monte-Carlo dropout (Gal and Ghahramani 2016): how much an answer changes as dropout leaves out other features.

B: batch, P: passes, N: pictures, V: videos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from semblance.manifests.records import digest
from semblance.training.inference.predictor import Member, Predictor
from semblance.training.metrics.classification import Floats
from semblance.training.models import Model
from semblance.training.models.base import Head

PASSES: Final = 100
UNCERTAIN: Final = 0.3  # above it an answer is called uncertain
_PREFIX: Final = "pass_"


def layers(model: nn.Module) -> list[nn.Module]:
    """The dropout layers that leave anything out; drop path and batch norm are none."""
    return [one for one in model.modules() if isinstance(one, _DropoutNd) and one.p > 0]


@contextmanager
def dropping(model: nn.Module) -> Iterator[None]:
    """Dropout layers alone active, all else in eval mode; everything in eval mode afterwards."""
    model.eval()
    for layer in layers(model):
        layer.train()
    try:
        yield
    finally:
        model.eval()


def passes(model: Model, image_BCHW: Tensor, count: int, seed: int) -> Tensor:
    """(P, B) logits of ``count`` passes over pictures in [0, 1]; the same seed gives the same ones.

    Where dropout stands in the head alone, what comes before is computed once: the answers are the same.
    """
    head = getattr(model, "head", None)
    inside = set(head.modules()) if isinstance(head, Head) else set()
    with torch.random.fork_rng(), dropping(model):
        if isinstance(head, Head) and all(layer in inside for layer in layers(model)):
            embedding_BD = model(image_BCHW).embedding_BD
            torch.manual_seed(seed)
            return torch.stack([head(embedding_BD) for _ in range(count)])
        torch.manual_seed(seed)
        return torch.stack([model(image_BCHW).logit_B for _ in range(count)])


def question(count: int = PASSES, seed: int = 0) -> Callable[[Member, Tensor], Mapping[str, Tensor]]:
    """What ``judge.ask`` asks for: columns pass_000, pass_001, ... of logits; a model without dropout answers once."""
    asked: dict[str, int] = {}

    def answer(member: Member, image_BCHW: Tensor) -> dict[str, Tensor]:
        model = member.trained.model
        if not layers(model):
            logit_B = model(image_BCHW).logit_B
            return {f"{_PREFIX}{i:03d}": logit_B for i in range(count)}
        number = asked[member.key] = asked.get(member.key, -1) + 1
        logit_PB = passes(model, image_BCHW, count, int(digest(seed, member.key, number)[:15], 16))
        return {f"{_PREFIX}{i:03d}": logit_B for i, logit_B in enumerate(logit_PB)}

    return answer


def has(judge: Predictor) -> bool:
    """Whether any of its members has a dropout layer; without one, uncertainty is unknown, not zero."""
    return any(layers(member.trained.model) for member in judge.members)


def of_pictures(judge: Predictor, logits_MNP: Sequence[Floats]) -> Floats:
    """(N,): twice the standard deviation of the calibrated probability over the passes."""
    return np.asarray(2 * judge.probability(judge.combine(logits_MNP), "frame").std(1))


def of_videos(judge: Predictor, pictures: pl.DataFrame, logits_MNP: Sequence[Floats]) -> pl.DataFrame:
    """Per video the same, of the maximum over its tracks of the mean logit, taken anew in each pass.

    ``pictures``: video_id and track of the N pictures. Answers video_id and ``uncertainty``.
    """
    combined_NP = judge.combine(logits_MNP)
    names = [f"{_PREFIX}{i:03d}" for i in range(combined_NP.shape[1])]
    rows = pictures.select("video_id", "track").hstack(pl.DataFrame(combined_NP, schema=names))
    by_track = rows.group_by("video_id", "track").agg(pl.col(names).mean())
    by_video = by_track.group_by("video_id").agg(pl.col(names).max()).sort("video_id")
    spread_V = 2 * judge.probability(by_video.select(names).to_numpy(), "video").std(1)
    return by_video.select("video_id").with_columns(uncertainty=pl.Series(spread_V))


def columns(answer: pl.DataFrame) -> list[str]:
    """The names of the passes in a table that ``question`` filled."""
    return [name for name in answer.columns if name.startswith(_PREFIX)]
