"""Every request from outside: its id, its time, its line in the log, its place in the metrics."""

from __future__ import annotations

import time
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from semblance.training.serving import logs
from semblance.training.serving.metrics import Metrics

# Asked every few seconds: not in the log.
_PLAIN = ("/openapi.json",)  # routes that FastAPI adds by itself
_QUIET = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/metrics")


class Observed:
    """ASGI middleware. ``scope["state"]["id"]`` is the request's id, which its answer and log line name."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["id"] = uuid.uuid4().hex
        start, status = time.perf_counter(), 500

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", state["id"].encode())]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            self._note(scope, state, status, time.perf_counter() - start)

    def _note(self, scope: Scope, state: dict[str, Any], status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None)  # the pattern: a path may hold an id, or anything
        if route is None:
            route = scope["path"] if scope["path"] in _PLAIN else "unknown"
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if (reason := state.get("reason")) is not None:
            self._metrics.problems.labels(reason).inc()
        if route in _QUIET:
            return
        fields = {
            "http.request.id": state["id"],
            "http.request.method": scope["method"],
            "http.response.status_code": status,
            "url.path": route,
            "event.duration": int(seconds * 1e9),
        }
        known = {
            "user.name": state.get("caller"),
            "event.reason": state.get("reason"),
            "labels.model": state.get("model"),
        }
        logs.request(fields | {name: value for name, value in known.items() if value})
