"""An object of a store as a readable file: every read is a separate range request that can be retried."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any, Final, cast

_BLOCK: Final = 1 << 22  # bytes of read-ahead


def opened(read: Callable[[int, int], bytes], length: int) -> IO[bytes]:
    """A buffered file of ``length`` bytes; ``read(start, count)`` returns ``count`` of them."""
    return cast(IO[bytes], io.BufferedReader(_Ranges(read, length), _BLOCK))


class _Ranges(io.RawIOBase):
    def __init__(self, read: Callable[[int, int], bytes], length: int) -> None:
        super().__init__()
        self._read, self._length, self._at = read, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._length - self._at)
        if count <= 0:
            return 0
        data = self._read(self._at, count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
