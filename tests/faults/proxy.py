"""A proxy in front of an object store that is slow, answers 500 and 503, drops connections, and goes away."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_ERROR = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>injected</Message></Error>'
_ANY = ("slow", "500", "503", "late 500")  # faults that can strike any request
_HOPS = {"connection", "transfer-encoding", "keep-alive", "date", "server", "content-length"}


class Proxy:
    """A store behind faults. ``every``: each fault strikes every so-manieth request that it can strike, so that which
    faults come up depends on nothing but the number of requests. ``slow``, ``500``, ``503`` and ``late 500`` (after the
    store has done it) strike any request, ``cut upload`` those with a body, ``cut answer`` those that read an object.
    ``counted`` says how often each did.
    """

    def __init__(self, port: int, every: Mapping[str, int]) -> None:
        self.counted: Counter[str] = Counter()
        self._every, self._store, self._lock = every, port, threading.Lock()
        self._seen: Counter[str] = Counter()  # fault -> requests that it could have struck
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._server: _Server | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def come(self) -> None:
        """Be there."""
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.proxy = self
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def go(self) -> None:
        """Refuse every connection, and cut those that there are."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut_all()
            self._server = None

    def strike(self, *faults: str) -> str | None:
        """Which of the faults that can strike this request does; one that is due beside another one comes next time."""
        with self._lock:
            self._seen.update(faults)
            for fault in faults:
                if fault in self._every and self._seen[fault] // self._every[fault] > self.counted[fault]:
                    self.counted[fault] += 1
                    return fault
        return None

    def store(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._store, timeout=60)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    proxy: Proxy

    def __init__(self, *words: object) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*words)  # type: ignore[arg-type]

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self._open.discard(request)
        super().shutdown_request(request)

    def cut_all(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """A client that was cut off is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        fault = self.server.proxy.strike(*(("cut upload",) if self.command == "PUT" and length else ()), *_ANY)
        if fault == "slow":
            time.sleep(0.5)
        if fault == "cut upload":
            self._cut_upload(length)
            return
        body = self._body(length)
        if fault in ("500", "503"):
            self._answer(int(fault), {}, _ERROR % (b"InternalError" if fault == "500" else b"SlowDown"))
            return
        status, headers, data = self._forward(body)
        if fault == "late 500":
            self._answer(500, {}, _ERROR % b"InternalError")
            return
        reads = fault is None and self.command == "GET" and len(data) > 1
        self._answer(status, headers, data, cut=reads and self.server.proxy.strike("cut answer") is not None)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _body(self, length: int) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return self.rfile.read(length)
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        store = self.server.proxy.store()
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOPS | {"expect"}}
        try:
            store.request(self.command, self.path, body=body or None, headers=headers)
            answer = store.getresponse()
            data = answer.read()
            known = {name: value for name, value in answer.getheaders() if name.lower() not in _HOPS}
            if self.command == "HEAD" and (length := answer.getheader("Content-Length")):
                known["Content-Length"] = length
            return answer.status, known, data
        finally:
            store.close()

    def _cut_upload(self, length: int) -> None:
        """Pass half of the body on, then hang up on both sides."""
        if length:
            half = self.rfile.read(length // 2)
        else:  # in chunks
            head = self.rfile.readline()
            half = head + self.rfile.read(int(head.split(b";")[0], 16) // 2)
        store = self.server.proxy.store()
        with contextlib.suppress(OSError, http.client.HTTPException):
            store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    store.putheader(name, value)
            store.endheaders()
            store.send(half)
        store.close()
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, headers: dict[str, str], data: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.wfile.flush()
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def before(port: int, **every: int) -> Iterator[Proxy]:
    """A proxy before the store at ``port``; names of faults with "_" for a space."""
    proxy = Proxy(port, {name.strip("_").replace("_", " "): number for name, number in every.items()})
    proxy.come()
    try:
        yield proxy
    finally:
        proxy.go()
