"""The service's log: lines of JSON in the Elastic Common Schema, without secrets, names of files or pictures."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import ecs_logging

LOGGER: Final = logging.getLogger("semblance.serving")


def configure(level: int = logging.INFO) -> None:
    """Send this log and uvicorn's to standard error, as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ecs_logging.StdlibFormatter(exclude_fields=["log.original", "process", "log.origin"]))
    for name in ("semblance.serving", "uvicorn", "uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level if name == "semblance.serving" else logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it complains of every damaged form
    logging.getLogger("uvicorn.access").handlers = []
    logging.getLogger("uvicorn.access").propagate = False


def request(fields: dict[str, Any]) -> None:
    """One line for a request; ``fields`` have ECS names."""
    outcome = "success" if fields["http.response.status_code"] < 400 else "failure"
    LOGGER.info("request", extra=fields | {"event.dataset": "semblance.requests", "event.outcome": outcome})


def event(sentence: str, **fields: object) -> None:
    """Something that happened to the service itself."""
    LOGGER.info(sentence, extra=fields | {"event.dataset": "semblance.service"})
