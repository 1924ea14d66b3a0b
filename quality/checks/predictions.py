"""A model's predictions of a build's pictures or videos, as a table, for the list of doubtful labels."""

from __future__ import annotations

from typing import Final

import polars as pl

from semblance.manifests import scan
from semblance.manifests.errors import SemblanceError
from semblance.manifests.user_tables import read_user_table
from semblance.quality.checks import linear
from semblance.quality.checks.doubtful import Scored, scored

_GROUPS: Final = ("model", "person", "track")  # where the table has them, and they are known


def read(out: str, source: str, seed: int = 0) -> Scored:
    """The scores of the table at ``source``: columns video_id and score (the probability of fake, 0 to 1), and perhaps
    model, person and track, as ``training evaluate`` writes them.

    A video's score is the mean over the pictures of a person, the largest of its persons, and the mean over models. It
    must come from a model that did not train on the video; the table cannot show that. Raises SemblanceError if the
    table cannot be read, holds no score of this build, or one that is no probability.
    """
    frame = read_user_table(source, "The table of scores", {"video_id": str, "score": str})
    values = frame.with_columns(number=pl.col("score").cast(pl.Float64, strict=False))
    wrong = values.filter(pl.col("number").is_null() | ~pl.col("number").is_between(0, 1))
    if wrong.height:
        raise SemblanceError(
            f"The table of scores {source} has the score {wrong['score'][0]!r} of {wrong['video_id'][0]}; it must be "
            "the probability of fake, 0 to 1."
        )
    videos = scan(out, "videos").filter(pl.col("label").is_not_null() & (pl.col("crops_kept") > 0))
    every = videos.select("video_id", "label", "family_id").collect().sort("video_id")
    rows = every.join(_of_videos(values), on="video_id").sort("video_id")
    if not rows.height:
        raise SemblanceError(f"The table of scores {source} holds no video of {out} with a kept crop and a label.")
    labels, numbers = rows["label"].cast(pl.Int64).to_numpy(), rows["number"].to_numpy()
    told = linear.judged(numbers, labels, rows["family_id"].to_list(), seed)
    return scored(f"the scores of {source.rsplit('/', 1)[-1]}", rows, told, every.height - rows.height)


def _of_videos(values: pl.DataFrame) -> pl.DataFrame:
    """video_id and number: one row a video."""
    absent = [name for name in _GROUPS if name not in values.columns]
    values = values.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
    face = pl.coalesce(pl.concat_str(pl.lit("person "), "person"), pl.concat_str(pl.lit("track "), "track"))
    return (
        values.with_columns(face=face)
        .group_by("video_id", "model", "face")
        .agg(pl.col("number").mean())
        .group_by("video_id", "model")
        .agg(pl.col("number").max())
        .group_by("video_id")
        .agg(pl.col("number").mean())
    )
