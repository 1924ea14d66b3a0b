"""Videos that are folders of pictures, one picture a frame, in the natural order of their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from semblance.manifests.errors import SemblanceError, VideoError
from semblance.manifests.records import Frame, Properties
from semblance.manifests.text import PICTURES, natural
from semblance.quality import codec

DECODER: Final = "opencv"
_BEGIN: Final = 1 << 14  # bytes of a picture that usually hold its size
_CODECS: Final = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}


def is_folder(path: str) -> bool:
    """Whether the video at ``path`` is a folder of pictures."""
    return Path(path).is_dir()


def probe(path: str, most_pixels: int | None = None, most_frames: int | None = None) -> Properties:
    """The number of pictures, and their size and format where all have the same; one of them is decoded.

    Frame rate, duration and encoder of pictures are unknown. Raises VideoError where there is no picture, or more or
    larger ones than allowed.
    """
    files = _files(path)
    if not files:
        raise VideoError("empty", "the folder has no picture; get its pictures again.")
    if most_frames is not None and len(files) > most_frames:
        raise _beyond(f"{len(files)} pictures", f"limits.frames {most_frames}")
    sizes = {size for file in files if (size := _size(file)) is not None}
    for width, height in sizes:
        if most_pixels is not None and width * height > most_pixels:
            raise _beyond(f"a picture of {width}x{height} pixels", f"limits.megapixels {most_pixels / 1e6:g}")
    size = _upright(files) if len(sizes) == 1 else None
    codecs = {_CODECS[file.suffix.lower()] for file in files}
    return Properties(
        codec=codecs.pop() if len(codecs) == 1 else None,
        has_audio=False,
        width=size[0] if size else None,
        height=size[1] if size else None,
        frames_total=len(files),
        bytes=sum(file.stat().st_size for file in files),
    )


def frames(path: str, indices: Sequence[int]) -> Iterator[Frame]:
    """The wanted pictures in order, upright (H, W, 3) RGB and without a time; unreadable ones are left out."""
    files = _files(path)
    for index in sorted({index for index in indices if 0 <= index < len(files)}):
        try:
            yield Frame(index=index, time_s=None, image=codec.decode(files[index].read_bytes()))
        except (SemblanceError, OSError):
            continue


def names(path: str) -> list[str]:
    """The file names of the pictures in order: that of frame i is names(path)[i]; what is not UTF-8 is escaped."""
    return [file.name.encode("utf-8", "backslashreplace").decode() for file in _files(path)]


def at_rate(properties: Properties, fps: float | None) -> Properties:
    """The properties of pictures that were taken ``fps`` times a second; None: unknown."""
    if fps is None:
        return properties
    return replace(properties, fps=fps, duration_s=(properties.frames_total or 0) / fps)


def timed(frames: Iterator[Frame], fps: float | None) -> Iterator[Frame]:
    """The pictures with the times of ``fps`` pictures a second; None: without."""
    return frames if fps is None else (replace(frame, time_s=frame.index / fps) for frame in frames)


def _files(path: str) -> list[Path]:
    named = (file for file in Path(path).iterdir() if file.name.lower().endswith(PICTURES) and file.name[0] != ".")
    return sorted(filter(Path.is_file, named), key=lambda file: natural(file.name))


def _size(file: Path) -> tuple[int, int] | None:
    """Width and height as the header claims, from the beginning of the file if possible; None for an unreadable one."""
    for length in (_BEGIN, -1):  # what a camera writes before the size may be long
        try:
            with file.open("rb") as opened:
                return codec.claimed_size(opened.read(length))
        except (SemblanceError, OSError):
            continue
    return None


def _upright(files: Sequence[Path]) -> tuple[int, int] | None:
    """Width and height of the first readable picture as it is decoded: its metadata may turn it."""
    for file in files:
        try:
            height, width = codec.decode(file.read_bytes()).shape[:2]
        except (SemblanceError, OSError):
            continue
        return width, height
    return None


def _beyond(what: str, limit: str) -> VideoError:
    return VideoError(
        "decode_error", f"the folder has {what}, beyond the recipe's {limit}; raise that if the pictures are sound."
    )
