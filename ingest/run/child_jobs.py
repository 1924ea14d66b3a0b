"""What the supervised child does: it takes one job after another from a socket and answers each."""

from __future__ import annotations

import contextlib
import traceback
from multiprocessing.connection import Connection
from typing import Any

import cv2

from semblance.ingest.detector.door import DetectConfig, Detector
from semblance.ingest.process.archive import ArchiveJob
from semblance.ingest.process.archive import process as process_archive
from semblance.ingest.process.video import Job, process
from semblance.manifests.errors import StorageError


def serve(descriptor: int) -> None:
    """Read jobs from the socket until the parent is gone, and answer each with a pair.

    ("result", Result or outcomes), ("storage", sentence) if the job's files could not be reached, or ("error",
    traceback). Before the answer may come ("work", Work): how large the job has turned out to be.
    """
    cv2.setNumThreads(0)
    detectors: dict[DetectConfig, Detector] = {}
    connection: Connection[Any, Any] = Connection(descriptor)
    # The parent may end at any moment, while this process still imports its libraries too: nobody is left to write to.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send(("ready", None))
        while True:
            job: Job | ArchiveJob = connection.recv()
            connection.send(_answer(job, detectors, connection))


def _answer(
    job: Job | ArchiveJob, detectors: dict[DetectConfig, Detector], connection: Connection[Any, Any]
) -> tuple[str, object]:
    try:
        if isinstance(job, ArchiveJob):
            return "result", process_archive(job)
        config = job.recipe.detect
        if config not in detectors:
            detectors[config] = Detector(config)
        return "result", process(job, detectors[config], lambda work: connection.send(("work", work)))
    except StorageError as error:
        return "storage", str(error)
    except Exception:
        return "error", traceback.format_exc()
