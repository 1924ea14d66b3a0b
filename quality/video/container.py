"""Open, demux and decode containers with PyAV; every fault becomes a VideoError of the file."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final, Literal

import av
from av.stream import Disposition

from semblance.manifests.errors import VideoError
from semblance.manifests.storage.retry import reason
from semblance.quality.video.damage import Decoder

av.logging.set_level(None)  # what damaged files say goes into their rows, not onto the screen

DecoderName = Literal["pyav", "decord"]

# PyAV is equal to ffmpeg in every pixel on all of the tests' clips, and faster on long GOPs; decord has had
# no release since 2021.
DEFAULT_DECODER: Final[DecoderName] = "pyav"


def available() -> tuple[DecoderName, ...]:
    """The decoders installed here, the default first."""
    return ("pyav", "decord") if importlib.util.find_spec("decord") else ("pyav",)


def versions() -> dict[str, str]:
    """Versions of the decoders and of the FFmpeg libraries inside PyAV."""
    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    decord = importlib.metadata.version("decord") if "decord" in available() else "absent"
    return {"av": av.__version__, "libavcodec": libraries["libavcodec"], "decord": decord}


@contextmanager
def blaming_the_file() -> Iterator[None]:
    """Turn every library error into a VideoError: hostile files raise errors that no list foresees."""
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


def open_container(file: str | IO[bytes]) -> Any:
    try:
        return av.open(file, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise VideoError("decode_error", f"the file is no readable video ({reason(error)}); get it again.") from error


def video_stream(container: Any) -> Any:
    """The stream that a player shows, as ffmpeg chooses it: never cover art, the largest, with five million pixels'
    start for the one marked as default. Raises VideoError where there is none.
    """
    if not (streams := moving(container)):
        still = " but a still picture" if container.streams.video else ""
        raise VideoError("empty", f"the file has no video stream{still}; get it again.")
    if not (readable := [stream for stream in streams if stream.codec_context is not None]):
        raise VideoError("decode_error", "no decoder here knows the codec of its video stream; encode it again.")
    stream = max(readable, key=_rank)
    stream.codec_context.thread_count = 1
    stream.codec_context.thread_type = "NONE"
    return stream


def moving(container: Any) -> list[Any]:
    """The video streams that are no cover art."""
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def _rank(stream: Any) -> int:
    size: int = stream.width * stream.height
    return size + 5_000_000 * bool(stream.disposition & Disposition.default)


def packets_of(container: Any, stream: Any) -> Iterator[Any]:
    """The stream's packets, as far as the container can be read."""
    try:
        yield from container.demux(stream)
    except (av.error.FFmpegError, OSError):
        return


def decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Frames in output order, ``damaged`` or not; packets that cannot be decoded are skipped, as in ffmpeg."""
    decoder = Decoder(stream)
    for packet in packets_of(container, stream):
        yield from decoder.decode(packet)
