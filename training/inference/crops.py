"""Face crops scored as they come: logits and uncertainty that depend on nothing but the crop.

B: batch, P: passes, M: members.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from semblance.manifests.errors import UsageError
from semblance.manifests.records import Image
from semblance.training.inference import mc_dropout, precision
from semblance.training.inference.member import batches, classified, member_features, numbers
from semblance.training.inference.predictor import Predictor
from semblance.training.inference.video import Scored

_SEED: Final = 0


def score(predictor: Predictor, images: Sequence[Image], passes: int) -> list[Scored]:
    """The score of each square crop (S, S, 3) uint8 RGB, all in one batch.

    The probability is that of a picture. Its uncertainty, two standard deviations over ``passes`` of dropout, is the
    same in any batch; None without passes or dropout. Raises UsageError if a member scores clips of several pictures,
    SemblanceError if a logit is not finite.
    """
    check(predictor)
    logits_MB, passes_MPB = [], []
    dropout = passes > 0 and mc_dropout.has_dropout(predictor)
    with torch.inference_mode():
        for member in predictor.members:
            model = precision.place(member.trained.model, precision.device())
            (image_BCHW,) = batches(images, member.size, len(images))
            features = member_features(member, image_BCHW.to(precision.device()))
            logits_MB.append(numbers(classified(member, features)))
            if dropout:
                passes_MPB.append(numbers(mc_dropout.each(model, features, passes, _SEED)))
    logit_B = predictor.finite(predictor.combine(logits_MB))
    probability_B = predictor.probability(logit_B, "frame")
    spread_B: Sequence[float | None] = [None] * len(images)
    if dropout:
        spread_B = mc_dropout.of_pictures(predictor, [logits_PB.T for logits_PB in passes_MPB]).tolist()
    return [
        Scored(logit=float(logit), probability=float(probability), uncertainty=spread)
        for logit, probability, spread in zip(logit_B, np.asarray(probability_B), spread_B, strict=True)
    ]


def check(predictor: Predictor) -> None:
    """Raises UsageError if a member scores clips, which a single crop is not."""
    for member in predictor.members:
        if member.clip > 1:
            raise UsageError(f"{member.name} scores clips of {member.clip} faces of a person, so send it videos.")
