"""Bytes that no encoder of H.264 or HEVC writes: what is lost of a file is often filled with zeros, which may decode.

Sources: ITU-T H.264 7.4.1 and H.265 7.4.2 (within a NAL unit, three zero bytes shall not occur), ISO/IEC 14496-15 5.3.3
and 8.3.3 (units are preceded by their lengths, of a size that the configuration states).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_ZEROS: Final = b"\0\0\0"


def length_size(codec: Any) -> int:
    """Bytes of a unit's length in the packets of a stream; 0 if it has no lengths, or is no H.264 and no HEVC."""
    extra = bytes(codec.extradata or b"")
    place = {"h264": 4, "hevc": 21}.get(codec.name, len(extra))
    return (extra[place] & 3) + 1 if extra[:1] == b"\x01" and place < len(extra) else 0


def zeroed(packet: bytes, size: int, codec: str) -> bool:
    """Whether a unit with parts of a picture has three zero bytes before its end. ``size``: see ``length_size``.

    >>> zeroed(bytes([0, 0, 0, 6, 0x65, 9, 0, 0, 3, 0]), 4, "h264")
    False
    >>> zeroed(bytes([0, 5, 0x65, 0, 0, 0, 1]), 2, "h264")
    True
    """
    return any(_ZEROS in unit.rstrip(b"\0") for unit in _units(packet, size) if _is_of_picture(unit[0], codec))


def _units(packet: bytes, size: int) -> Iterator[bytes]:
    place = 0
    while size and place + size < len(packet):
        end = place + size + int.from_bytes(packet[place : place + size], "big")
        if end > len(packet) or end == place + size:  # a damaged length, of which the decoder tells
            return
        yield packet[place + size : end]
        place = end


def _is_of_picture(header: int, codec: str) -> bool:
    return header & 31 in (1, 2, 3, 4, 5) if codec == "h264" else header >> 1 & 63 < 32
