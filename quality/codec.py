"""Encode and decode JPEG, PNG and WebP: RGB in, RGB out."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Final, Literal

import cv2
import numpy as np
from pydantic import Field

from semblance.manifests.config import Config
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Image, Mask

_JPEG: Final = b"\xff\xd8"
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers that begin a frame
_PNG: Final = b"\x89PNG\r\n\x1a\n"


class EncodingConfig(Config):
    """How crops are stored: JPEG without chroma subsampling by default, since forgery traces live in the
    high frequencies; ``png`` and lossless ``webp`` ignore ``quality``.
    """

    format: Literal["jpg", "png", "webp"] = "jpg"
    quality: int = Field(default=95, ge=1, le=100)

    @property
    def extension(self) -> str:
        return self.format


def encode(image_HWC: Image, config: EncodingConfig) -> bytes:
    """The (H, W, 3) RGB image as a file of the configured format."""
    match config.format:
        case "jpg":
            flags = [
                cv2.IMWRITE_JPEG_QUALITY,
                config.quality,
                cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
                cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
            ]
        case "png":
            flags = []
        case "webp":
            flags = [cv2.IMWRITE_WEBP_QUALITY, 101]  # above 100 is lossless
    return _encode(image_HWC, config.format, flags)


def decode(data: bytes) -> Image:
    """The picture as (H, W, 3) RGB; raises SemblanceError if the bytes are not a picture."""
    if not data:
        raise SemblanceError("the picture is empty")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # more pixels than OpenCV takes
        image = None
    if image is None:
        raise SemblanceError("the bytes are no JPEG, PNG or WebP picture")
    return image  # type: ignore[return-value]


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height of a complete PNG, without decoding it; every chunk must be present and match its checksum.

    Raises SemblanceError otherwise. This checks the claimed size before memory is allocated.
    """
    if not data.startswith(_PNG):
        raise SemblanceError("the bytes are no PNG picture")
    place, size, kind = len(_PNG), (0, 0), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, place) if place + 12 <= len(data) else (1 << 31, b"")
        end = place + 12 + length
        if end > len(data):
            raise SemblanceError("the PNG picture is cut short")
        if zlib.crc32(data[place + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise SemblanceError("the PNG picture is damaged")
        if place == len(_PNG):
            if kind != b"IHDR" or length != 13:
                raise SemblanceError("the PNG picture does not begin with its header")
            size = struct.unpack_from(">II", data, place + 8)
        place = end
    return size


def claimed_size(data: bytes) -> tuple[int, int]:
    """Width and height that a PNG, JPEG or WebP claims, as stored: what turns it upright is not looked at.

    Raises SemblanceError if there is none. Sources: PNG 11.2.1, ITU-T T.81 B.2.2, RFC 9649 2.5 to 2.7.
    """
    if data.startswith(_PNG) and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        return _webp_size(data)
    place = 2
    while data.startswith(_JPEG) and place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        else:
            place += 2 + int(struct.unpack_from(">H", data, place + 2)[0])
    raise SemblanceError("the bytes are no PNG, JPEG or WebP picture")


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise SemblanceError("the bytes are no WebP picture")


def encode_mask(mask_HW: Mask) -> bytes:
    """The (H, W) mask as a PNG of one channel, bit for bit."""
    done, buffer = cv2.imencode(".png", mask_HW)
    if not done:
        raise RuntimeError(f"OpenCV cannot encode a {mask_HW.shape} mask")
    return buffer.tobytes()


def decode_mask(data: bytes) -> Mask:
    """The (H, W) mask of ``encode_mask``; raises SemblanceError if the bytes are not a single-channel PNG."""
    png_size(data)
    mask = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.ndim != 2 or mask.dtype != np.uint8:
        raise SemblanceError("the picture is no mask of one channel")
    return mask  # type: ignore[return-value]


def degrade(image_HWC: Image, quality: int, kind: Literal["jpg", "webp"] = "jpg") -> Image:
    """The image after a lossy file of ``quality`` (1-100) with halved chroma, as cameras and messengers write it.

    WebP is searched with libwebp's method 2 of 0 to 6, at half the time of its default 4. The file is some 6 % larger
    and the picture equally near to the original.
    """
    match kind:
        case "jpg":
            sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
            return decode(_encode(image_HWC, "jpg", [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling]))
        case "webp":
            return decode(_fast_webp(image_HWC, quality))


def thumbnail(image_HWC: Image, side: int = 96) -> bytes:
    """A small JPEG of a square crop, for the page of rejected faces."""
    small = cv2.resize(image_HWC, (side, side), interpolation=cv2.INTER_AREA)
    return _encode(small, "jpg", [cv2.IMWRITE_JPEG_QUALITY, 85])  # type: ignore[arg-type]


def _fast_webp(image_HWC: Image, quality: int) -> bytes:
    from PIL import Image as Pillow  # OpenCV cannot choose the method

    file = io.BytesIO()
    Pillow.fromarray(image_HWC).save(file, "webp", quality=quality, method=2)
    return file.getvalue()


def _encode(image_HWC: Image, extension: str, flags: list[int]) -> bytes:
    done, buffer = cv2.imencode(f".{extension}", cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR), flags)
    if not done:
        raise RuntimeError(f"OpenCV cannot encode a {image_HWC.shape} image as {extension}")
    return buffer.tobytes()
