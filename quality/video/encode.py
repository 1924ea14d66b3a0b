"""H.264 written by x264 in one thread: the same images give the same bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from typing import IO, Any, Final

import av
import numpy as np

from semblance.manifests.errors import VideoError
from semblance.manifests.records import Frame, Image
from semblance.manifests.storage.retry import reason
from semblance.quality.video.colour import Converter
from semblance.quality.video.container import (
    DecoderName,
    blaming_the_file,
    decoded,
    open_container,
    video_stream,
)
from semblance.quality.video.damage import damaged
from semblance.quality.video.deinterlace import deinterlaced
from semblance.quality.video.fallback import frames_decord
from semblance.quality.video.geometry import Geometry, aspect_of, orientation_of
from semblance.quality.video.probe import probe

_TAGS: Final = ("color_range", "colorspace", "color_primaries", "color_trc")


@dataclass(slots=True)
class _Laid:
    """What was encoded: the number of each frame, and the size in pixels and the geometry of the first."""

    indices: list[int] = field(default_factory=list)
    height: int = 0
    width: int = 0
    geometry: Geometry = field(default_factory=Geometry)


def write_h264(
    path: str,
    images: Iterable[Image],
    fps: Fraction | int,
    *,
    crf: int = 23,
    gop: int = 250,
    bframes: int = 2,
    comment: str | None = None,
) -> None:
    """Write (H, W, 3) RGB images as an H.264 mp4; the same images give the same bytes.

    Even sizes are stored as yuv420p, odd ones as yuv444p, which allows them but plays in fewer players.
    """
    with av.open(path, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        if comment is not None:
            container.metadata["comment"] = comment
        stream: Any = None
        for image in images:
            if stream is None:
                options = {"crf": str(crf), "g": str(gop), "bf": str(bframes), "threads": "1", "preset": "veryfast"}
                options["mbtree"] = "0"  # with it, vectorised x264 gives other bytes each run, even in one thread
                stream = container.add_stream("libx264", rate=fps, options=options)
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "yuv444p" if image.shape[0] % 2 or image.shape[1] % 2 else "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        if stream is not None:
            container.mux(stream.encode(None))


def recompressed(
    path: str, indices: Sequence[int], *, crf: int, decoder: DecoderName, deinterlace: bool = False
) -> Iterator[Frame]:
    """The wanted frames as ``frames`` shows them, after re-encoding the whole video as H.264 (yuv420p) at this ``crf``.

    Frames are encoded one after the other, whatever their times: a variable rate becomes the average one. What damage
    has reached is left out, as there. Everything is encoded as it is stored, an odd
    side with its last row or column twice, which is cut off again; no sound; in one thread, so that the same file gives
    the same pixels. PyAV's frames keep their YUV values: a yuv420p video of even sides is unchanged at ``crf`` 0, which
    H.264 calls lossless. The new file has no name, so nothing is left of it however the process ends.

    Raises VideoError where the file cannot be opened or its frames cannot be encoded.
    """
    if not indices:
        return
    wanted, last = set(indices), max(indices)
    converter = Converter()
    with blaming_the_file(), tempfile.TemporaryFile(prefix="semblance-") as file:
        with closing(_sources(path, decoder, deinterlace)) as sources:
            laid = _encode(file, sources, *_stated(path, decoder), crf, converter)
        if not laid.indices:
            return
        file.seek(0)
        with open_container(file) as container:
            for index, frame in zip(laid.indices, decoded(container, video_stream(container)), strict=False):
                if index in wanted:
                    image = laid.geometry.apply(np.ascontiguousarray(converter.rgb(frame)[: laid.height, : laid.width]))
                    yield Frame(index=index, time_s=None, image=image)
                if index >= last:
                    return


def _sources(path: str, decoder: DecoderName, deinterlace: bool) -> Generator[Any, None, None]:
    """Every decoded frame, as a PyAV frame."""
    if decoder == "decord":
        total = probe(path).frames_total or 0
        for frame in frames_decord(path, range(total), deinterlace):
            yield av.VideoFrame.from_ndarray(frame.image, format="rgb24")
        return
    with open_container(path) as container:
        stream = video_stream(container)
        found = decoded(container, stream)
        yield from deinterlaced(found, stream) if deinterlace else found


def _stated(path: str, decoder: DecoderName) -> tuple[Fraction, Fraction]:
    """The mean frame rate, and the aspect of the sources' pixels."""
    with open_container(path) as container:
        stream = video_stream(container)
        square = decoder == "decord"  # as ``frames_decord`` has made them
        return Fraction(stream.average_rate or 25), Fraction(1) if square else aspect_of(stream)


def _encode(
    file: IO[bytes], sources: Iterable[Any], rate: Fraction, aspect: Fraction, crf: int, converter: Converter
) -> _Laid:
    """Encode the sound frames one by one."""
    stream: Any = None
    laid = _Laid()
    options = {"crf": str(crf), "preset": "medium", "threads": "1", "mbtree": "0"}  # mbtree: see write_h264
    try:
        with av.open(file, "w", format="mp4") as container:
            for index, source in enumerate(sources):
                if damaged(source):
                    continue
                frame = _even(source, converter)
                if stream is None:
                    laid.height, laid.width = source.height, source.width
                    laid.geometry = Geometry(aspect=aspect, orientation=orientation_of(source))
                    stream = container.add_stream("libx264", rate=rate, options=options)
                    stream.height, stream.width, stream.pix_fmt = frame.height, frame.width, "yuv420p"
                    for tag in _TAGS:
                        setattr(stream.codec_context, tag, getattr(frame, tag))
                frame.pts, frame.time_base, frame.pict_type = (
                    len(laid.indices),
                    1 / rate,
                    0,
                )  # the encoder chooses types
                laid.indices.append(index)
                container.mux(stream.encode(frame))
            if stream is not None:
                container.mux(stream.encode(None))
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoError("decode_error", f"its frames cannot be encoded as H.264 ({reason(error)}).") from error
    return laid


def _even(frame: Any, converter: Converter) -> Any:
    """The frame as yuv420p with even width and height."""
    if frame.height % 2 or frame.width % 2:
        whole = converter.yuv(frame, "yuv444p")
        padded = np.pad(whole.to_ndarray(), ((0, 0), (0, frame.height % 2), (0, frame.width % 2)), mode="edge")
        even = av.VideoFrame.from_ndarray(padded, format="yuv444p")
        for tag in _TAGS:
            setattr(even, tag, getattr(whole, tag))
        frame = even
    return converter.yuv(frame, "yuv420p")
