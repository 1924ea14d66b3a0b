"""What a run has seen of a single video before, by its frames, since a file has no ids; and what it has not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from semblance.training.guard import crops, ids, leaks
from semblance.training.guard.seen import ROLES
from semblance.training.inference.predictor import Predictor

_FRAME: Final = ("frame_index", "frame_phash")
_FILE: Final = {"bytes": pl.Int64, "frames_total": pl.Int64, "qp_mean": pl.Float32, "qp_spread": pl.Float32}
_SAID: Final = {"trained": "in the training data of", "selected": "in the val split that selected"}


def known(predictor: Predictor, video: Mapping[str, Any], faces: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A sentence if the run saw this video, or a copy of it, under any name.

    ``video``: its row, as in a build's ``videos``; ``faces``: the rows of its faces.
    """
    frames = pl.DataFrame(
        [{name: row.get(name) for name in _FRAME} for row in faces],  # a frame without a face has no hash
        schema={"frame_index": pl.Int64, "frame_phash": pl.UInt64},
    )
    frames = frames.drop_nulls().unique()
    files = pl.DataFrame([{name: video.get(name) for name in ids.FILE_COLUMNS}], schema=_FILE).drop_nulls()
    held = pl.concat(
        [
            ids.content(kind, pl.Series([video["video_id"]] * len(hashes), dtype=pl.String), hashes)
            for kind, hashes in ((ids.FRAME, ids.of_frames(frames)), (ids.FILE, ids.of_files(files)))
        ]
    )
    for role in ROLES:
        for record in predictor.records:
            if leaks.copies(leaks.shared(record.of(role), held)):
                yield (
                    f"This video, or its recording, was {_SAID[role]} {predictor.name}, so the score is better than on "
                    "a new one."
                )
                return


def encoded_again(predictor: Predictor) -> Iterator[str]:
    """A sentence if all that the run was trained on had been encoded again, as a single video never is."""
    rates = [recipe["recompress"]["crf"] for recipe in crops.of_runs(predictor.datasets) if "recompress" in recipe]
    if rates and None not in rates:
        told = " and ".join(f"{rate}" for rate in sorted(set(rates)))
        yield f"The videos that {predictor.name} was trained on were encoded again at crf {told}, and this one is not."
