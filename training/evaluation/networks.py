"""Runs and ensembles as one function of pictures, and the fixed slice of pictures that costly measurements are made on.

B: batch, C: colours, H, W: pixels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import polars as pl
import torch
from torch import Tensor, nn

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.ids import digest
from semblance.training.data import units
from semblance.training.data.loader import Loader, Transfer, as_floats
from semblance.training.data.query import Selection
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.external import External
from semblance.training.inference.member import Member
from semblance.training.inference.precision import device
from semblance.training.inference.predictor import Predictor
from semblance.training.records import Batch

BATCH: Final = 16  # pictures; the graph of a gradient is held for all of them
_TIMED: Final = 8  # pictures whose pass is timed


def refusal(scorer: Predictor | External) -> str | None:
    """Why a detector cannot be attacked or certified as a function of pictures, as a sentence; None if it can."""
    if isinstance(scorer, External):
        return f"{scorer.name} is external, so it has no gradients and takes no noise; only runs can be judged so."
    if clips := [member for member in scorer.members if member.clip > 1]:
        return (
            f"{scorer.name} scores clips of {clips[0].clip} faces ({clips[0].name}), whose unit is no picture; name "
            "the frame model that it was made from."
        )
    if len(sizes := sorted({member.size for member in scorer.members})) > 1:
        return (
            f"The members of {scorer.name} take pictures of {' and '.join(map(str, sizes))} px, and no gradient leads "
            "through the resizing; name its members instead."
        )
    return None


def able(scorers: Sequence[Predictor | External], what: str) -> tuple[dict[str, Predictor], list[str]]:
    """The runs that can be judged so, by name, and why others cannot. Raises UsageError if there is none.

    ``what``: the option that asks for it.
    """
    found: dict[str, Predictor] = {}
    refused = []
    for one in scorers:
        reason = refusal(one)
        if reason is None and isinstance(one, Predictor):
            found[one.name] = one
        elif reason is not None:
            refused.append(reason)
    if not found:
        raise UsageError(f"{what} has nothing to judge: {refused[0]}")
    return found, refused


def side(predictor: Predictor) -> int:
    """Side of the pictures that its members take, in px."""
    return predictor.members[0].size


def by_side(predictors: Mapping[str, Predictor]) -> dict[int, list[Predictor]]:
    """Runs by the side of the pictures that they take."""
    found: dict[int, list[Predictor]] = {}
    for one in predictors.values():
        found.setdefault(side(one), []).append(one)
    return found


def logits(predictor: Predictor) -> Callable[[Tensor], Tensor]:
    """The combined logit (B,) of pictures (B, 3, H, W) in [0, 1], mirror images included, in float32.

    Half precision, which scores are computed in on a GPU, would round small gradients away.
    """

    def of(member: Member, image_BCHW: Tensor) -> Tensor:
        model = member.trained.model
        logit_B = model(image_BCHW).logit_B
        return (logit_B + model(image_BCHW.flip(3)).logit_B) / 2 if member.mirror else logit_B

    def combined(image_BCHW: Tensor) -> Tensor:
        found: Tensor = predictor.combine([of(member, image_BCHW) for member in predictor.members])
        return found

    return combined


def modules(predictor: Predictor) -> list[nn.Module]:
    """Its networks, on the device that inference uses."""
    return [member.trained.model.to(device()).eval() for member in predictor.members]


def passes(predictor: Predictor) -> int:
    """Passes of a network for one score."""
    return sum(2 if member.mirror else 1 for member in predictor.members)


def seconds(predictor: Predictor) -> float:
    """About how long one score of a picture takes, in a batch."""
    modules(predictor)
    of, many = logits(predictor), torch.full((_TIMED, 3, side(predictor), side(predictor)), 0.5, device=device())
    with torch.inference_mode():
        of(many)
        start = time.perf_counter()
        of(many).sum().item()
    return (time.perf_counter() - start) / _TIMED


def told(seconds: float) -> str:
    """A length of time in words."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def sliced(selection: Selection, count: int) -> Selection:
    """At most ``count`` pictures of labelled videos, chosen by the hash of their ids alone.

    Half of them are of real and half of fake videos, as far as there are as many. No person of a video gives a second
    picture before all gave one.
    """
    rows = selection.pictures.filter(pl.col("label").is_not_null())
    rows = rows.with_columns(hash=pl.Series([digest("slice", name) for name in rows["sample_id"]], dtype=pl.String))
    person = pl.col("hash").rank("ordinal").over("dataset", "video_id", "person").alias("turn")
    rows = rows.with_columns(person).sort("turn", "hash")
    parts = [rows.filter(pl.col("label") == label) for label in (0, 1)]
    half = count // 2
    real = min(parts[0].height, max(half, count - parts[1].height))
    chosen = pl.concat([parts[0].head(real), parts[1].head(count - real)])["sample_id"]
    return only(selection, pl.col("sample_id").is_in(chosen.implode()))


def only(selection: Selection, kept: pl.Expr) -> Selection:
    """The single pictures of a selection for which ``kept`` holds. Raises SemblanceError if there is none."""
    pictures = selection.pictures.filter(kept)
    if pictures.is_empty():
        raise SemblanceError(
            f"No labelled picture of split {selection.split} is left to judge; choose another --split."
        )
    pictures = pictures.with_columns(unit=pl.int_range(pl.len(), dtype=pl.Int32))
    return replace(selection, pictures=pictures, units=units.summarise(pictures))


def batches(selection: Selection, size: int) -> Iterator[Batch]:
    """The pictures of a selection as the network sees them, at ``size`` px, on the device that inference uses."""
    loader = Loader(selection, batch=BATCH, size=size, transfer=Transfer(as_bytes=True))
    for batch in loader:
        yield as_floats(batch.to(device()))


def labels(selection: Selection) -> dict[str, int]:
    """What each picture is judged against: the label of its face, or that of its video where that is not known."""
    label = pl.coalesce("face_label", "label").cast(pl.Int64)
    return dict(selection.pictures.select("sample_id", label).iter_rows())


def judged(result: Evaluation, model: str, selection: Selection) -> pl.DataFrame:
    """The rows of a model's predictions for the pictures of a selection."""
    names = selection.pictures["sample_id"].implode()
    return result.predictions[model].filter(pl.col("sample_id").is_in(names))
