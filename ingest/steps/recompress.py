"""The same faces after one more H.264 encoding of the whole video: pictures of another quality, the same samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from semblance.ingest.steps import crops
from semblance.ingest.steps.crops import CropConfig
from semblance.manifests.config import Config
from semblance.manifests.errors import VideoError
from semblance.manifests.records import Frame, Measures
from semblance.quality import measures as meters
from semblance.quality import video
from semblance.quality.video import DecoderName

if TYPE_CHECKING:  # the outcome is made by a recipe, which holds this configuration
    from semblance.ingest.records import Seen


class RecompressConfig(Config):
    """``crf``: the constant rate factor of x264 at which every video is encoded once more before its faces are cut;
    0 is lossless, 23 and 40 are those of FaceForensics++ c23 and c40, None leaves the videos as they are. All of a
    video is decoded for it, so one that ends its decoder after the last wanted frame fails with it alone.
    """

    crf: int | None = Field(default=None, ge=0, le=51)


def again(
    path: str, seen: Sequence[Seen], config: RecompressConfig, crop: CropConfig, decoder: DecoderName
) -> list[Seen]:
    """What was seen in the video at ``path``, with the pictures that it has after being encoded at ``config.crf``.

    The crops, and what is measured of their pixels alone, are the re-encoded video's. All else stays as it was found in
    the video as it came: boxes, tracks, confidences, masks and times, ``change`` and ``change_peak``, the verdicts, and
    what follows from them (``guide``, ``face_label``). Those are statements about the manipulation and decide which
    samples exist; re-encoding changes neither who is in the video nor what was done to the face, and a detector or a
    gate that answered anew would compare other faces. So a kept crop may be blurrier than the limit here, and the
    sample ids equal those of the same build without re-encoding.

    Raises VideoError where the video cannot be encoded, or not all frames come again.
    """
    wanted = sorted({one.frame_index for one in seen if one.face is not None})
    if config.crf is None or not wanted:
        return list(seen)
    faces: dict[int, list[int]] = {index: [] for index in wanted}
    for place, one in enumerate(seen):
        if one.face is not None:
            faces[one.frame_index].append(place)
    found = list(seen)
    frames = video.recompressed(path, wanted, crf=config.crf, decoder=decoder)
    for frame, expected in zip(frames, wanted, strict=False):
        if frame.index != expected:
            break
        places = faces.pop(expected)
        for place, one in zip(places, _cut(frame, [found[place] for place in places], crop), strict=True):
            found[place] = one
    if faces:
        raise VideoError("decode_error", f"frame {min(faces)} is lost when the video is encoded once more.")
    return found


def _cut(frame: Frame, seen: Sequence[Seen], config: CropConfig) -> Iterator[Seen]:
    """The faces of one frame, cut from its re-encoded picture and measured there."""
    height, width = frame.image.shape[:2]
    whole = meters.measure_frame(frame.image, [one.geometry for one in seen if one.geometry is not None])
    for one in seen:
        assert one.face is not None
        crop = crops.cut(frame, one.face, config)
        known = one.measures or Measures()
        measures = replace(meters.measure(crop, whole, width, height), **meters.of_pair(known))
        yield replace(one, image=crop.image, measures=measures)
