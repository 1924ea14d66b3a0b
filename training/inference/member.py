"""One trained model, ready to score pictures: those of the loader, or those of a video.

B: batch, U: units of a batch (pictures, or clips of a clip model), N: pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import torch
from torch import Tensor

from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Image
from semblance.quality.resize import to_square
from semblance.training.data import units
from semblance.training.data.loader import floats
from semblance.training.inference import precision
from semblance.training.inference.precision import device
from semblance.training.metrics.classification import Floats
from semblance.training.runs.checkpoint import Trained

BATCH: Final = 32  # pictures


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Member:
    """One model and its checkpoint. ``mirror``: its score is the mean logit of a picture and its mirror image."""

    name: str
    sha256: str
    file: Path
    trained: Trained
    mirror: bool = False

    @property
    def key(self) -> str:
        """What its scores follow from: a member that several runs share is computed once."""
        return f"{self.sha256}+mirror" if self.mirror else self.sha256

    @property
    def size(self) -> int:
        """Side of the pictures that the model takes, in px."""
        return self.trained.recipe.augment.size

    @property
    def clip(self) -> int:
        """Pictures of a score: those of a clip, or 1."""
        return self.trained.model.members


Forward = Callable[[Member, Tensor], Mapping[str, Tensor]]  # pictures (B, 3, H, W) in [0, 1] -> named columns (U,)


def forward(member: Member, image_BCHW: Tensor) -> dict[str, Tensor]:
    """Column ``logit``, the member's score and, if that is the mean with the mirror image's, ``plain`` without it."""
    logit_B = precision.logits(member.trained.model, image_BCHW)
    if not member.mirror:
        return {"logit": logit_B}
    mirrored_B = precision.logits(member.trained.model, image_BCHW.flip(3))
    return {"logit": (logit_B + mirrored_B) / 2, "plain": logit_B}


def member_features(member: Member, image_BCHW: Tensor) -> list[Tensor]:
    """What ``Model.features`` returns for each view that the member scores: the picture and, if asked, its mirror."""
    views = (image_BCHW, image_BCHW.flip(3)) if member.mirror else (image_BCHW,)
    return [precision.features(member.trained.model, view_BCHW) for view_BCHW in views]


def classified(member: Member, features: Sequence[Tensor]) -> Tensor:
    """(B,) the member's score from ``member_features``: the mean logit of its views."""
    with precision.HEADS:
        logits_B = [member.trained.model.classify(one).logit_B for one in features]
    return sum(logits_B[1:], start=logits_B[0]) / len(logits_B)


def image_outputs(
    member: Member, images: Sequence[Image], forward: Forward, faces: pl.DataFrame | None
) -> dict[str, Floats]:
    """What ``forward`` returns for each square crop: columns (N,). ``faces``: as in ``Predictor.member_outputs``."""
    precision.place(member.trained.model, device())
    order, length = list(range(len(images))), member.clip
    if length > 1:
        if faces is None:
            raise SemblanceError(
                f"{member.name} scores clips of {length} faces of a person, and nobody says whose faces these are; "
                "pass a video, or use a run that scores single pictures."
            )
        order = units.cover(faces.with_row_index("place"), length)["place"].to_list()
    step = max(BATCH // length, 1) * length
    tables = []
    for first in range(0, len(order), step):
        places = order[first : first + step]
        (image_BCHW,) = batches([images[place] for place in places], member.size, step)
        columns = forward(member, image_BCHW.to(device()))
        tables.append(units.of_pictures(places, {name: numbers(value_U) for name, value_U in columns.items()}))
    rows = pl.concat(tables)
    rows = rows if length == 1 else units.mean(rows).sort("sample_id")
    return {name: rows[name].to_numpy() for name in rows.columns[1:]}


def batches(images: Sequence[Image], size: int, batch: int = BATCH) -> Iterator[Tensor]:
    """Square crops as float batches (B, 3, size, size) in [0, 1], resized as the loader does."""
    for first in range(0, len(images), batch):
        resized = np.stack([to_square(image, size) for image in images[first : first + batch]])
        yield floats(torch.from_numpy(resized).permute(0, 3, 1, 2))


def numbers(value_B: Tensor) -> Floats:
    """A tensor of any device in float64."""
    return np.asarray(value_B.double().cpu().numpy())
