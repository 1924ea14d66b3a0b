"""The service as a process: it listens, answers, and ends on a signal when its last answer is sent."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.serving import app
from semblance.training.serving.protocol import Patient
from semblance.training.serving.service import Service

_LOCAL = ("127.0.0.1", "::1", "localhost")


class _Server(uvicorn.Server):
    """Tells the service of the signal at once, and ends with code 0 after a graceful stop."""

    def __init__(self, config: uvicorn.Config, service: Service, started: Callable[[int], None]) -> None:
        super().__init__(config)
        self._service, self._started = service, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started(self.servers[0].sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.refuse()
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


def run(service: Service, host: str, port: int, started: Callable[[int], None]) -> None:
    """Answer until SIGTERM or SIGINT; ``started`` gets the port. Raises SemblanceError if it cannot listen there."""
    listening = _listening(host, port)
    config = uvicorn.Config(
        app.build(service),
        http=type("Patient", (Patient,), {"seconds": service.config.body_seconds}),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(service.config.stop_seconds) or 1,
    )
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with listening:
        _Server(config, service, started).run([listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        one = socket.socket(family)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((host, port))
    except OSError as error:
        raise SemblanceError(
            f"{host} port {port} cannot be listened at ({error.strerror}); choose another --host or --port."
        ) from error
    return one


def check_host(host: str, *, tokens: bool, open_to_all: bool) -> None:
    """Raises UsageError for an address that others can reach, without tokens and without saying that this is meant."""
    if host not in _LOCAL and not tokens and not open_to_all:
        raise UsageError(
            f"--host {host} can be reached by others: pass --tokens FILE (made by `training token`), or --open to let "
            "everyone ask."
        )
