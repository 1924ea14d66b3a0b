"""The same samples with lower picture quality: crops taken after one more H.264 encoding of the whole video."""

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
from semblance.quality import measures, video
from semblance.quality.video import DecoderName

if TYPE_CHECKING:  # the outcome is made by a recipe, which holds this configuration
    from semblance.ingest.records import Seen


class RecompressConfig(Config):
    """Re-encoding of every video before its faces are cropped.

    ``crf``: the constant rate factor of x264. 0 is lossless, 23 and 40 are those of FaceForensics++ c23 and c40, None
    disables re-encoding. It decodes the whole video, so damage after the last wanted frame makes it fail.
    """

    crf: int | None = Field(default=None, ge=0, le=51)


def recompress(
    path: str,
    seen: Sequence[Seen],
    config: RecompressConfig,
    crop: CropConfig,
    decoder: DecoderName,
    deinterlace: bool = False,
) -> list[Seen]:
    """``seen``, with crops taken from the video at ``path`` after encoding it at ``config.crf``.

    The crops and the measures of their pixels are those of the re-encoded video. Everything else is kept from the
    original file: boxes, tracks, confidences, masks, times, ``change``, ``change_peak``, verdicts, and what follows
    from them (``guide``, ``face_label``). Re-encoding changes neither the people nor the manipulation, and running
    detector and gates again would compare other faces. So sample ids equal those of the same build without
    re-encoding, and a kept crop may be blurrier than the gate's limit.

    Raises VideoError if the video cannot be encoded or a wanted frame is missing afterwards.
    """
    positions: dict[int, list[int]] = {}  # frame index -> positions of its faces in ``seen``
    for position, observation in enumerate(seen):
        if observation.face is not None:
            positions.setdefault(observation.frame_index, []).append(position)
    if config.crf is None or not positions:
        return list(seen)
    wanted = sorted(positions)
    replaced = list(seen)
    frames = video.recompressed(path, wanted, crf=config.crf, decoder=decoder, deinterlace=deinterlace)
    for frame, expected in zip(frames, wanted, strict=False):
        if frame.index != expected:
            break
        in_frame = positions.pop(expected)
        faces = _cut(frame, [seen[position] for position in in_frame], crop)
        for position, face in zip(in_frame, faces, strict=True):
            replaced[position] = face
    if positions:
        raise VideoError("decode_error", f"frame {min(positions)} is missing after re-encoding the video.")
    return replaced


def _cut(frame: Frame, seen: Sequence[Seen], config: CropConfig) -> Iterator[Seen]:
    """The faces of one frame, cropped from its re-encoded picture and measured there."""
    of_frame = measures.measure_frame(frame.image, [face.geometry for face in seen if face.geometry is not None])
    for observation in seen:
        assert observation.face is not None
        crop = crops.cut(frame, observation.face, config)
        before = observation.measures or Measures()
        after = replace(measures.measure(crop, of_frame, frame.image), **measures.of_pair(before))
        yield replace(observation, image=crop.image, measures=after)
