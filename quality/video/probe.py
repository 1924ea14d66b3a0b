"""What a file says of itself: one pass over its packets, and nothing decoded but the first frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Final

import av
import numpy as np

from semblance.manifests.errors import VideoError
from semblance.manifests.records import Properties
from semblance.quality.video import pictures
from semblance.quality.video.colour import colour_of
from semblance.quality.video.container import blaming_the_file, moving, open_container, packets_of, video_stream
from semblance.quality.video.geometry import Geometry, Orientation, aspect_of, orientation_of, square
from semblance.quality.video.quantiser import EXPORT, quantiser

_MOST_FPS: Final = 1000.0  # a higher declared rate is the clock of the container


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a file may be: pixels a frame, frames, seconds."""

    pixels: int
    frames: int
    seconds: float


def probe(path: str, bounds: Bounds | None = None) -> Properties:
    """What the header says and one pass over the packets shows; nothing is decoded but the first frame.

    ``frames_total`` counts the packets that a decoder puts out. A folder is a video of pictures. Raises VideoError
    where there is no video, or one beyond ``bounds``.
    """
    if pictures.is_folder(path):
        with blaming_the_file():
            return pictures.probe(path, *((bounds.pixels, bounds.frames) if bounds else ()))
    size = Path(path).stat().st_size
    if size == 0:
        raise VideoError("empty", "the file has zero bytes; get it again.")
    with blaming_the_file(), open_container(path) as container:
        stream = video_stream(container)
        _check(container, stream, bounds)
        stream.codec_context.options = EXPORT
        shown, stored, keys, first = _pass_over(container, stream, bounds.frames if bounds else None)
        if shown == 0:
            raise VideoError("empty", "the video stream has no frames; get the file again.")
        return Properties(
            **_properties(container, stream, size, shown, stored, keys),
            **_picture(stream, first),
        )


def first_frame(container: Any, stream: Any) -> Any:
    """The first frame that can be decoded alone; None where none can."""
    found = (_alone(packet, stream.codec_context) for packet in packets_of(container, stream))
    return next((frame for frame in found if frame is not None), None)


def created(file: str | IO[bytes]) -> str | None:
    """When the container says that it was made (ISO 8601), from its header alone; None where it does not say.

    A file that cannot be opened has no time either: what is wrong with it is told when it is processed.
    """
    try:
        with blaming_the_file(), open_container(file) as container:
            tags = [container.metadata, *(stream.metadata for stream in container.streams.video)]
    except VideoError:
        return None
    found = (value for one in tags for key, value in one.items() if key.lower() == "creation_time")
    return creation_time(next(found, None))


def _check(container: Any, stream: Any, bounds: Bounds | None) -> None:
    """Refuse what the header claims beyond ``bounds``."""
    if bounds is None:
        return
    width, height = square(stream.width, stream.height, aspect_of(stream))
    if width * height > bounds.pixels:
        need = math.ceil(width * height / 1e6)
        raise _beyond(f"{width}x{height} pixels", "limits.megapixels", bounds.pixels / 1e6, need)
    if (seconds := duration_of(container, stream)) is not None and seconds > bounds.seconds:
        raise _beyond(f"{seconds:.0f} s", "limits.hours", bounds.seconds / 3600, math.ceil(seconds / 3600))


def _beyond(what: str, key: str, limit: float, needed: int) -> VideoError:
    return VideoError(
        "decode_error",
        f"the file claims {what}, beyond the recipe's {key} {limit:g}; if the file is sound, run the same command with "
        f"--set {key}={needed} --retry failed.",
    )


def _pass_over(container: Any, stream: Any, most: int | None) -> tuple[int, int, list[int], Any]:
    """Frames that will be shown, packets that are stored, the places of the key frames, and the first frame, None
    where none can be decoded. Raises VideoError for more than ``most``.
    """
    shown = stored = 0
    keys = []
    first = None
    for packet in packets_of(container, stream):  # the header's number shows where some lack
        if first is None:
            first = _alone(packet, stream.codec_context)
        if packet.size == 0:  # the last, which empties the decoder
            continue
        stored += 1
        if most is not None and stored > most:
            raise _beyond(f"more than {most} frames", "limits.frames", most, 4 * most)
        if packet.is_keyframe:
            keys.append(stored - 1)
        shown += not packet.is_discard
    return shown, stored, keys, first


def _alone(packet: Any, codec: Any) -> Any:
    """The packet's frame at once, not when those after it have come; None where it gives none without those before."""
    try:
        return next(iter(packet.decode() or codec.decode(None)), None)
    except av.error.FFmpegError:
        return None
    finally:
        codec.flush_buffers()


def _picture(stream: Any, first: Any) -> dict[str, Any]:
    """How the stored frames become what is shown; ``first`` knows better than the header."""
    orientation = orientation_of(first) if first is not None else Orientation()
    geometry = Geometry(aspect=aspect_of(stream), orientation=orientation)
    width, height = geometry.size(stream.width, stream.height)
    codec = stream.codec_context
    mean, spread = quantiser(first) if first is not None else (None, None)
    colour = colour_of(first, first.format.name) if first is not None else colour_of(codec, codec.pix_fmt)
    return {
        "width": width,
        "height": height,
        "rotation": orientation.rotation,
        "mirrored": orientation.mirrored,
        "pixel_aspect": float(geometry.aspect),
        "pixel_format": colour.pixel_format,
        "colour_range": colour.range,
        "colour_matrix": colour.matrix,
        "colour_transfer": colour.transfer,
        "colour_primaries": colour.primaries,
        "colour_guessed": colour.guessed,
        "qp_mean": mean,
        "qp_spread": spread,
        "interlaced": first.interlaced_frame if first is not None else None,
    }


def _properties(container: Any, stream: Any, size: int, shown: int, stored: int, keys: Sequence[int]) -> dict[str, Any]:
    metadata = {key.lower(): value for key, value in {**container.metadata, **stream.metadata}.items()}
    rate, slots = _rate(stream)
    declared = int(stream.frames or 0) // slots
    duration = duration_of(container, stream)
    return {
        "codec": stream.codec_context.name,
        "encoder": metadata.get("encoder") or None,
        "bit_rate": int(stream.bit_rate or container.bit_rate or 0) or None,
        "gop": max(np.diff([*keys, stored]).tolist(), default=None) if keys else None,
        "created": creation_time(metadata.get("creation_time")),
        "has_audio": bool(container.streams.audio),
        **_audio(container),
        "video_streams": len(moving(container)),
        "fps": float(rate) if rate else None,
        "frames_total": shown,
        "frames_declared": max(declared - (stored - shown), 0) or None,
        "duration_s": duration,
        "bytes": size,
    }


def _rate(stream: Any) -> tuple[Fraction | None, int]:
    """The mean frame rate, and how many slots of the container a frame takes: H.264 with B-frames takes two in AVI, and
    the header then counts these.
    """
    mean, likely = stream.average_rate, stream.guessed_rate
    if mean and likely and mean == 2 * likely and int(stream.frames or 0) % 2 == 0:
        return likely, 2
    return (likely if mean is not None and mean > _MOST_FPS else mean), 1  # DV declares such a mean


def _audio(container: Any) -> dict[str, Any]:
    """Codec, sampling rate and bit rate of the first audio track, as far as the container states them."""
    track = next(iter(container.streams.audio), None)
    if track is None or track.codec_context is None:
        return {}
    return {
        "audio_codec": track.codec_context.name,
        "audio_rate": int(track.codec_context.sample_rate or 0) or None,
        "audio_bit_rate": int(track.bit_rate or 0) or None,
    }


def duration_of(container: Any, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration is not None else None


def creation_time(text: str | None) -> str | None:
    """The container's creation time, if it is one."""
    try:
        return datetime.fromisoformat(text).isoformat() if text else None
    except ValueError:
        return None
