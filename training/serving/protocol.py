"""HTTP/1.1 as the service takes it: patient for a while, with room for a while, and clear about what it cannot read."""

from __future__ import annotations

import uuid
from asyncio.events import TimerHandle
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from semblance.training.serving.answers import Problem

_HEAD: Final = 64 << 10  # bytes of a request's first line and headers that come after its first piece
_LINGER: Final = 5.0  # seconds in which a client may still send the rest of a request that is answered already


class Patient(HttpToolsProtocol):
    """uvicorn's protocol, which alone would wait for ever, and keep a head of any length.

    A connection is closed if a request's head is not complete in ``seconds``, be it the first or a later one, or if its
    body still comes ``_LINGER`` seconds after its answer. Until then that is read and dropped: to close at once would
    take the answer from a client that reads it last.
    """

    seconds = 60.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._in_head, self._in_body, self._head = True, False, 0
        self._timer: TimerHandle | None = None
        self._close_in(self.seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._keep()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._in_head
        super().data_received(data)
        if before and self._in_head and not self.transport.is_closing():
            self._head += len(data)
            if self._head > _HEAD:
                self._refuse(431, "The request's headers are too long; send fewer or shorter ones.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._in_body, self._head = True, False, 0
        self._close_in(self.seconds)

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        self._keep()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        self._keep()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body:
            self._close_in(_LINGER)

    def send_400_response(self, _msg: str) -> None:
        self._refuse(400, "The request is no HTTP/1.1 that can be read here; send it with an HTTP client.")

    def _unsupported_upgrade_warning(self) -> None:
        """Such a request is answered as if it had not asked for another protocol."""

    def _refuse(self, status: int, sentence: str) -> None:
        body = Problem(error=sentence, reason="bad_request", id=uuid.uuid4().hex).model_dump_json().encode()
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()

    def _close_in(self, seconds: float) -> None:
        self._keep()
        self._timer = self.loop.call_later(seconds, self._late)

    def _keep(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._close_in(self.seconds)  # an answer to an earlier request of this connection comes first
        elif not self.transport.is_closing():
            self.transport.close()
