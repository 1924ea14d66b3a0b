"""How much of what tells a fake from its original an attack could undo: the share of values within its strength.

A pair is a fake and its original's crop at the same frame and position (``data/units.py``). Where a value of the fake
differs from that of its original by no more than the strength, an attack could set it back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl
import torch

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.ids import digest
from semblance.training.data import units
from semblance.training.data.loader import Loader, Transfer
from semblance.training.data.query import QueryConfig, Selection, select
from semblance.training.data.units import UnitConfig
from semblance.training.evaluation.evaluate import Evaluation

_TOLERANCE = 1e-6  # grey levels


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The fakes of a method against their originals, at the size in which both are stored.

    ``share``: of the fakes' values that lie within ``strength`` of their original's. ``whole``: pairs of which all do.
    """

    dataset: str
    method: str | None
    strength: float
    pairs: int
    share: float
    whole: int


def measure(
    result: Evaluation, strengths: Sequence[float], most: int, videos: pl.DataFrame
) -> tuple[list[Evidence], list[str]]:
    """The evidence of at most ``most`` pairs of the evaluated split, chosen by hash; and why there is none."""
    try:
        selection = _pairs(result, most, videos)
    except UsageError:
        raise
    except SemblanceError as error:
        return [], [f"How much of a fake an attack could undo is not known: {error}"]
    fakes = selection.pictures.filter(pl.col("member") == 1)
    place = {name: (dataset, method) for name, dataset, method in fakes["sample_id", "dataset", "method"].iter_rows()}
    within: dict[tuple[str, str | None], list[list[float]]] = {}
    for batch in Loader(selection, batch=1, transfer=Transfer(as_bytes=True)):
        real_CHW, fake_CHW = batch.image_BCHW.to(torch.int16)
        apart_CHW = (fake_CHW - real_CHW).abs()
        shares = [float((apart_CHW <= one * 255 + _TOLERANCE).double().mean()) for one in strengths]
        within.setdefault(place[batch.sample_ids[1]], []).append(shares)
    return list(_shares(within, strengths)), []


def _pairs(result: Evaluation, most: int, videos: pl.DataFrame) -> Selection:
    selection = select(
        result.outs,
        result.options.split,
        QueryConfig(split_column=result.split_column),
        UnitConfig(mode="pairs"),
        condition=pl.col("video_id").is_in(videos["video_id"].implode()),
    )
    pictures = selection.pictures
    fakes = pictures.filter(pl.col("member") == 1).select("unit", "sample_id")
    fakes = fakes.with_columns(hash=pl.Series([digest("pair", name) for name in fakes["sample_id"]], dtype=pl.String))
    kept = pictures.join(fakes.sort("hash").head(most).select("unit"), on="unit", how="semi", maintain_order="left")
    kept = kept.with_columns(unit=pl.col("unit").rank("dense").cast(pl.Int32) - 1)
    return replace(selection, pictures=kept, units=units.summarise(kept))


def _shares(within: dict[tuple[str, str | None], list[list[float]]], strengths: Sequence[float]) -> Iterator[Evidence]:
    for (dataset, method), rows in sorted(within.items(), key=str):
        for number, strength in enumerate(strengths):
            shares = [row[number] for row in rows]
            yield Evidence(
                dataset=dataset,
                method=method,
                strength=strength,
                pairs=len(shares),
                share=sum(shares) / len(shares),
                whole=sum(share == 1 for share in shares),
            )
