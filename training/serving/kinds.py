"""What a file is, by its first bytes: names and declared types are the sender's, and no playlist may pass.

ffmpeg chooses a demuxer by content. A playlist or a list of files would make it open other files than the one sent.
Sources of the marks: ISO/IEC 14496-12, Matroska, RIFF, ISO/IEC 13818-1, FLV 10.1, ASF 1.2, RFC 3533, PNG, T.81.
"""

from __future__ import annotations

from typing import Final, Literal

HEAD: Final = 512  # bytes that are looked at
_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_STARTS: Final = (
    (b"\x1aE\xdf\xa3", ".mkv"),
    (b"\x00\x00\x01\xba", ".mpg"),
    (b"\x00\x00\x01\xb3", ".mpg"),
    (b"FLV\x01", ".flv"),
    (b"0&\xb2u\x8ef\xcf\x11", ".asf"),
    (b"OggS", ".ogv"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
)
KNOWN: Final = "MP4, MOV, MKV, WebM, AVI, MPEG, FLV, ASF or OGV; JPEG or PNG"
_PICTURES: Final = (".png", ".jpg")


def suffix_of(head: bytes) -> str | None:
    """The suffix of a video or picture that begins with ``head``; None for anything else.

    >>> suffix_of(b"\\x00\\x00\\x00 ftypisom"), suffix_of(b"#EXTM3U\\n")
    ('.mp4', None)
    """
    if head[4:8] in _BOXES:
        return ".mp4"
    if head[:4] == b"RIFF":
        return ".avi" if head[8:12] == b"AVI " else None
    if len(head) > 376 and all(head[place] == 0x47 for place in (0, 188, 376)):
        return ".ts"
    return next((suffix for start, suffix in _STARTS if head.startswith(start)), None)


def kind_of(suffix: str) -> Literal["video", "picture"]:
    return "picture" if suffix in _PICTURES else "video"
