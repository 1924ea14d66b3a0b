"""The one door to PyAV and decord: what a container says, its frames, and H.264 writing."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Final, Literal

import av
import numpy as np

from manifests.patience import reason
from manifests.records import Frame, Image, Properties, SemblanceError

av.logging.set_level(None)  # what damaged files say goes into their rows, not onto the screen

DecoderName = Literal["pyav", "decord"]
Skip = Literal["none", "nonref", "nonkey"]
# PyAV is equal to ffmpeg in every pixel on all of the tests' clips, and faster on long GOPs; decord has had
# no release since 2021.
DEFAULT_DECODER: Final[DecoderName] = "pyav"
# Where more of the frames are wanted, leaving out the others gains less than it costs to know their times.
_SPARSE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a file may be: pixels a frame, frames, seconds."""

    pixels: int
    frames: int
    seconds: float


class VideoError(SemblanceError):
    """A file of which nothing can be decoded; ``status`` is ``empty`` or ``decode_error``."""

    def __init__(self, status: Literal["empty", "decode_error"], sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def available() -> tuple[DecoderName, ...]:
    """The decoders installed here, the default first."""
    return ("pyav", "decord") if importlib.util.find_spec("decord") else ("pyav",)


def versions() -> dict[str, str]:
    """Versions of the decoders and of the FFmpeg libraries inside PyAV."""
    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    decord = importlib.metadata.version("decord") if "decord" in available() else "absent"
    return {"av": av.__version__, "libavcodec": libraries["libavcodec"], "decord": decord}


def probe(path: str, bounds: Bounds | None = None) -> Properties:
    """What the header says and one pass over the packets shows; nothing is decoded but the first frame.

    ``frames_total`` counts the packets that a decoder puts out. Raises VideoError where there is no video, or one
    beyond ``bounds``.
    """
    size = Path(path).stat().st_size
    if size == 0:
        raise VideoError("empty", "the file has zero bytes; get it again.")
    with _blamed(), _opened(path) as container:
        stream = _video_stream(container)
        _check(container, stream, bounds)
        shown, stored, keys, first = _pass_over(container, stream, bounds.frames if bounds else None)
        if shown == 0:
            raise VideoError("empty", "the video stream has no frames; get the file again.")
        properties = _properties(container, stream, size, shown, stored, keys)
    rotation = int(first.rotation) % 360 if first is not None else 0
    turned = rotation in (90, 270)
    return Properties(
        **properties,
        width=stream.height if turned else stream.width,
        height=stream.width if turned else stream.height,
        rotation=rotation,
    )


def created(file: str | IO[bytes]) -> str | None:
    """When the container says that it was made (ISO 8601), from its header alone; None where it does not say.

    A file that cannot be opened has no time either: what is wrong with it is told when it is processed.
    """
    try:
        with _blamed(), _opened(file) as container:
            tags = [container.metadata, *(stream.metadata for stream in container.streams.video)]
    except VideoError:
        return None
    found = (value for one in tags for key, value in one.items() if key.lower() == "creation_time")
    return _created(next(found, None))


def frames(path: str, indices: Sequence[int], *, decoder: DecoderName, skip: Skip = "none") -> Iterator[Frame]:
    """The wanted frames in order, upright (H, W, 3) RGB, decoded in one thread from the start without seeking.

    Index i is the i-th frame that the decoder puts out, as ``ffmpeg -fps_mode passthrough`` counts. A packet
    that cannot be decoded is passed over; wanted frames that never come are left out. What is neither wanted nor
    needed by a wanted frame is not decoded where that is safe, with the same pixels. With ``skip`` the codec leaves
    out frames that no other needs (``nonref``) or all but key frames (``nonkey``), and in place of each wanted frame
    comes the one nearest in time that is left, once; PyAV alone can do so, and where a file gives its frames no
    times, all are decoded. Raises VideoError where the file cannot be opened.
    """
    if not indices:
        return
    if decoder == "decord":
        found = _frames_decord(path, indices)
    else:
        found = _frames_pyav(path, indices) if skip == "none" else _frames_near(path, indices, skip)
    with _blamed(), closing(found):
        yield from found


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

    Even sides are stored as yuv420p, odd ones as yuv444p, which knows them but fewer players do.
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


def recompressed(path: str, indices: Sequence[int], *, crf: int, decoder: DecoderName) -> Iterator[Frame]:
    """The wanted frames, upright, after all of the video was encoded once more as H.264 (yuv420p) at this ``crf``.

    The i-th frame that ``frames`` numbers is the i-th that is encoded, whatever its time: a variable rate becomes the
    average one, and damaged packets are passed over as there. Everything is encoded in the sensor's orientation, an odd
    side with its last row or column twice, which is cut off again; no sound; in one thread, so that the same file gives
    the same pixels. PyAV's frames keep their YUV values: a yuv420p video of even sides is unchanged at ``crf`` 0, which
    H.264 calls lossless. The new file has no name, so nothing is left of it however the process ends.

    Raises VideoError where the file cannot be opened or its frames cannot be encoded.
    """
    if not indices:
        return
    wanted, last = set(indices), max(indices)
    with _blamed(), tempfile.TemporaryFile(prefix="semblance-") as file:
        with closing(_sources(path, decoder)) as sources:
            height, width, rotation = _encode(file, sources, _rate(path), crf)
        file.seek(0)
        with _opened(file) as container:
            for index, frame in enumerate(_decoded(container, _video_stream(container))):
                if index in wanted:
                    image = np.rot90(_pixels(frame)[:height, :width], rotation // 90)
                    yield Frame(index=index, time_s=None, image=np.ascontiguousarray(image))
                if index >= last:
                    return


def _sources(path: str, decoder: DecoderName) -> Generator[Any, None, None]:
    """Every frame that the decoder puts out, as PyAV's."""
    if decoder == "decord":
        total = probe(path).frames_total or 0
        for frame in _frames_decord(path, range(total)):
            yield av.VideoFrame.from_ndarray(frame.image, format="rgb24")
        return
    with _opened(path) as container:
        yield from _decoded(container, _video_stream(container))


def _rate(path: str) -> Fraction:
    with _opened(path) as container:
        return Fraction(_video_stream(container).average_rate or 25)


def _encode(file: IO[bytes], sources: Iterable[Any], rate: Fraction, crf: int) -> tuple[int, int, int]:
    """Encode the frames one by one; the first one's height, width and rotation before."""
    stream: Any = None
    height = width = rotation = 0
    options = {"crf": str(crf), "preset": "medium", "threads": "1", "mbtree": "0"}  # mbtree: see write_h264
    try:
        with av.open(file, "w", format="mp4") as container:
            for index, source in enumerate(sources):
                frame = _even(source)
                if stream is None:
                    height, width, rotation = source.height, source.width, int(source.rotation) % 360
                    stream = container.add_stream("libx264", rate=rate, options=options)
                    stream.height, stream.width, stream.pix_fmt = frame.height, frame.width, "yuv420p"
                    for tag in ("color_range", "colorspace", "color_primaries", "color_trc"):
                        setattr(stream.codec_context, tag, getattr(frame, tag))
                frame.pts, frame.time_base, frame.pict_type = index, 1 / rate, 0  # the encoder chooses its own types
                container.mux(stream.encode(frame))
            if stream is not None:
                container.mux(stream.encode(None))
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoError("decode_error", f"its frames cannot be encoded as H.264 ({reason(error)}).") from error
    return height, width, rotation


def _even(frame: Any) -> Any:
    """The frame as yuv420p of even sides."""
    if frame.height % 2 or frame.width % 2:
        image = _pixels(frame)
        padded = np.pad(image, ((0, frame.height % 2), (0, frame.width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(padded, format="rgb24")
    return frame.reformat(format="yuv420p", threads=1)


@contextmanager
def _blamed() -> Iterator[None]:
    """Whatever the libraries raise over a file is the file's fault: hostile ones find ways that no list foresees."""
    try:
        yield
    except (VideoError, ImportError):
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # of the temporary file
            raise
        raise VideoError("decode_error", f"the file cannot be read ({reason(error)}); get it again.") from error
    except Exception as error:
        why = f"{type(error).__name__}: {reason(error)}"
        raise VideoError("decode_error", f"the file cannot be read ({why}); get it again.") from error


def _opened(file: str | IO[bytes]) -> Any:
    try:
        return av.open(file, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise VideoError("decode_error", f"the file is no readable video ({reason(error)}); get it again.") from error


def _video_stream(container: Any) -> Any:
    if not container.streams.video:
        raise VideoError("empty", "the file has no video stream; get it again.")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise VideoError("decode_error", "no decoder here knows the codec of its video stream; encode it again.")
    stream.codec_context.thread_count = 1
    stream.codec_context.thread_type = "NONE"
    return stream


def _check(container: Any, stream: Any, bounds: Bounds | None) -> None:
    """Refuse what the header claims beyond ``bounds``."""
    if bounds is None:
        return
    if stream.width * stream.height > bounds.pixels:
        raise _beyond(f"{stream.width}x{stream.height} pixels", f"limits.megapixels {bounds.pixels / 1e6:g}")
    if (seconds := _duration(container, stream)) is not None and seconds > bounds.seconds:
        raise _beyond(f"{seconds:.0f} s", f"limits.hours {bounds.seconds / 3600:g}")


def _beyond(what: str, limit: str) -> VideoError:
    return VideoError(
        "decode_error", f"the file claims {what}, beyond the recipe's {limit}; raise that if the file is sound."
    )


def _pass_over(container: Any, stream: Any, most: int | None) -> tuple[int, int, list[int], Any]:
    """Frames that will be shown, packets that are stored, the places of the key frames, and the first frame, None
    where none can be decoded. Raises VideoError for more than ``most``.
    """
    shown = stored = 0
    keys = []
    first = None
    for packet in _packets(container, stream):  # the header's number shows where some lack
        if first is None:
            first = _alone(packet, stream.codec_context)
        if packet.size == 0:  # the last, which empties the decoder
            continue
        stored += 1
        if most is not None and stored > most:
            raise _beyond(f"more than {most} frames", f"limits.frames {most}")
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


def _properties(container: Any, stream: Any, size: int, shown: int, stored: int, keys: Sequence[int]) -> dict[str, Any]:
    metadata = {key.lower(): value for key, value in {**container.metadata, **stream.metadata}.items()}
    declared = int(stream.frames or 0)
    rate = stream.average_rate
    duration = _duration(container, stream)
    return {
        "codec": stream.codec_context.name,
        "encoder": metadata.get("encoder") or None,
        "bit_rate": int(stream.bit_rate or container.bit_rate or 0) or None,
        "gop": max(np.diff([*keys, stored]).tolist(), default=None) if keys else None,
        "created": _created(metadata.get("creation_time")),
        "has_audio": bool(container.streams.audio),
        "fps": float(rate) if rate else None,
        "frames_total": shown,
        "frames_declared": max(declared - (stored - shown), 0) or None,
        "duration_s": duration,
        "bytes": size,
    }


def _duration(container: Any, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration is not None else None


def _created(text: str | None) -> str | None:
    """The container's creation time, if it is one."""
    try:
        return datetime.fromisoformat(text).isoformat() if text else None
    except ValueError:
        return None


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """The stream's packets, as far as the container can be read."""
    try:
        yield from container.demux(stream)
    except (av.error.FFmpegError, OSError):
        return


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Frames in the order of output; damaged packets are passed over, as ffmpeg does."""
    for packet in _packets(container, stream):
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            continue


def _frames_pyav(path: str, indices: Sequence[int]) -> Generator[Frame, None, None]:
    given = -1
    if len(set(indices)) < _SPARSE * max(indices):
        for frame in _spared(path, indices):
            yield frame
            given = frame.index
    if rest := [index for index in indices if index > given]:
        yield from _counted(path, rest)


def _spared(path: str, indices: Sequence[int]) -> Generator[Frame, None, None]:
    """The wanted frames of an H.264 file, without decoding the other frames that no frame refers to (nal_ref_idc 0,
    ITU-T H.264 7.4.1): a third of the time in a file of x264's defaults.

    Frames are told by their times. It ends early, perhaps before the first, where that cannot be trusted: another
    codec, times that are missing or twice, interlacing, and whatever looks like damage. Damage in what is not decoded
    is not seen.
    """
    with _opened(path) as container:
        stream = _video_stream(container)
        times = _times(container, stream) if stream.codec_context.name == "h264" else []
    place = {time: index for index, time in enumerate(times)}
    wanted = {index for index in indices if index < len(times)}
    if not wanted:
        return
    due = sorted({0, *wanted}, reverse=True)  # a file whose first does not come begins within a group of pictures
    decode = set(due)
    came = -1
    with _opened(path) as container:
        stream = _video_stream(container)
        for packet in _packets(container, stream):
            needed = packet.size == 0 or place.get(packet.pts) in decode
            stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
            try:
                decoded = packet.decode()
            except av.error.FFmpegError:
                return
            for frame in decoded:
                before, came = came, place.get(frame.pts, -1)
                if not before < came <= due[-1] or frame.is_corrupt or frame.interlaced_frame:
                    return
                if came == due[-1]:
                    due.pop()
                    if came in wanted:
                        yield _upright(came, frame)
                    if not due:
                        return


def _counted(path: str, indices: Sequence[int]) -> Generator[Frame, None, None]:
    """The wanted frames, by counting what the decoder puts out when it decodes everything."""
    wanted, last = set(indices), max(indices)
    with _opened(path) as container:
        for index, frame in enumerate(_decoded(container, _video_stream(container))):
            if index in wanted:
                yield _upright(index, frame)
            if index >= last:
                return


def _frames_near(path: str, indices: Sequence[int], skip: Skip) -> Generator[Frame, None, None]:
    with _opened(path) as container:
        times = _times(container, _video_stream(container))
    if not times:
        yield from _counted(path, indices)
        return
    place = {time: index for index, time in enumerate(times)}
    wanted = iter(sorted({index for index in indices if index < len(times)}))
    target = next(wanted, None)
    given = -1
    last: Any = None
    with _opened(path) as container:
        stream = _video_stream(container)
        stream.codec_context.skip_frame = skip.upper()
        for frame in _decoded(container, stream):
            if frame.pts not in place:
                continue
            while target is not None and times[target] <= frame.pts:
                earlier = last is not None and times[target] - last.pts <= frame.pts - times[target]
                nearest = last if earlier else frame
                if place[nearest.pts] > given:
                    given = place[nearest.pts]
                    yield _upright(given, nearest)
                target = next(wanted, None)
            if target is None:
                return
            last = frame
        if target is not None and last is not None and place[last.pts] > given:
            yield _upright(place[last.pts], last)


def _times(container: Any, stream: Any) -> list[int]:
    """Sorted times of all frames that are shown, in the stream's unit; none where one has no time or two have one."""
    try:
        found = [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]
    except (av.error.FFmpegError, OSError):
        return []
    return [] if None in found or len(set(found)) < len(found) else sorted(found)


def _pixels(frame: Any) -> Image:
    """(H, W, 3) RGB as the sensor has it, by one thread: swscale would take one a core, in each of many children."""
    image: Image = frame.to_ndarray(format="rgb24", threads=1)
    return image


def _upright(index: int, frame: Any) -> Frame:
    image = np.rot90(_pixels(frame), frame.rotation // 90)
    return Frame(index=index, time_s=_time(frame), image=np.ascontiguousarray(image))


def _time(frame: Any) -> float | None:
    return float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base is not None else None


def _frames_decord(path: str, indices: Sequence[int]) -> Generator[Frame, None, None]:
    import torch  # noqa: F401  # decord must be loaded after torch, or both crash
    from decord import DECORDError, VideoReader, cpu, logging

    logging.set_level(logging.QUIET)
    wanted, last = set(indices), max(indices)
    try:
        reader = VideoReader(path, ctx=cpu(0), num_threads=1)
    except (DECORDError, RuntimeError) as error:
        raise VideoError("decode_error", f"decord cannot read the file ({reason(error)}).") from error
    for index in range(min(len(reader), last + 1)):
        try:
            image = reader.next().asnumpy()
        except (DECORDError, StopIteration, RuntimeError):
            return
        if index in wanted:
            # decord turns frames upright by itself
            yield Frame(index=index, time_s=float(reader.get_frame_timestamp(index)[0]), image=image)
