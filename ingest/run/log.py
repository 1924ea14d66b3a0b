"""The log of a build: one JSON object per line, with the ids of videos and shards and without secrets."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from semblance.ingest.run.schedule import Observer
from semblance.ingest.run.tasks import VideoDone
from semblance.manifests.console import plain
from semblance.manifests.errors import UsageError
from semblance.manifests.records import FAILURES
from semblance.shards.layout import Receipt

_HIDDEN: Final = "[hidden]"
_URL_USER: Final = re.compile(r"(?<=://)[^/\s@]+@")
_NAMED: Final = re.compile(
    r"(?i)((?:secret|token|passw(?:or)?d|signature|credential|api_?key|access_?key(?:_?id)?|\bsig|\bkey)[\"']?\s*[=:]\s*)"
    r"[\"']?[^\s\"'&,;)}]+"
)
_SECRET_VARIABLE: Final = re.compile(r"SECRET|TOKEN|PASSW|CREDENTIAL|_KEY")
_MIN_SECRET: Final = 8  # characters: shorter values of variables are not hidden


class Journal:
    """An ``Observer`` that logs to a file, or nowhere if ``path`` is None; use as a context manager.

    Raises UsageError if the file cannot be written.
    """

    def __init__(self, path: str | None) -> None:
        try:
            handler = (
                logging.NullHandler() if path is None else _File(path, encoding="utf-8", errors="backslashreplace")
            )
        except OSError as error:
            raise UsageError(f"The log {path} cannot be written ({error.strerror}); choose another file.") from error
        handler.setFormatter(_JsonLines())
        self._handler = handler
        self._logger = logging.Logger("semblance.ingest", logging.INFO)
        self._logger.addHandler(handler)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a failed write has been reported
            self._handler.close()

    def log(self, event: str, *, level: int = logging.INFO, **fields: Any) -> None:
        """Write one event with its fields; fields that are None are omitted."""
        self._logger.log(level, event, extra={"fields": fields})

    def started(self, videos: int, done: int, shards: int) -> None:
        self.log("started", videos=videos, videos_done=done, shards_to_write=shards)

    def video(self, done: VideoDone) -> None:
        self.log(
            "video",
            level=logging.WARNING if done.status in FAILURES else logging.INFO,
            video=done.video_id,
            shard=done.shard,
            status=done.status,
            error=done.error,
            decoder=done.decoder,
            seconds=done.seconds,
            kept=done.tally.kept,
            rejected=done.tally.rejected,
        )

    def sealed(self, receipt: Receipt) -> None:
        self.log(
            "sealed",
            shard=receipt.shard,
            key=receipt.key,
            videos=receipt.videos,
            samples=receipt.samples,
            statuses=receipt.statuses,
        )


class _File(logging.FileHandler):
    """A log file whose write errors, such as a full disk, do not stop a build; the first is reported on stderr."""

    reported = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's
        error = sys.exc_info()[1]
        if not self.reported:
            self.reported = True
            print(f"The log {plain(self.baseFilename)} cannot be written ({error}); events are lost.", file=sys.stderr)


class ObserverGroup:
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def started(self, videos: int, done: int, shards: int) -> None:
        for observer in self._observers:
            observer.started(videos, done, shards)

    def video(self, done: VideoDone) -> None:
        for observer in self._observers:
            observer.video(done)

    def sealed(self, receipt: Receipt) -> None:
        for observer in self._observers:
            observer.sealed(receipt)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        now = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = {"time": now, "level": record.levelname.lower(), "event": record.getMessage()}
        fields = {name: value for name, value in getattr(record, "fields", {}).items() if value is not None}
        return json.dumps(_clean(head | fields), ensure_ascii=True, default=str)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return hidden(value)
    if isinstance(value, dict):
        return {name: _clean(item) for name, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


def hidden(text: str) -> str:
    """``text`` without anything that looks like a secret, or is the value of an environment variable named like one."""
    for name, value in os.environ.items():
        if _SECRET_VARIABLE.search(name.upper()) and len(value) >= _MIN_SECRET:
            text = text.replace(value, _HIDDEN)
    return _NAMED.sub(rf"\1{_HIDDEN}", _URL_USER.sub(f"{_HIDDEN}@", text))


def keep_traceback(text: str) -> str:
    """Write a traceback to a temporary file, for a build without a log; returns its path."""
    with tempfile.NamedTemporaryFile("w", prefix="semblance-defect-", suffix=".log", delete=False) as file:
        file.write(hidden(text))
    return file.name
