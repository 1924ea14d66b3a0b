"""A video of one's own, judged: decoded, its faces found, cut and gated as ingest does, then scored by a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import cv2
import numpy as np
import polars as pl
import torch

from semblance.ingest import recipe as recipes
from semblance.ingest.detector import door
from semblance.ingest.detector.door import Detector
from semblance.ingest.process import video as process
from semblance.ingest.recipe import Recipe
from semblance.ingest.steps.recompress import RecompressConfig
from semblance.manifests.config import apply_settings
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Image, Outcome, Video, make_video_id
from semblance.quality import codec
from semblance.quality.resize import to_square
from semblance.training.inference import mc_dropout as uncertainty
from semblance.training.inference import predictor as judges_of
from semblance.training.inference.mc_dropout import PASSES, UNCERTAIN
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics import aggregate
from semblance.training.metrics.classification import Floats

CELL: Final = 112  # px
_CAPTION: Final = 28  # px under each cell
_BANNER: Final = 22  # px above them
_COLUMNS: Final[Mapping[str, Any]] = MappingProxyType(
    {"sample_id": pl.String, "video_id": pl.String, "track": pl.Int32, "frame_index": pl.Int64, "time_s": pl.Float64}
    | dict.fromkeys(("box_x0", "box_y0", "box_x1", "box_y1"), pl.Float64)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A score: logit, calibrated probability of fake, and its uncertainty (2 standard deviations over passes of
    Monte-Carlo dropout; None for a run without dropout layers).
    """

    logit: float
    probability: float
    uncertainty: float | None

    @property
    def verdict(self) -> str:
        if self.uncertainty is not None and self.uncertainty > UNCERTAIN:
            return "uncertain"
        return "fake" if self.probability >= 0.5 else "real"


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One face over time."""

    track: int
    pictures: int
    first_s: float | None
    last_s: float | None
    score: Scored


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """What a run says of a video. ``pictures``: sample_id, video_id, track, frame_index, time_s, the box, logit, score,
    uncertainty. ``row``: the video's, as in a build's ``videos``. ``sampled``: the frames that were looked at.
    """

    path: str
    video: Scored
    tracks: tuple[Track, ...]
    pictures: pl.DataFrame
    images: tuple[Image, ...]
    rejected: int
    row: Mapping[str, Any]
    sampled: tuple[int, ...]

    @property
    def note(self) -> str | None:
        """What the file's fault costs, where it is not whole."""
        return self.row["error"] if self.row["status"] == "partial" else None


def recipe_of(judge: Predictor, asked: str | None = None, settings: Sequence[str] = ()) -> tuple[Recipe, str]:
    """How faces are found and cut, and where that is known from: the recipe asked for, by name or file, else the one
    that the run's pictures were made by, which the run keeps, else the plan's; with settings laid over it.
    """
    if asked is not None:
        return recipes.load(asked, settings), asked
    for record in judge.datasets:
        if record.get("recipe"):
            source = str(record["out"])
            return recipes.parse(apply_settings(record["recipe"], settings), source), source
    return recipes.load("plan", settings), "plan"


def predict(
    path: str,
    judge: Predictor,
    recipe: Recipe,
    *,
    passes: int = PASSES,
    detector: Callable[[], Detector] | None = None,
) -> Prediction:
    """Score one video file.

    Raises SemblanceError where it is missing, cannot be decoded, or has no face that the recipe's gates let through.
    """
    file = Path(path)
    if not file.is_file():
        raise SemblanceError(f"There is no file {path}; name a video.")
    recipe = recipe.model_copy(update={"masks": False, "recompress": RecompressConfig()})
    if recipe.sampling.mode == "list":
        raise SemblanceError("The recipe samples a list of frames of known videos; name another with --recipe.")
    name = make_video_id("video", file.stem)
    video = Video(video_id=name, path=file.name, dataset="video", family_id=name)
    door.prepare(recipe.detect)
    found = process.process(
        process.Job(root=str(file.resolve().parent), video=video, recipe=recipe, decoder=recipe.decode.decoder),
        (detector or (lambda: Detector(recipe.detect)))(),
    ).outcome
    kept = [sample for sample in found.samples if sample.row["verdict"] == "keep"]
    status, error = found.video["status"], found.video["error"]
    if not kept:
        raise SemblanceError(_why_none(path, status, error, found.video, found.rejections))
    images = [codec.decode(sample.picture) for sample in kept]
    rows = pl.DataFrame([{name: sample.row[name] for name in _COLUMNS} for sample in kept], schema=_COLUMNS)
    return _scored(path, judge, rows, images, passes, found)


def _why_none(path: str, status: str, error: str | None, row: Any, rejections: Sequence[Any]) -> str:
    if error and status != "partial":
        return f"{path} cannot be judged: {error}"
    if not row["faces_seen"]:
        return f"{path} shows no face in {row['frames_sampled']} frames looked at; name another video."
    reasons = sorted({str(one.row["reason"]) for one in rejections if one.row.get("unit") == "face"})
    return (
        f"{path} shows {row['faces_seen']} faces, and none is good enough to be judged ({', '.join(reasons)}); take a "
        "better recording, or loosen the gates with --set."
    )


def _scored(
    path: str, judge: Predictor, rows: pl.DataFrame, images: list[Image], passes: int, found: Outcome
) -> Prediction:
    plain, drawn = _answers(judge, images, passes)
    logit_N = judge.combine(plain)
    known = bool(drawn) and uncertainty.has(judge)
    spread_N = uncertainty.of_pictures(judge, drawn) if known else None
    rows = rows.with_columns(
        logit=pl.Series(logit_N),
        score=pl.Series(judge.probability(logit_N, "frame")),
        uncertainty=pl.Series(spread_N) if spread_N is not None else pl.lit(None, pl.Float64),
    )
    tracks = []
    for track, logit, count in aggregate.tracks(rows).select("track", "logit", "pictures").iter_rows():
        mine = rows["track"] == track
        times = rows.filter(mine)["time_s"]
        tracks.append(
            Track(
                track=track,
                pictures=count,
                first_s=times.min(),  # type: ignore[arg-type]
                last_s=times.max(),  # type: ignore[arg-type]
                score=_score(judge, logit, rows.filter(mine), [part[mine.to_numpy()] for part in drawn], known),
            )
        )
    seen = [one.row for one in found.samples] + [one.row for one in found.rejections]
    whole = float(aggregate.videos(rows)["logit"][0])
    return Prediction(
        path=path,
        video=_score(judge, whole, rows, drawn, known),
        tracks=tuple(tracks),
        pictures=rows,
        images=tuple(images),
        rejected=len(found.rejections),
        row=found.video,
        sampled=tuple(sorted({int(row["frame_index"]) for row in seen})),
    )


def _score(judge: Predictor, logit: float, rows: pl.DataFrame, drawn: Sequence[Floats], known: bool) -> Scored:
    spread = float(uncertainty.of_videos(judge, rows, drawn)["uncertainty"][0]) if known else None
    return Scored(logit=logit, probability=float(judge.probability(logit, "video")), uncertainty=spread)


def _answers(judge: Predictor, images: Sequence[Image], passes: int) -> tuple[list[Floats], list[Floats]]:
    """Each member's logits (N,), and those of every pass (N, P); no passes where none are asked for."""
    plain, drawn = [], []
    where = judges_of.device()
    ask = uncertainty.question(passes)
    with torch.inference_mode():
        for member in judge.members:
            member.trained.model.to(where)
            once, often = [], []
            for image_BCHW in judges_of.batches(images, member.size):
                pictures = image_BCHW.to(where)
                once.append(member.trained.model(pictures).logit_B.double().cpu().numpy())
                if passes:
                    often.append(torch.stack(list(ask(member, pictures).values()), 1).double().cpu().numpy())
            plain.append(np.concatenate(once))
            if often:
                drawn.append(np.concatenate(often))
    return plain, drawn


def sheet(prediction: Prediction, columns: int = 8, most: int = 64) -> Image:
    """The judged faces in a grid, track by track, each with its probability: (H, W, 3) RGB."""
    rows = prediction.pictures.with_row_index("place").sort("track", "sample_id")
    if rows.height > most:
        rows = rows.gather([(2 * i + 1) * rows.height // (2 * most) for i in range(most)])
    lines = -(-rows.height // columns)
    canvas = np.full((_BANNER + lines * (CELL + _CAPTION), columns * CELL, 3), 255, np.uint8)
    whole = prediction.video
    spread = "" if whole.uncertainty is None else f" +- {whole.uncertainty:.2f}"
    _write(canvas, f"video: {whole.verdict}, probability of fake {whole.probability:.3f}{spread}", 4, 15)
    for cell, row in enumerate(rows.iter_rows(named=True)):
        y, x = _BANNER + cell // columns * (CELL + _CAPTION), cell % columns * CELL
        canvas[y : y + CELL, x : x + CELL] = to_square(prediction.images[row["place"]], CELL)
        time = "" if row["time_s"] is None else f" {row['time_s']:.1f} s"
        _write(canvas, f"face {row['track']}{time}", x + 2, y + CELL + 11)
        _write(canvas, f"p {row['score']:.3f}", x + 2, y + CELL + 23)
    return canvas


def _write(canvas: Image, text: str, x: int, y: int) -> None:
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_PLAIN, 0.8, (0, 0, 0), 1, cv2.LINE_AA)
