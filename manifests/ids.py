"""Hashes and ids of videos and samples."""

from __future__ import annotations

import hashlib
import re
from typing import Final

MAX_ID: Final = 72  # characters; a USTAR name holds 100 with frame, track and suffix

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")


def digest(*parts: object) -> str:
    """SHA-256 in hex of the parts' texts, each terminated by a NUL: the only source of seeded order."""
    h = hashlib.sha256()
    for part in parts:
        h.update(str(part).encode())
        h.update(b"\0")
    return h.hexdigest()


def make_video_id(*parts: str) -> str:
    """Join ``parts`` with "-" into an id of letters, digits, "_" and "-", at most 72 characters.

    A changed or shortened name ends in 8 hex digits of the hash of the original parts.

    >>> make_video_id("ffpp", "c23", "Deepfakes", "000_003")
    'ffpp-c23-Deepfakes-000_003'
    >>> make_video_id("folder", "a clip.mp4")
    'folder-a_clip_mp4-a1275c42'
    """
    raw = "-".join(parts)
    safe = _UNSAFE.sub("_", raw)
    if safe == raw and len(safe) <= MAX_ID:
        return safe
    return f"{safe[: MAX_ID - 9]}-{digest(raw)[:8]}"


def make_sample_id(video_id: str, frame: int, track: int) -> str:
    """``<video_id>-<frame:06d>-<track:02d>``.

    >>> make_sample_id("dfdc-aabbccddee", frame=12, track=1)
    'dfdc-aabbccddee-000012-01'
    """
    return f"{video_id}-{frame:06d}-{track:02d}"
