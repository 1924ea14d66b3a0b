"""Ctrl-C and SIGTERM: a build closes everything that it started, and its last line is the only one about it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, Final

import psutil

from semblance.ingest.run.tasks import VideoDone
from semblance.shards.layout import Receipt

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_PATIENCE: Final = 10.0  # seconds to close in; a signal after them ends the process at once
_AGAIN: Final = 0.01  # seconds from a finaliser that swallowed the interruption to the next attempt


class _Interrupts:
    """Handles the signals: the first one interrupts, later ones are ignored while everything closes."""

    def __init__(self, sentence: Callable[[], str]) -> None:
        self._sentence = sentence
        self._first: float | None = None  # monotonic seconds
        self.number = signal.SIGINT
        self.hook = sys.unraisablehook  # of whoever asks for others than an interruption

    def __call__(self, number: int, _: FrameType | None) -> None:
        if self._first is None:
            self._first, self.number = time.monotonic(), signal.Signals(number)
            raise KeyboardInterrupt
        if time.monotonic() - self._first > _PATIENCE:
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    process.kill()
            self.tell()
            os._exit(self.code)

    def lost(self, unraisable: sys.UnraisableHookArgs) -> None:
        """A ``sys.unraisablehook``: Python drops what is raised in a finaliser, so the signal is sent once more."""
        if unraisable.exc_type is not KeyboardInterrupt or self._first is None:
            self.hook(unraisable)
            return
        self._first = None
        again = threading.Timer(_AGAIN, signal.pthread_kill, (threading.main_thread().ident, self.number))
        again.daemon = True
        with not_inherited():
            again.start()

    @property
    def code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM, as a shell has them."""
        return 128 + self.number

    def tell(self) -> None:
        print(self._sentence(), file=sys.stderr, flush=True)


class Sealed:
    """An ``Observer`` that counts what this run seals at ``out``, for the last line of an interrupted run."""

    def __init__(self, out: str) -> None:
        self._out = out
        self._planned: int | None = None
        self._sealed = 0

    def started(self, videos: int, done: int, shards: int) -> None:  # noqa: ARG002 - the protocol's
        self._planned = shards

    def video(self, done: VideoDone) -> None:
        pass

    def sealed(self, receipt: Receipt) -> None:  # noqa: ARG002 - the protocol's
        self._sealed += 1

    def sentence(self) -> str:
        """What an interrupted run leaves; reads nothing, since the storage may be why it was interrupted."""
        if self._planned is None:
            return f"Interrupted before the first video: this run wrote no shard to {self._out}; run it again to begin."
        sealed = "a shard" if not self._sealed else _shards(self._sealed)
        when = "after" if self._sealed else "before"
        return (
            f"Interrupted {when} this run sealed {sealed} of {self._planned} in {self._out}; run the same command "
            "again: sealed shards are kept, unfinished videos are processed again."
        )


def _shards(count: int) -> str:
    return "1 shard" if count == 1 else f"{count} shards"


@contextlib.contextmanager
def told(sentence: Callable[[], str]) -> Iterator[None]:
    """Say ``sentence()`` on stderr if a signal interrupts the block, and exit with 130 (Ctrl-C) or 143 (SIGTERM).

    Only for the main thread. After an interruption the signals stay ignored: the interpreter closes too.
    """
    interrupts = _Interrupts(sentence)
    before = {number: signal.signal(number, interrupts) for number in _SIGNALS}
    sys.unraisablehook = interrupts.lost
    try:
        yield
    except KeyboardInterrupt:
        for number in _SIGNALS:  # the interpreter, while it ends, would put the default in place of a function
            signal.signal(number, signal.SIG_IGN)
        interrupts.tell()
        raise SystemExit(interrupts.code) from None
    except BaseException:
        _restore(before)
        raise
    else:
        _restore(before)
    finally:
        sys.unraisablehook = interrupts.hook


def _restore(before: Mapping[signal.Signals, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)


@contextlib.contextmanager
def not_inherited() -> Iterator[None]:
    """Threads and processes that start in the block do not see the signals; here they wait for the end of the block.

    A terminal sends Ctrl-C to all processes. What a build starts ends with the build, which closes or kills it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
