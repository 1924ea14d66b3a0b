"""The supervised child: ``python -m semblance.ingest.run.child_main FD`` processes jobs until its parent exits."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

import cv2

from semblance.ingest.detector.door import DetectConfig, Detector
from semblance.ingest.process.archive import ArchiveJob
from semblance.ingest.process.archive import process as process_archive
from semblance.ingest.process.video import Job, process
from semblance.manifests.errors import StorageError


def main(descriptor: int) -> None:
    """Read jobs from the socket and answer each with a pair.

    ("result", Result or outcomes), ("storage", sentence) if the job's files could not be reached, or ("error",
    traceback).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the driver
    _die_with_parent()
    cv2.setNumThreads(0)
    detectors: dict[DetectConfig, Detector] = {}
    connection: Connection[Any, Any] = Connection(descriptor)
    # The parent may end at any moment, while this process still imports its libraries too: nobody is left to write to.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send(("ready", None))
        while True:
            job: Job | ArchiveJob = connection.recv()
            connection.send(_answer(job, detectors))


def _answer(job: Job | ArchiveJob, detectors: dict[DetectConfig, Detector]) -> tuple[str, object]:
    try:
        if isinstance(job, ArchiveJob):
            return "result", process_archive(job)
        config = job.recipe.detect
        if config not in detectors:
            detectors[config] = Detector(config)
        return "result", process(job, detectors[config])
    except StorageError as error:
        return "storage", str(error)
    except Exception:
        return "error", traceback.format_exc()


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent exits for any reason."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    main(int(sys.argv[1]))
