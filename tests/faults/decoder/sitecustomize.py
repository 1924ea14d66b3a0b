"""A decoder that fails, for tests alone: Python imports this module at its start where this folder is in PYTHONPATH.

``SEMBLANCE_TEST_DECODER`` is JSON: file name -> [what to do, with which decoders]. Only the supervised child is
touched.
"""

import contextlib
import ctypes
import json
import os
import sys
import time

_ORDERS = json.loads(os.environ.get("SEMBLANCE_TEST_DECODER", "{}"))
_HELD = []


def _spin():
    while True:
        pass


def _sleep():
    time.sleep(3600)


def _segv():
    ctypes.string_at(0)


def _eat():
    while True:
        _HELD.append(bytearray(os.urandom(1 << 20)) * 32)


def _leak():
    _HELD.append(bytearray(os.urandom(1 << 20)) * 64)


def _defect():
    return 1 // 0


def _take_over():
    from semblance.quality import video

    honest = video.frames

    def frames(path, indices, *, decoder, **more):
        what, decoders = _ORDERS.get(os.path.basename(path), _ORDERS.get("*", (None, ())))
        if what is not None and decoder in decoders:
            {"spin": _spin, "sleep": _sleep, "segv": _segv, "eat": _eat, "leak": _leak, "defect": _defect}[what]()
        yield from honest(path, indices, decoder=decoder, **more)

    video.frames = frames


if _ORDERS and "semblance.ingest.run.child_main" in getattr(sys, "orig_argv", ()):
    with contextlib.suppress(ImportError):
        _take_over()
