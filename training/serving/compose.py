"""Predictions as answers."""

from __future__ import annotations

import base64
from typing import Any, Final

from semblance.quality import codec
from semblance.training.inference.video import Prediction, Scored
from semblance.training.serving.answers import CropAnswer, FaceAnswer, Footage, PersonAnswer, Served, VideoAnswer

_SIDE: Final = 96  # px of the small pictures
_PARTS: Final = ("decode", "detect", "total")  # the video row's seconds


def video_answer(prediction: Prediction, served: Served, request: str, seconds: float, *, faces: bool) -> VideoAnswer:
    """``seconds``: from the complete upload to now; ``faces``: with a small picture of each face."""
    row = prediction.row
    spent = {part: float(row[f"seconds_{part}"] or 0.0) for part in _PARTS}
    return VideoAnswer(
        **_score(prediction.video),
        id=request,
        model=served,
        persons=tuple(
            PersonAnswer(
                **_score(one.score),
                person=one.person,
                pictures=one.pictures,
                first_s=one.first_s,
                last_s=one.last_s,
            )
            for one in prediction.persons
        ),
        faces=tuple(_faces(prediction, with_pictures=faces)),
        footage=Footage(
            width=row["width"],
            height=row["height"],
            fps=row["fps"],
            duration_s=row["duration_s"],
            frames_sampled=row["frames_sampled"],
            faces_seen=row["faces_seen"],
        ),
        rejected=dict(prediction.rejected),
        notes=(prediction.note,) if prediction.note else (),
        seconds={"decode": spent["decode"], "detect": spent["detect"], "faces": spent["total"], "all": seconds},
    )


def crop_answer(scored: Scored, served: Served, request: str) -> CropAnswer:
    return CropAnswer(**_score(scored), id=request, model=served, logit=scored.logit)


def _faces(prediction: Prediction, *, with_pictures: bool) -> list[FaceAnswer]:
    rows = prediction.pictures.with_row_index("place").sort("frame_index", "person", "track")
    found = []
    for row in rows.iter_rows(named=True):
        one = Scored(logit=row["logit"], probability=row["score"], uncertainty=row["uncertainty"])
        picture = None
        if with_pictures:
            picture = base64.b64encode(codec.thumbnail(prediction.images[row["place"]], _SIDE)).decode()
        found.append(
            FaceAnswer(
                **_score(one),
                person=row["person"],
                frame=row["frame_index"],
                time_s=row["time_s"],
                box=(row["box_x0"], row["box_y0"], row["box_x1"], row["box_y1"]),
                picture=picture,
            )
        )
    return found


def _score(scored: Scored) -> dict[str, Any]:
    return {"verdict": scored.verdict, "probability": scored.probability, "uncertainty": scored.uncertainty}
