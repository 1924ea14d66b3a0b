"""Predictions as tables: what every model says of every picture, and of every video that the split lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl

from semblance.manifests import scan
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.text import worded
from semblance.training.data.query import QueryConfig, Selection, select
from semblance.training.data.worker import Transform
from semblance.training.inference import predictor as judges_of
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics import aggregate
from semblance.training.metrics.classification import Judged

COLUMNS: Final = (
    *("sample_id", "video_id", "dataset", "method", "compression", "family_id", "target_id", "track"),
    *("label", "face_label", "model", "logit", "score"),
)
_VIDEO: Final = ("video_id", "dataset", "method", "compression", "family_id", "target_id", "label")
MIRROR: Final = "+mirror"  # after a model's name: the mean logit of image and mirror image


def pick(outs: Sequence[str], side: str, split_column: str) -> Selection:
    """All kept pictures of one side, those without a face label too; a sample in two builds is refused."""
    chosen = select(outs, side, QueryConfig(split_column=split_column), unlabelled=True)
    if chosen.pictures["sample_id"].n_unique() < chosen.pictures.height:
        raise UsageError(
            f"The builds {', '.join(outs)} hold the same pictures; evaluate one of them, and name the other with "
            "--condition NAME=OUT."
        )
    return chosen


def predict(judges: Sequence[Predictor], chosen: Selection, transform: Transform | None = None) -> pl.DataFrame:
    """A row a picture and model, with ``COLUMNS``; ``score`` is the probability of fake, calibrated where the run is.

    A model whose recipe wants test-time augmentation has rows of a second model, NAME+mirror, too.
    """
    answers = judges_of.ask(judges_of.members_of(judges), chosen, transform=transform)
    about = chosen.pictures.join(_people(chosen), on="sample_id", how="left", maintain_order="left")
    parts = []
    for one in judges:
        found = [answers[member.key] for member in one.members]
        for name, column in ((one.name, "logit"), (one.name + MIRROR, "mirror")):
            if (len(found) > 1 and column == "mirror") or column not in found[0].columns:
                continue
            joined = [about.join(rows, on="sample_id", validate="1:1", maintain_order="left") for rows in found]
            logit = one.combine([rows[column].to_numpy() for rows in joined])
            score = one.probability(logit, "frame")
            parts.append(about.with_columns(model=pl.lit(name), logit=pl.Series(logit), score=pl.Series(score)))
    return pl.concat(parts).select(COLUMNS)


def _people(chosen: Selection) -> pl.DataFrame:
    ids = [scan(out).select("sample_id", "target_id").collect() for out in chosen.outs]
    return pl.concat(ids).unique("sample_id")


def listed(outs: Sequence[str], side: str, split_column: str) -> pl.DataFrame:
    """Every labelled video that the split lists, with a face or without, sorted by id."""
    parts = [
        scan(out, "videos").filter((pl.col(split_column) == side) & pl.col("label").is_not_null()).select(_VIDEO)
        for out in outs
    ]
    return pl.concat(parts).collect().sort("video_id")


def of_videos(
    videos: pl.DataFrame, pictures: pl.DataFrame, one: Predictor, how: Literal["max", "mean"] = "max"
) -> pl.DataFrame:
    """``videos`` with the ``logit`` and ``score`` that one model gives them; both null where no face was kept."""
    found = videos.join(aggregate.videos(pictures, how), on="video_id", how="left", maintain_order="left")
    known = found["logit"].is_not_null()
    score = pl.Series(one.probability(found["logit"].fill_null(0.0).to_numpy(), "video"))
    return found.with_columns(score=pl.when(known).then(score))


def judged(rows: pl.DataFrame, label: str = "label") -> Judged:
    """Rows with ``label``, ``logit`` and ``score`` as arrays."""
    return Judged(
        label_N=rows[label].to_numpy().astype(np.float64),
        score_N=rows["logit"].to_numpy().astype(np.float64),
        probability_N=rows["score"].to_numpy().astype(np.float64),
    )


def groups(rows: pl.DataFrame) -> pl.Series:
    """What is drawn together: the person who is seen, in datasets that name one for every video, else the family."""
    named = pl.col("target_id").is_not_null().all().over("dataset")
    return rows.select(
        worded("{} {}", "dataset", pl.when(named).then(pl.col("target_id")).otherwise(pl.col("family_id")))
    ).to_series()


def write(file: Path, rows: pl.DataFrame) -> None:
    """The table as Parquet, under its name as a whole; raises SemblanceError where it cannot be written."""
    part = file.with_name(f".{file.name}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(part)
        part.replace(file)
    except OSError as error:
        raise SemblanceError(f"{file} cannot be written ({error.strerror or error}); choose another --to.") from error


def by_model(rows: pl.DataFrame) -> Mapping[str, pl.DataFrame]:
    """The predictions of each model, in the order in which they come."""
    return {str(key[0]): part for key, part in rows.partition_by("model", as_dict=True, maintain_order=True).items()}
