"""How much work a video or an archive is, from what is known before its pictures are decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from semblance.ingest.limits import Work
from semblance.ingest.process.archive import ArchiveJob
from semblance.ingest.recipe import Recipe
from semblance.ingest.steps import sampling
from semblance.manifests.records import Properties

# CPU seconds on a machine that is slower than most. Measured on a core of 2026 with the dearest content, noise at 48
# Mbit/s: 0.012 (PyAV) and 0.022 (decord) to decode a megapixel, 0.006 to search one for faces of 80 px, 0.13 to encode
# one as H.264, 0.01 to crop, measure and store a face.
_DECODE: Final = 0.04  # per megapixel
_SEARCH: Final = 0.05  # per megapixel, for faces of 80 px; the detector's pyramid grows with the square of their side
_ENCODE: Final = 0.4  # per megapixel
_FACES: Final = 1.0  # per wanted frame: some thirty faces
_PICTURE: Final = 0.1  # per picture of an archive
_REFERENCE_FACE: Final = 80.0  # px


def video_work(properties: Properties, recipe: Recipe, listed: Sequence[int] = ()) -> Work:
    """The work of one video: every frame is decoded, the wanted ones are searched; masks are a second video.

    ``listed``: the frame indices of sampling.mode "list".
    """
    total = properties.frames_total or 0
    megapixels = (properties.width or 0) * (properties.height or 0) / 1e6
    wanted = len(sampling.wanted(total, properties.fps, recipe.sampling, listed))
    search = _SEARCH * max((_REFERENCE_FACE / recipe.detect.min_face) ** 2, 1.0)
    seconds = _DECODE * total * megapixels * (2 if recipe.masks else 1) + wanted * (search * megapixels + _FACES)
    if recipe.recompress.crf is not None:
        seconds += (_ENCODE + _DECODE) * total * megapixels
    return Work(seconds=seconds, bytes=properties.bytes or 0)


def archive_work(job: ArchiveJob) -> Work:
    """The work of an archive, whose pictures are all read."""
    return Work(seconds=_PICTURE * sum(map(len, job.pictures)), bytes=sum(video.bytes or 0 for video in job.videos))
