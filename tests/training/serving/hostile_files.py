"""Files that nobody means well with: damaged clips, bombs, playlists, polyglots. All from a seed."""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from tests.faults import videos
from tests.training.serving import harness

_SUFFIXES: Final = (".mp4", ".mkv", ".avi", ".mov", ".mpg")
File = tuple[str, bytes]  # what it is, and the bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What is damaged. ``clips``: short and small ones by suffix; ``whole``: further files as they are, by name.

    ``canary``: an address that nothing may ever be fetched from.
    """

    clips: Mapping[str, bytes]
    whole: Sequence[File]
    canary: str


def corpus(clip: Path, folder: Path, canary: str, *, whole: Sequence[Path] = (), malformed: bool = False) -> Corpus:
    """Small clips of five containers made from one, given files, and with ``malformed`` those of the faults' table."""
    folder.mkdir(parents=True, exist_ok=True)
    small: dict[str, bytes] = {}
    for suffix in _SUFFIXES:
        codec = {".avi": "mpeg4", ".mpg": "mpeg2video"}.get(suffix, "libx264")
        file = folder / f"small{suffix}"
        videos.ffmpeg("-i", clip, "-frames:v", 8, "-vf", "scale=160:120", "-r", 25, "-c:v", codec, "-an", file)
        small[suffix] = file.read_bytes()
    more = [(file.name, file.read_bytes()) for file in whole]
    if malformed:
        for name, (make, _) in videos.MALFORMED.items():
            made = make(clip, folder / name)
            more.append((name, made.read_bytes()))
    return Corpus(clips=small, whole=more, canary=canary)


def damaged(chance: random.Random, number: int, of: Corpus) -> File:
    """A clip with one to four changes; every eighth file is one of those that are bad by themselves."""
    if of.whole and number % 8 == 7:
        return of.whole[number // 8 % len(of.whole)]
    suffix = _SUFFIXES[number % len(_SUFFIXES)]
    data = of.clips[suffix]
    if suffix in (".mp4", ".mov") and number % 3 == 0:
        return f"swapped boxes {suffix}", swapped(data, chance)
    return f"mutated {suffix}", videos.mutated(data, chance)


def swapped(data: bytes, chance: random.Random) -> bytes:
    """An MP4 whose boxes, and the fields of one table inside, have changed places."""
    boxes, place = [], 0
    while place + 8 <= len(data):
        size = max(int.from_bytes(data[place : place + 4], "big"), 8)
        boxes.append(data[place : place + size])
        place += size
    chance.shuffle(boxes)
    changed = bytearray(b"".join(boxes))
    names = [name for name in (b"stsz", b"stco", b"stts", b"stsc", b"stsd", b"tkhd", b"hdlr") if name in changed]
    if len(names) > 1:
        first, second = chance.sample(names, 2)
        one, two = changed.index(first), changed.index(second)
        changed[one : one + 4], changed[two : two + 4] = second, first
    return bytes(changed)


def picture(chance: random.Random, number: int) -> File:
    """A small JPEG, PNG or WebP, mostly damaged; every fifth is sound, but grey, deep, long or transparent."""
    suffix = (".jpg", ".png", ".webp")[number % 3]
    image = np.random.default_rng(number).integers(0, 256, (48, 48, 3), np.uint8)
    if number % 5 == 4:
        odd = (image[..., 0], image.astype(np.uint16) * 257, image[:7], np.dstack([image, image[..., 0]]))
        kind = number // 5 % len(odd)
        shape = odd[kind] if suffix == ".png" or kind != 1 else image
        return f"odd {suffix}", _encoded(shape, suffix)
    return f"mutated {suffix}", videos.mutated(_encoded(image, suffix), chance)


def _encoded(image: np.ndarray, suffix: str) -> bytes:
    done, data = cv2.imencode(suffix, image)
    assert done
    return data.tobytes()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, rows: int | None = None) -> bytes:
    """A grey PNG that claims ``width`` x ``height`` px and holds ``rows`` rows of zeros, all by default."""
    packed = zlib.compressobj(9)
    rows = height if rows is None else rows
    body = b"".join(packed.compress(bytes(1 + width)) for _ in range(rows)) + packed.flush()
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def jpeg_claiming(width: int, height: int) -> bytes:
    """A sound JPEG whose frame header claims another size."""
    data = bytearray(harness.crop())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_of_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: little to send, much to decode."""
    flat = np.zeros((side, side), np.uint8)
    done, coded = cv2.imencode(".jpg", flat, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert done
    data = coded.tobytes()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def _webp_mismatched() -> bytes:
    """The container says 64x64, the picture inside 16383x16383."""
    inner = _encoded(np.zeros((64, 64, 3), np.uint8), ".webp")[12:]
    at = inner.find(b"\x9d\x01\x2a")
    if at >= 0:
        inner = inner[: at + 3] + struct.pack("<HH", 16383, 16383) + inner[at + 7 :]
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (63).to_bytes(3, "little") * 2
    body = b"WEBP" + canvas + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def _claiming_frames(data: bytes, frames: int) -> bytes:
    """An MP4 whose tables of samples claim ``frames`` of them, in bytes that are not there."""
    changed = bytearray(data)
    for name, place in ((b"stsz", 12), (b"stts", 12)):
        at = changed.index(name)
        changed[at + place : at + place + 4] = struct.pack(">I", frames)
    changed[changed.index(b"stsz") + 8 : changed.index(b"stsz") + 12] = struct.pack(">I", 1)
    return bytes(changed)


def _claiming_size(data: bytes, side: int) -> bytes:
    """An MP4 whose track header and sample entry claim ``side`` px."""
    changed = bytearray(data)
    at = changed.index(b"tkhd")
    changed[at + 80 : at + 88] = struct.pack(">II", side << 16, side << 16)
    at = changed.index(b"avc1", changed.index(b"stsd"))
    changed[at + 28 : at + 32] = struct.pack(">HH", side, side)
    return bytes(changed)


_BOMBS: Final[tuple[tuple[str, Callable[[Corpus], bytes]], ...]] = (
    ("PNG of 60000 px, one row", lambda _: png(60_000, 60_000, rows=1)),
    ("PNG of 2**31 - 1 px", lambda _: png(1, 1).replace(struct.pack(">II", 1, 1), b"\x7f\xff\xff\xff" * 2)),
    ("PNG of 3900 px, all there", lambda _: png(3900, 3900)),
    ("PNG with text of 200 MB", lambda _: png(64, 64, _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200 << 20), 9)))),
    (
        "PNG with a profile of 200 MB",
        lambda _: png(64, 64, _chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200 << 20)))),
    ),
    ("JPEG of 65535 px", lambda _: jpeg_claiming(65_535, 65_535)),
    ("JPEG of no height", lambda _: jpeg_claiming(64, 0)),
    ("JPEG of 100000 scans", lambda _: jpeg_of_scans(3000, 100_000)),
    ("WebP of two sizes", lambda _: _webp_mismatched()),
    ("gzip of 64 MB", lambda _: gzip.compress(bytes(64 << 20))),
    ("MP4 of 1e9 frames", lambda of: _claiming_frames(of.clips[".mp4"], 1_000_000_000)),
    ("MP4 of 65535 px", lambda of: _claiming_size(of.clips[".mp4"], 65_535)),
    ("MP4 of boxes in boxes", lambda _: _nested(2000)),
    ("MP4 of a box of 2**63 bytes", lambda _: _box(b"ftyp", b"isom") + b"\0\0\0\1moov" + b"\x7f" + b"\xff" * 7),
    ("MKV of a size of 2**56", lambda of: of.clips[".mkv"][:64] + b"\x18\x53\x80\x67\x01" + b"\xff" * 7),
    ("AVI of 2**32 - 1 frames", lambda of: of.clips[".avi"][:48] + b"\xff" * 8 + of.clips[".avi"][56:]),
)


def _nested(depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = _box(b"moov", _box(b"trak", inner)) if len(inner) % 2 else _box(b"moov", inner)
    return _box(b"ftyp", b"isom", bytes(4)) + inner


def bomb(number: int, of: Corpus) -> File:
    """Little to send that claims, or unfolds to, very much."""
    name, make = _BOMBS[number % len(_BOMBS)]
    return name, make(of)


def playlist(number: int, of: Corpus) -> File:
    """What would make ffmpeg open other files, or addresses: alone, or behind the first bytes of a video."""
    target = ("file:///etc/passwd", f"{of.canary}/a.ts", "/etc/passwd", "concat:/etc/passwd|/etc/group")[number % 4]
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n"
    sdp = f"v=0\nc=IN IP4 127.0.0.1\nm=video {of.canary.rpartition(':')[2]} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    dash = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "{target}">]><MPD><BaseURL>&x;</BaseURL></MPD>'
    kinds = {
        "m3u8": hls,
        "ffconcat": f"ffconcat version 1.0\nfile '{target}'\n",
        "list of files": f"file '{target}'\n" * 9,
        "sdp": sdp,
        "dash": dash,
        "ism": f'<SmoothStreamingMedia Url="{target}"/>',
        "asx": f'<asx version="3"><entry><ref href="{target}"/></entry></asx>',
        "reference": f"[Reference]\nRef1={target}\n",
        "svg": f'<svg xmlns:x="http://www.w3.org/1999/xlink"><image x:href="{target}"/></svg>',
    }
    name = list(kinds)[number // 4 % len(kinds)]
    data = kinds[name].encode()
    covers: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
        ("", lambda text: text),
        (" after a box of ftyp", lambda text: _box(b"ftyp", b"isom", bytes(4)) + text),
        (" in a box of free", lambda text: _box(b"free", text)),
        (" as the subtitles of an AVI", lambda text: _with_subtitles(of.clips[".avi"], text)),
        (" with a byte order mark", lambda text: b"\xef\xbb\xbf" + text),
        (" after an MKV's first bytes", lambda text: b"\x1aE\xdf\xa3" + text),
        (" after a transport stream's first bytes", lambda text: (b"G" + bytes(187)) * 3 + text),
        (" as the reference of an MP4", lambda text: _referring(of.clips[".mp4"], text)),
    )
    cover, wrap = covers[number % len(covers)]
    return f"{name}{cover}", wrap(data)


def _with_subtitles(avi: bytes, text: bytes) -> bytes:
    """A chunk GAB2 in an AVI: older versions of ffmpeg opened what it holds."""
    held = b"GAB2\0\x02\0" + struct.pack("<I", 0) + b"\x04\0" + struct.pack("<I", len(text)) + text
    chunk = b"01sb" + struct.pack("<I", len(held)) + held + bytes(len(held) % 2)
    at = avi.index(b"movi") + 4
    return avi[:at] + chunk + avi[at:]


def _referring(mp4: bytes, text: bytes) -> bytes:
    """An MP4 whose data are said to be in another file."""
    at = mp4.index(b"url ")
    size = int.from_bytes(mp4[at - 4 : at], "big")
    alias = _box(b"al" + b"is", bytes(4), text[:200])
    return mp4[: at - 4] + alias + mp4[at - 4 + size :]


def other(chance: random.Random, number: int, of: Corpus) -> File:
    """Wrong types and polyglots."""
    mp4, jpg = of.clips[".mp4"], harness.crop()
    kinds: dict[str, bytes] = {
        "nothing": b"",
        "one byte": b"\0",
        "text": b"no video at all\n" * 99,
        "zip": b"PK\x03\x04" + chance.randbytes(200),
        "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "html": b"<html><script>alert(1)</script></html>",
        "gif": b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;",
        "tiff": b"II*\0\x08\0\0\0\0\0" + bytes(64),
        "exr": b"v/1\x01\x02\0\0\0" + bytes(64),
        "bmp": b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIIIII", 40, 1, 1, 1, 24, *(0,) * 6),
        "elf": b"\x7fELF\x02\x01\x01" + bytes(200),
        "noise": chance.randbytes(5000),
        "JPEG, then an MP4": jpg + mp4,
        "MP4, then a JPEG": mp4 + jpg,
        "MP4 in a PNG": png(8, 8, _chunk(b"teXt", b"a\0" + mp4)),
        "JPEG with a script": jpg[:2] + b"\xff\xfe\x00\x1e<script>alert(1)</script>" + bytes(3) + jpg[2:],
        "PNG's first bytes": b"\x89PNG\r\n\x1a\n",
        "ftyp alone": _box(b"ftyp", b"isom", bytes(4)),
        "WAV": b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(24),
        "Ogg": b"OggS" + bytes(200),
        "FLV": b"FLV\x01\x05\0\0\0\x09\0\0\0\0" + chance.randbytes(100),
        "ASF": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + chance.randbytes(300),
    }
    name = list(kinds)[number % len(kinds)]
    return name, kinds[name]
