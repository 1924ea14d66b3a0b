"""The law that every hostile request is held to: how it is sent, and what may come back."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import select
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from pydantic import ValidationError

from semblance.training.serving import answers
from tests.conftest import REPOSITORY
from tests.training.serving import harness
from tests.training.serving.harness import Reply, Server
from tests.training.serving.hostile_requests import Case

_PATHS: Final = re.compile(
    rf"{re.escape(str(REPOSITORY))}|/tmp/|/root/|/home/|/usr/|site-packages|semblance-serve-|/proc/"
)
_NATIVE: Final = re.compile(
    r"Corrupt JPEG|Premature end of JPEG|Inconsistent progression|Invalid SOS|libpng (warning|error)|\[ ?(WARN|ERROR):"
)
_STATUSES: Final = frozenset({200, 202, 204})
_ANSWERS: Final = (answers.CropAnswer, answers.VideoAnswer, answers.JobAnswer)


def exchange(server: Server, case: Case) -> Reply:
    """Send a case, and what came back: status 0 if the service closed without an answer."""
    with server.connect() as connection:
        for part in case.parts():
            if select.select([connection], [], [], 0)[0]:
                break
            try:
                connection.sendall(part)
            except OSError:
                break
            if case.pause:
                select.select([connection], [], [], case.pause)
        if case.leave:
            return Reply(status=-1)
        return _reply(connection)


def _reply(connection: socket.socket) -> Reply:
    got = http.client.HTTPResponse(connection)
    try:
        got.begin()
        body = got.read()
    except (http.client.HTTPException, ConnectionError):
        return Reply(status=0)
    return Reply(status=got.status, headers={name.lower(): one for name, one in got.getheaders()}, body=body)


def broken_law(case: Case, reply: Reply) -> str | None:
    """What is wrong with a reply, None if nothing is."""
    if reply.status == -1:
        return None
    if reply.status == 0:
        return "no answer" if case.due else None
    if case.refused not in (None, reply.status):
        return f"{reply.status} instead of {case.refused}"
    text = reply.body.decode("utf-8", "replace")
    if (found := _PATHS.search(text)) is not None:
        return f"names a path: {found[0]}"
    if reply.status in _STATUSES:
        return None if _sound(reply) else f"no answer of ours: {text[:200]}"
    if not 400 <= reply.status < 500 and reply.status != 503:
        return f"status {reply.status}: {text[:200]}"
    if reply.status == 503 and "retry-after" not in reply.headers:
        return "503 without Retry-After"
    try:
        said = reply.problem.error
    except ValidationError:
        return f"no Problem: {text[:200]}"
    if not said.isprintable() or not said.endswith(".") or ". " in said or len(said) > 500:
        return f"not one sentence: {said[:200]}"
    return None


def _sound(reply: Reply) -> bool:
    with contextlib.suppress(ValueError):
        if reply.status == 204 or "outputs" in reply.json or "models" in reply.json:
            return True
        return any(_is(model, reply.body) for model in _ANSWERS)
    return False


def _is(model: Any, body: bytes) -> bool:
    try:
        model.model_validate_json(body)
    except ValidationError:
        return False
    return True


def bad_lines(server: Server) -> list[str]:
    """Lines of the log that hold a traceback or name a path, and lines of ours that are no JSON.

    libjpeg and libpng write their complaints themselves, as text.
    """
    found = []
    for line in server.log.read_text("utf-8", "replace").splitlines():
        if "Traceback" in line or "error.stack_trace" in line or _PATHS.search(line):
            found.append(line[:2000])
        elif not _NATIVE.match(line):
            try:
                json.loads(line)
            except ValueError:
                found.append(f"no JSON: {line[:300]}")
    return found


def settled(server: Server, jobs: Sequence[str]) -> None:
    """Wait for the end of jobs, and forget them."""
    for address in jobs:
        harness.until(partial(_over, server, address))
        server.send(address, method="DELETE")


def _over(server: Server, address: str) -> bool:
    reply = server.send(address)
    return reply.status == 404 or reply.json.get("status") in ("done", "failed")
