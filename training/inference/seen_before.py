"""What a run has seen of a single video before, by its frames, since a file has no ids; and what it has not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from semblance.training.guard import crops, ids, leaks
from semblance.training.guard.ids import FRAME
from semblance.training.guard.seen import ROLES
from semblance.training.inference.predictor import Predictor

_SAID = {"trained": "in the training data of", "selected": "in the val split that selected"}


def known(predictor: Predictor, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A sentence for each role in which the run saw this video, or a copy with the same frames, under any name.

    ``rows``: those of the video's faces, with ``frame_index`` and ``frame_phash``.
    """
    faces = pl.DataFrame(
        [{name: row[name] for name in ("frame_index", "frame_phash")} for row in rows],
        schema={"frame_index": pl.Int64, "frame_phash": pl.UInt64},
    )
    frames = faces.drop_nulls().unique()
    held = pl.DataFrame({"hash": ids.of_frames(frames)}).with_columns(
        kind=pl.lit(FRAME), id=pl.lit("video"), video_id=pl.lit("video")
    )
    records = [one for one in (*(member.trained.seen for member in predictor.members), predictor.seen) if one]
    for role in ROLES:
        for record in records:
            both = held.join(record.of(role), on=["kind", "hash"], how="semi")
            if leaks.copies(both, held):
                yield (
                    f"This video, or its recording, was {_SAID[role]} {predictor.name} ({both.height} of its "
                    f"{held.height} frames with a face are the same), so the score is better than on a new one."
                )
                return


def encoded_again(predictor: Predictor) -> Iterator[str]:
    """A sentence if all that the run was trained on had been encoded again, as a single video never is."""
    rates = [recipe["recompress"]["crf"] for recipe in crops.of_runs(predictor.datasets) if "recompress" in recipe]
    if rates and None not in rates:
        told = " and ".join(f"{rate}" for rate in sorted(set(rates)))
        yield f"The videos that {predictor.name} was trained on were encoded again at crf {told}, and this one is not."
