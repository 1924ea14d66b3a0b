"""Who gets which version: by a hash, so that a subject always gets the same one, on every server."""

from __future__ import annotations

import hashlib
from typing import Final

_BITS: Final = 64


def place(rollout: str, subject: str) -> float:
    """A number in [0, 1), uniform over subjects, fixed for a subject in a roll-out, independent between roll-outs.

    >>> place("a", "x") == place("a", "x") != place("b", "x")
    True
    """
    data = f"{len(rollout)}:{rollout}{subject}".encode()
    return float(int.from_bytes(hashlib.sha256(data).digest()[: _BITS // 8], "big") / 2**_BITS)


def challenged(rollout: str, subject: str, share: float) -> bool:
    """Whether the challenger answers. A larger share only adds subjects to those of a smaller one."""
    return place(rollout, subject) < share
