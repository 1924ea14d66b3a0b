"""What a frame's numbers mean as colours: as its tags say, and untagged as ffmpeg reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from semblance.manifests.errors import VideoError
from semblance.manifests.records import Image
from semblance.quality.video import hdr
from semblance.quality.video.planar import FORMATS, Planar, Siting, siting_of

# FFmpeg's names of the code points of ITU-T H.273.
_RANGES: Final = {1: "tv", 2: "pc"}
_MATRICES: Final = {
    **{0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc"},
    **{10: "bt2020c", 11: "smpte2085", 12: "chroma-derived-nc", 13: "chroma-derived-c", 14: "ictcp", 15: "ipt-c2"},
}
_TRANSFERS: Final = {
    **{1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316"},
    **{11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12"},
    **{16: "smpte2084", 17: "smpte428", 18: "arib-std-b67"},
}
_PRIMARIES: Final = {
    **{1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020"},
    **{10: "smpte428", 11: "smpte431", 12: "smpte432", 22: "ebu3213"},
}
_UNTAGGED: Final = "smpte170m"  # BT.601
_WIDE: Final = "bt2020nc"
# swscale's numbers of the matrices that it knows. BT.470BG and SMPTE 170M are both BT.601.
_SWSCALE: Final = {"bt709": 1, "fcc": 4, "bt470bg": 5, "smpte170m": 5, "smpte240m": 7, "bt2020nc": 9, "gbr": 5}
# The weights of red and blue in luma (ITU-T H.273, table 4).
_LUMA: Final = {
    **{"bt709": (0.2126, 0.0722), "fcc": (0.30, 0.11), "bt470bg": (0.299, 0.114), "smpte170m": (0.299, 0.114)},
    **{"smpte240m": (0.212, 0.087), "bt2020nc": (0.2627, 0.0593)},
}
# Without the last two flags swscale drops fractions of grey levels: 1.2 levels too dark in the mean.
_EXACT: Final = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_FROM_LIMITED: Final = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """How a frame's numbers are read. ``guessed``: what is not tagged, of range, matrix, transfer and primaries."""

    pixel_format: str | None
    range: str | None  # "tv": 16 to 235 of 255; "pc": 0 to 255
    matrix: str | None
    transfer: str | None  # None: untagged, which is read as SDR
    primaries: str | None  # None: untagged, which is read as BT.709
    guessed: tuple[str, ...]


def colour_of(frame: Any, pixel_format: str | None) -> Colour:
    """The tags of a frame or codec context, and in their place where they lack what ffmpeg assumes."""
    name = pixel_format or ""
    rgb = any(name.startswith(kind) for kind in ("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal", "x2"))
    grey = any(name.startswith(kind) for kind in ("gray", "ya", "mono"))
    matrix, transfer = _MATRICES.get(int(frame.colorspace)), _TRANSFERS.get(int(frame.color_trc))
    primaries = _PRIMARIES.get(int(frame.color_primaries))
    tagged = _RANGES.get(int(frame.color_range))
    full = rgb or name.startswith("yuvj")  # what these formats mean by themselves
    untagged = {
        "range": tagged is None and not full,
        "matrix": not (rgb or grey) and matrix in (None, "gbr"),
        "transfer": transfer is None,
        "primaries": primaries is None,
    }
    return Colour(
        pixel_format=pixel_format,
        range="pc" if full else tagged or ("pc" if grey else "tv"),
        matrix="gbr" if rgb else None if grey else _UNTAGGED if untagged["matrix"] else matrix,
        transfer=transfer,
        primaries=primaries,
        guessed=tuple(what for what, missing in untagged.items() if missing),
    )


class Converter:
    """Frames of one video to RGB; its tables and buffers are kept from frame to frame."""

    def __init__(self) -> None:
        self._swscale = VideoReformatter()
        self._planar = Planar()
        self._siting: dict[str, Siting | None] = {}  # by pixel format

    def rgb(self, frame: Any) -> Image:
        """(H, W, 3) SDR RGB in the stored orientation, rounded and not cut off; HDR is tone-mapped.

        In one thread: swscale would use one per core in each of many children. Raises VideoError for a matrix that
        nothing here can undo.
        """
        colour = colour_of(frame, frame.format.name)
        if colour.transfer in hdr.TRANSFERS:
            stored = self._converted(frame, colour, "yuv444p16le")
            luma = _LUMA.get(colour.matrix or "", _LUMA[_WIDE])
            return hdr.tone_mapped(stored, luma, colour.range == "pc", colour.transfer, colour.primaries)
        if (siting := self._quick(frame, colour)) is not None:
            return self._planar.rgb(frame, siting, _LUMA[colour.matrix or _UNTAGGED], colour.range == "pc")
        image: Image = self._converted(frame, colour, "rgb24").to_ndarray()
        if colour.matrix is None and colour.range == "tv":  # swscale reads every grey as full range
            image = _FROM_LIMITED[image]
        return image

    def _quick(self, frame: Any, colour: Colour) -> Siting | None:
        """Where chroma lies in a frame that the quick way can convert, else None.

        swscale knows every form, and converts the two fields of an interlaced frame one by one.
        """
        name = colour.pixel_format or ""
        if name not in FORMATS or frame.interlaced_frame or colour.matrix not in _LUMA:
            return None
        if frame.width % 2 or frame.height % 2 or min(frame.width, frame.height) < 16:
            return None
        if name not in self._siting:
            self._siting[name] = siting_of(frame, self._swscale)
        return self._siting[name]

    def yuv(self, frame: Any, pixel_format: str) -> Any:
        """The frame in another YUV format, with its matrix, range and transfer, and tagged with them."""
        return self._converted(frame, colour_of(frame, frame.format.name), pixel_format)

    def _converted(self, frame: Any, colour: Colour, to: str) -> Any:
        matrix = _SWSCALE.get(colour.matrix or _UNTAGGED)
        if matrix is None:
            raise VideoError(
                "decode_error", f"its colours have the matrix {colour.matrix}; convert the file to bt709 first."
            )
        tag = ColorRange.JPEG if colour.range == "pc" else ColorRange.MPEG
        try:
            return self._swscale.reformat(
                frame,
                format=to,
                src_colorspace=matrix,
                dst_colorspace=_SWSCALE[_WIDE] if colour.transfer in hdr.TRANSFERS else matrix,
                src_color_range=tag,
                dst_color_range=ColorRange.JPEG if to == "rgb24" else tag,
                interpolation=_EXACT,
                threads=1,
            )
        except (av.error.FFmpegError, OSError) as error:
            why = f"its pixel format {colour.pixel_format} cannot be converted to RGB ({error})."
            raise VideoError("decode_error", why) from error
