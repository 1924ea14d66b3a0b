"""Which decoded frames are as they were encoded, and which damage to the file has reached."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

import av

from semblance.quality.video import nal

logging.getLogger("libav").setLevel(logging.CRITICAL + 1)  # what other threads' decoders say stays off the screen
av.logging.set_skip_repeated(False)  # the same words about the next packet count again

# Blocks were guessed; a slice of HEVC was left out.
_MILDER: Final = ("concealing ", "Skipping invalid undecodable NALU")
# A frame to be forgotten is not there: so after every start at an open group of pictures.
_HARMLESS: Final = "mmco: unref short failure"


class _Fate:
    """What became of a packet; it travels through the decoder to the packet's frame."""

    hurt = False


class Decoder:
    """The decoder of an opened stream, whose frames know whether damage has reached them: ask ``damaged``.

    A packet is damaged if the decoder reports an error in it or refuses it, if the demuxer knows that bytes lack, or if
    it holds zeros where no encoder writes them, which may decode without an error.
    Damage reaches all packets up to the next key frame that decodes without an error, and the frames that are stored
    after that one but shown before it, which may refer to both sides.
    """

    def __init__(self, stream: Any) -> None:
        self._codec = stream.codec_context
        self._codec.copy_opaque = True
        self._length_size = nal.length_size(self._codec)
        self._hurt = False
        self._before = False  # whether damage had reached what lies before the last key frame
        self._key: int | None = None  # the time of the last key frame

    def decode(self, packet: Any) -> list[Any]:
        """The packet's frames in output order; none where it cannot be decoded."""
        fate = _Fate()
        if packet.size:
            packet.opaque = fate
        with _listening() as said:
            try:
                frames: list[Any] = packet.decode()
                failed = False
            except av.error.FFmpegError:
                frames, failed = [], True
        if packet.size:
            hurt = failed or any(map(_of_damage, said)) or packet.is_corrupt or self._zeroed(packet)
            fate.hurt = self._reached(packet, hurt)
        return frames

    def _zeroed(self, packet: Any) -> bool:
        return bool(self._length_size) and nal.zeroed(bytes(packet), self._length_size, self._codec.name)

    def _reached(self, packet: Any, damaged: bool) -> bool:
        shown_before = self._key is not None and packet.pts is not None and packet.pts < self._key
        if damaged and shown_before:  # nothing shown after the key frame refers to it
            self._before = True
        elif damaged:
            self._hurt = True
        elif packet.is_keyframe:
            self._before, self._hurt, self._key = self._hurt, False, packet.pts
            shown_before = False
        return self._hurt or (self._before and shown_before)


def damaged(frame: Any) -> bool:
    """Whether damage has reached a frame of a ``Decoder``."""
    fate = frame.opaque
    return bool(frame.is_corrupt) or (isinstance(fate, _Fate) and fate.hurt)


def _of_damage(message: tuple[int, str, str]) -> bool:
    """Any error, and what FFmpeg holds for a warning or mere information."""
    level, _, text = message
    return (level <= av.logging.ERROR and not text.startswith(_HARMLESS)) or text.startswith(_MILDER)


_lock = Lock()
_listeners = 0


@contextmanager
def _listening() -> Iterator[list[Any]]:
    """The errors that FFmpeg reports in this thread, as they come."""
    global _listeners
    with _lock:
        _listeners += 1
        av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture() as said:
            yield said
    finally:
        with _lock:
            _listeners -= 1
            if not _listeners:
                av.logging.set_level(None)
