"""Predictions for many files with one start: one bad file is one result, never the end of the others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from semblance.ingest.process import video as process
from semblance.ingest.recipe import Recipe
from semblance.ingest.run.tasks import run_video
from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError, StorageError
from semblance.training.inference import video
from semblance.training.inference.inputs import Input
from semblance.training.inference.predictor import Predictor
from semblance.training.inference.video import Failure, NotScoredError, Prediction


def predict(
    files: Sequence[Input], predictor: Predictor, recipe: Recipe, *, passes: int, supervised: bool = True
) -> Iterator[Prediction | Failure]:
    """The result for each file, in order, as soon as it is there.

    ``supervised``: a child process finds the faces, as in a build, so that a file that hangs the decoder, ends it or
    fills the memory costs only its own result. It takes a few seconds to start.
    """
    work = faces_by_child if supervised else None
    for one in files:
        if one.reason is not None:
            yield Failure(path=one.path, status=one.status, reason=one.reason)
            continue
        try:
            with as_video(one) as place:
                yield video.predict(one.path, predictor, recipe, passes=passes, work=work, place=place)
        except NotScoredError as error:
            yield Failure(path=one.path, status=error.status, reason=str(error))
        except StorageError as error:
            yield Failure(path=one.path, status="missing", reason=str(error))
        except SemblanceError as error:
            yield Failure(path=one.path, status="failed", reason=str(error))


@contextmanager
def as_video(one: Input) -> Iterator[str]:
    """The place from which a file is read as a video: a picture's is a folder of it alone, one frame without a time."""
    if one.kind == "video":
        yield one.path
        return
    with storage.spool() as folder, storage.local_copy(one.path) as local:
        inside = folder / "picture"
        inside.mkdir()
        os.symlink(os.path.realpath(local), inside / f"0{os.path.splitext(one.path)[1].lower()}")
        yield str(inside)


def faces_by_child(job: process.Job) -> process.Result:
    """The faces of a video, found by a supervised child process as in a build."""
    return run_video(job, None)
