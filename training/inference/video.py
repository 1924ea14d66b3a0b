"""The prediction for one video file: faces are found, cut and gated as ingest does, then scored by a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import polars as pl

from semblance.ingest import recipe as recipes
from semblance.ingest.detector import door
from semblance.ingest.detector.door import Detector
from semblance.ingest.process import video as process
from semblance.ingest.recipe import Recipe
from semblance.ingest.steps.recompress import RecompressConfig
from semblance.manifests import storage
from semblance.manifests.config import apply_settings
from semblance.manifests.errors import SemblanceError
from semblance.manifests.ids import make_video_id
from semblance.manifests.records import Image, Outcome, Video
from semblance.quality import codec
from semblance.training.guard import crops
from semblance.training.inference import mc_dropout, seen_before
from semblance.training.inference.mc_dropout import PASSES, UNCERTAIN
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics import aggregate
from semblance.training.metrics.classification import Floats

_COLUMNS: Final[Mapping[str, Any]] = MappingProxyType(
    {"sample_id": pl.String, "video_id": pl.String, "track": pl.Int32, "person": pl.Int32}
    | {"frame_index": pl.Int64, "time_s": pl.Float64}
    | dict.fromkeys(("box_x0", "box_y0", "box_x1", "box_y1"), pl.Float64)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A logit, the calibrated probability of fake, and its uncertainty.

    ``uncertainty``: two standard deviations over passes of Monte-Carlo dropout; None for a run without dropout layers.
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
class Person:
    """One person of the video with all their tracks, and the score."""

    person: int
    tracks: tuple[int, ...]
    pictures: int
    first_s: float | None
    last_s: float | None
    score: Scored


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The prediction of a run for a video.

    ``pictures``: sample_id, video_id, track, person, frame_index, time_s, the box, logit, score, uncertainty.
    ``rejected``: the number of rejected faces by reason; ``doubtful`` are those that are perhaps no face. ``row``: the
    video's row, as in a build's ``videos``. ``sampled``: indices of the frames that were searched for faces.
    ``known``: what the run has seen of it before, in sentences.
    """

    path: str
    video: Scored
    persons: tuple[Person, ...]
    pictures: pl.DataFrame
    images: tuple[Image, ...]
    rejected: Mapping[str, int]
    row: Mapping[str, Any]
    sampled: tuple[int, ...]
    known: tuple[str, ...] = ()

    @property
    def note(self) -> str | None:
        """What makes the score worth less: a part that could not be decoded, or frames that the run was trained on."""
        notes = [str(self.row["error"])] if self.row["status"] == "partial" else []
        return " ".join([*notes, *self.known]) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A file without a score. ``status``: as of a build's videos, or ``failed``; ``reason``: a sentence."""

    path: str
    status: str
    reason: str


class NotScoredError(SemblanceError):
    """A file that cannot be scored, with its status and the reason as a sentence."""

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


Work = Callable[[process.Job], process.Result]  # finds the faces of a video


def recipe_of(
    predictor: Predictor, name: str | None = None, settings: Sequence[str] = (), *, allow_other_crops: bool = False
) -> tuple[Recipe, str]:
    """The recipe by which faces are found and cut, with settings laid over it, and where it comes from.

    It is the recipe of that name or file, else that of the run's builds, of which the run keeps a copy, else ``plan``.
    Raises SemblanceError if it cuts crops otherwise than all of the run's builds, unless that is allowed. A single
    video is never encoded again, whatever ``recompress`` says.
    """
    found, source = _recipe_of(predictor, name, settings)
    as_is = {"recompress": RecompressConfig().model_dump()}
    trained = [{**one, **as_is} for one in crops.of_runs(predictor.datasets)]
    changed = crops.nearest(found.model_dump(mode="json") | as_is, trained)
    if changed and not allow_other_crops:
        raise SemblanceError(
            f"The recipe cuts crops otherwise than those that {predictor.name} was trained on: {', '.join(changed)}; "
            "leave out --recipe and --set, or pass --allow-other-crops."
        )
    return found, source


def _recipe_of(predictor: Predictor, name: str | None, settings: Sequence[str]) -> tuple[Recipe, str]:
    if name is not None:
        return recipes.load(name, settings), name
    for record in predictor.datasets:
        if record.get("recipe"):
            source = str(record["out"])
            return recipes.parse(apply_settings(record["recipe"], settings), source), source
    return recipes.load("plan", settings), "plan"


def limited(recipe: Recipe, limits: Mapping[str, float]) -> Recipe:
    """The recipe with other limits on the size, length and cost of a video (``limits`` of a recipe)."""
    values = recipe.limits.model_dump() | dict(limits)
    return recipe.model_copy(update={"limits": type(recipe.limits).model_validate(values)})


def predict(
    path: str,
    predictor: Predictor,
    recipe: Recipe,
    *,
    passes: int = PASSES,
    detector: Callable[[], Detector] | None = None,
    work: Work | None = None,
    place: str | None = None,
    size: int | None = None,
) -> Prediction:
    """Score one video file, local or ``s3://``.

    ``work`` finds its faces, by default in this process with ``detector``. ``place``: where it is read from, if not at
    ``path``; ``size``: its bytes, if there is no file at ``path``. Raises NotScoredError if it is missing, cannot be
    decoded, or shows no face that passes the gates.
    """
    place = place or path
    if not storage.exists(place):
        raise NotScoredError("missing", f"The file {path} does not exist; pass a video.")
    recipe = recipe.model_copy(update={"masks": False, "recompress": RecompressConfig()})
    if recipe.sampling.mode == "list":
        raise SemblanceError("The recipe samples listed frames of known videos; choose another one with --recipe.")
    root, name = _divided(place)
    video_id = make_video_id("video", PurePosixPath(name).stem)
    video = Video(video_id=video_id, path=name, dataset="video", family_id=video_id)
    door.prepare(recipe.detect)
    job = process.Job(root=root, video=video, recipe=recipe, decoder=recipe.decode.decoder)
    if work is None:
        outcome = process.process(job, (detector or (lambda: Detector(recipe.detect)))()).outcome
    else:
        outcome = work(job).outcome
    kept = [sample for sample in outcome.samples if sample.row["verdict"] == "keep"]
    if not kept:
        raise _not_scored(path, outcome)
    images = [codec.decode(sample.picture) for sample in kept]
    rows = pl.DataFrame([{name: sample.row[name] for name in _COLUMNS} for sample in kept], schema=_COLUMNS)
    return _scored(path, predictor, rows, images, passes, outcome, storage.size(path) if size is None else size)


def _divided(place: str) -> tuple[str, str]:
    """The folder and the name of a file, on disk or in an object store."""
    if storage.is_remote(place):
        root, _, name = place.rpartition("/")
        return root, name
    file = Path(place.removeprefix("file://"))
    return str(file.parent.resolve()), file.name


def _not_scored(path: str, outcome: Outcome) -> NotScoredError:
    row = outcome.video
    if row["error"] and row["status"] != "partial":
        return NotScoredError(str(row["status"]), f"{path} cannot be scored: {row['error']}")
    if not row["faces_seen"]:
        frames = row["frames_sampled"]
        where = f" in the {frames} sampled frames" if frames != 1 else ""
        return NotScoredError("no_face", f"{path} shows no face{where}; pass another video.")
    return NotScoredError(
        "no_face",
        f"{path} shows {row['faces_seen']} faces, but none passes the gates ({', '.join(sorted(_rejected(outcome)))}); "
        "use a better recording, or loosen the gates with --set.",
    )


def _rejected(outcome: Outcome) -> dict[str, int]:
    """The number of rejected faces by reason, the most frequent first."""
    faces = (str(reject.row["reason"]) for reject in outcome.rejections if reject.row["unit"] == "face")
    return dict(Counter(faces).most_common())


def _scored(
    path: str,
    predictor: Predictor,
    rows: pl.DataFrame,
    images: list[Image],
    passes: int,
    outcome: Outcome,
    size: int,
) -> Prediction:
    logit_N, logits_MNP = _logits(predictor, images, rows, passes)
    spread_N = mc_dropout.of_pictures(predictor, logits_MNP) if logits_MNP else None
    rows = rows.with_columns(
        logit=pl.Series(logit_N),
        score=pl.Series(predictor.probability(logit_N, "frame")),
        uncertainty=pl.Series(spread_N) if spread_N is not None else pl.lit(None, pl.Float64),
    )
    persons = []
    for person, logit, count in aggregate.persons(rows).select("person", "logit", "pictures").iter_rows():
        inside = rows["person"] == person
        theirs = rows.filter(inside)
        persons.append(
            Person(
                person=person,
                tracks=tuple(theirs["track"].unique().sort()),
                pictures=count,
                first_s=theirs["time_s"].min(),  # type: ignore[arg-type]
                last_s=theirs["time_s"].max(),  # type: ignore[arg-type]
                score=_score(predictor, logit, theirs, [part[inside.to_numpy()] for part in logits_MNP]),
            )
        )
    row = {**outcome.video, "bytes": size}
    rows_seen = [sample.row for sample in outcome.samples] + [reject.row for reject in outcome.rejections]
    video_logit = float(aggregate.videos(rows)["logit"][0])
    return Prediction(
        path=path,
        video=_score(predictor, video_logit, rows, logits_MNP),
        persons=tuple(persons),
        pictures=rows,
        images=tuple(images),
        rejected=_rejected(outcome),
        row=outcome.video,
        sampled=tuple(sorted({int(row["frame_index"]) for row in rows_seen})),
        known=(*seen_before.known(predictor, row, rows_seen), *seen_before.encoded_again(predictor)),
    )


def _score(predictor: Predictor, logit: float, rows: pl.DataFrame, logits_MNP: Sequence[Floats]) -> Scored:
    spread = float(mc_dropout.of_videos(predictor, rows, logits_MNP)["uncertainty"][0]) if logits_MNP else None
    return Scored(logit=logit, probability=float(predictor.probability(logit, "video")), uncertainty=spread)


def _logits(
    predictor: Predictor, images: Sequence[Image], rows: pl.DataFrame, count: int
) -> tuple[Floats, list[Floats]]:
    """(N,) logits, and each member's (N, P) in ``count`` passes of Monte-Carlo dropout; none if these say nothing.

    Both come from the same features, which take nearly all of the time.
    """
    if not count or not mc_dropout.has_dropout(predictor):
        return predictor.logits(images, rows), []
    outputs = predictor.member_outputs(images, mc_dropout.forward(count, plain=True), faces=rows)
    logit_N = predictor.finite(predictor.combine([columns.pop("logit") for columns in outputs]))
    return logit_N, [np.stack(list(columns.values()), 1) for columns in outputs]
