"""decord, the second decoder: its frames as the picture that a player shows."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import av
import numpy as np

from semblance.manifests.errors import VideoError
from semblance.manifests.records import Frame, Image
from semblance.manifests.storage.retry import reason
from semblance.quality.video import hdr
from semblance.quality.video.colour import Colour, colour_of
from semblance.quality.video.container import moving, open_container, video_stream
from semblance.quality.video.geometry import Geometry, Orientation, aspect_of, orientation_of
from semblance.quality.video.probe import first_frame

_UNTURNED: Final = Orientation()
_STORED: Final = Geometry()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What PyAV knows of the file; nothing special where it cannot open it."""

    geometry: Geometry = _STORED
    turned: Orientation = _UNTURNED  # what decord does by itself
    colour: Colour | None = None
    interlaced: bool | None = None


def frames_decord(path: str, indices: Sequence[int], deinterlace: bool) -> Generator[Frame, None, None]:
    """The wanted frames, decoded by decord; raises VideoError for what it cannot do."""
    known = _known(path)
    if deinterlace and known.interlaced:
        raise VideoError("decode_error", "decord cannot deinterlace; set decode.deinterlace to false for this file.")
    wanted, first = set(indices), 0.0
    for index, time, image in stored_decord(path, max(indices)):
        if index == 0:
            first = time
        if index in wanted:
            yield Frame(index=index, time_s=time - first, image=_shown(image, known))


def stored_decord(path: str, last: int) -> Generator[tuple[int, float, Image], None, None]:
    """Index, time in seconds and picture of every frame up to ``last``, as decord gives it."""
    import torch  # noqa: F401  # decord must be loaded after torch, or both crash
    from decord import DECORDError, VideoReader, cpu, logging

    logging.set_level(logging.QUIET)
    try:
        reader = VideoReader(path, ctx=cpu(0), num_threads=1)
    except (DECORDError, RuntimeError) as error:
        raise VideoError("decode_error", f"decord cannot read the file ({reason(error)}).") from error
    for index in range(min(len(reader), last + 1)):
        try:
            image = reader.next().asnumpy()
        except (DECORDError, StopIteration, RuntimeError):
            return
        if image.shape[2] != 3:
            raise VideoError("decode_error", "decord gives no RGB for frames of this width; use decode.decoder pyav.")
        yield index, float(reader.get_frame_timestamp(index)[0]), image


def _known(path: str) -> _Known:
    try:
        with open_container(path) as container:
            stream = video_stream(container)
            if len(moving(container)) > 1:
                why = "decord cannot be told which of the file's video streams to read; use decode.decoder pyav."
                raise VideoError("decode_error", why)
            frame = first_frame(container, stream)
            if frame is None:
                return _Known(geometry=Geometry(aspect=aspect_of(stream)))
            return _Known(
                geometry=Geometry(aspect=aspect_of(stream), orientation=orientation_of(frame)),
                turned=_turned(container, frame),
                colour=colour_of(frame, frame.format.name),
                interlaced=frame.interlaced_frame,
            )
    except av.error.FFmpegError:
        return _Known()


def _turned(container: Any, frame: Any) -> Orientation:
    """What decord's FFmpeg 4 does: it reads the angle of display matrices, in mp4 and mov alone."""
    known = "mov" in container.format.name
    return Orientation(round(frame.rotation / 90) % 4 * 90) if known else _UNTURNED


def _shown(image: Image, known: _Known) -> Image:
    """decord turns frames by the angle of their display matrix, but knows no mirrors and no shape of pixels."""
    if known.colour is not None and known.colour.transfer in hdr.TRANSFERS:
        image = hdr.tone_mapped_8bit(image, known.colour.transfer, known.colour.primaries)
    if known.turned.rotation:
        image = Orientation(-known.turned.rotation % 360).apply(image)
    return known.geometry.apply(np.ascontiguousarray(image))
