"""A detector as an HTTP service: the only place of the evaluation that sends anything.

The form is that of TensorFlow Serving's and KServe's first protocol: a POST of ``{"instances": [{"b64": ...}, ...]}``
is answered with ``{"predictions": [...]}``. Sources: tensorflow.org/tfx/serving/api_rest ("Encoding binary values"),
KServe "V1 inference protocol".
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from semblance.manifests.errors import SemblanceError, UsageError

PATIENCE_S: Final = 120.0  # for a connection, and for each part of an answer
TRIES: Final = 5
LONGEST_S: Final = 60.0  # between two tries, whatever Retry-After says
_BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
# what another try would not change: a certificate that nobody vouches for, a host that nobody knows
_FINAL: Final = (ssl.SSLCertVerificationError, socket.gaierror, http.client.InvalidURL)
_LARGEST: Final = 16 << 20  # bytes of an answer
_SHOWN: Final = 200  # characters of an error's text


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Service:
    """An address, which is asked only if ``send`` is set.

    ``address``: without credentials and query, as pages and messages show it. ``target``: what the request asks for.
    ``headers``: with credentials. ``patience_s``: for a connection, and for each part of an answer. ``wait``: how to
    let seconds pass between two tries.
    """

    address: str
    secure: bool
    host: str
    port: int
    target: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    send: bool = False
    patience_s: float = PATIENCE_S
    wait: Callable[[float], None] = time.sleep

    @property
    def exposed(self) -> bool:
        """Whether others on the way could read what is sent."""
        if self.secure or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True

    def ask(self, name: str, pictures: Sequence[bytes]) -> Any:
        """``predictions`` of the answer for encoded pictures, of any form.

        A busy service (429 or 503) and a connection that fails are tried five times, after the seconds that
        Retry-After asks for, or 1, 2, 4, 8. A host that is unknown or has no valid certificate is tried once. Raises
        SemblanceError for other answers, and UsageError without ``send``.
        """
        if not self.send:
            raise UsageError(f"{name} is a service at {self.address}, and nothing is sent to it without --send.")
        encoded = [{"b64": base64.b64encode(picture).decode()} for picture in pictures]
        body = json.dumps({"instances": encoded}).encode()
        reason = ""
        for number in range(TRIES):
            pause = 2.0**number
            try:
                status, headers, answer = self._post(body)
            except _FINAL as error:
                raise SemblanceError(
                    f"The service of {name} at {self.address} cannot be reached ({error}); check the address."
                ) from error
            except (OSError, http.client.HTTPException) as error:
                reason = f"cannot be reached ({error or type(error).__name__})"
            else:
                if status not in _BUSY:
                    return self._predictions(name, status, answer)
                reason = f"is busy ({_status(status)})"
                pause = _retry_after(headers.get("Retry-After"), pause)
            if number < TRIES - 1:
                self.wait(pause)
        raise SemblanceError(f"The service of {name} at {self.address} {reason}, {TRIES} times; try again later.")

    def _post(self, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and content of an answer. No proxy is used, and no redirect is followed."""
        connection: http.client.HTTPConnection
        if self.secure:
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=self.patience_s, context=context)
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=self.patience_s)
        try:
            connection.request("POST", self.target, body, self.headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read(_LARGEST + 1)
        finally:
            connection.close()

    def _predictions(self, name: str, status: int, answer: bytes) -> Any:
        begin = f"The service of {name} at {self.address} answers"
        if 300 <= status < 400:
            raise SemblanceError(
                f"{begin} {_status(status)}, a redirect, which is not followed; give the address that it leads to."
            )
        if status != HTTPStatus.OK:
            text = " ".join(answer[: 4 * _SHOWN].decode(errors="replace").split())[:_SHOWN]
            raise SemblanceError(f"{begin} {_status(status)}{f': {text}' if text else ''}; look at its log.")
        try:
            if len(answer) > _LARGEST:
                raise ValueError
            return json.loads(answer)["predictions"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SemblanceError(
                f'{begin} without {{"predictions": [...]}} in JSON; it must take TensorFlow Serving\'s form of '
                "requests and answers."
            ) from error


def parse(name: str, url: str, *, send: bool) -> Service:
    """The service at an address. Raises UsageError if it is none of http or https."""
    said = f"--external {name}: the address"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{said} is not valid ({error}); give http://host:port/path.") from error
    if not host or not url.isascii() or not url.isprintable() or " " in url or parts.fragment:
        raise UsageError(f"{said} is not valid; give http://host:port/path.")
    shown = f"[{host}]" if ":" in host else host
    headers = {"Content-Type": "application/json", "Connection": "close"}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    path, secure = parts.path or "/", parts.scheme == "https"
    return Service(
        address=f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}{path}",
        secure=secure,
        host=host,
        port=port or (443 if secure else 80),
        target=f"{path}?{parts.query}" if parts.query else path,
        headers=headers,
        send=send,
    )


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _retry_after(text: str | None, otherwise: float) -> float:
    """Seconds that Retry-After asks for, as a number or a date (RFC 9110, 10.2.3), at most a minute."""
    if text is None:
        return otherwise
    try:
        seconds = float(text) if text.strip().isdigit() else _until(parsedate_to_datetime(text))
    except (ValueError, TypeError):
        return otherwise
    return min(max(seconds, 0.0), LONGEST_S)


def _until(moment: datetime) -> float:
    return (moment - datetime.now(UTC)).total_seconds()
