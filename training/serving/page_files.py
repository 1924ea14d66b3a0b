"""The page for people, as files of the package: what a browser may do with it is said in its headers."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from types import MappingProxyType
from typing import Final

from fastapi import FastAPI, Request, Response

PLACE: Final = "page"
_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
)
# Scripts and styles are files of this package. Pictures of faces come as data:, the chosen file is shown as blob:.
# Trusted types: no text can become markup or a script.
POLICY: Final = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"),
        *("img-src 'self' data: blob:", "media-src blob:", "form-action 'none'", "base-uri 'none'"),
        *("frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"),
    )
)
_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        "Cache-Control": "no-cache",
    }
)


def files() -> dict[str, bytes]:
    """Name and content of every file of the page."""
    folder = resources.files("semblance.training.serving") / PLACE
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.rpartition(".")[2] in _TYPES}


def mount(app: FastAPI) -> None:
    """Serve the page at ``/`` and its parts at ``/page/...``, to anybody: it holds nothing that needs a token.

    The files are read once, so that no request reaches the disk, and no other file can be asked for.
    """
    for name, content in files().items():
        path = "/" if name == "index.html" else f"/{PLACE}/{name}"
        app.add_api_route(path, _sender(name, content), methods=["GET", "HEAD"], include_in_schema=False)


def _sender(name: str, content: bytes) -> Callable[[Request], Awaitable[Response]]:
    kind = f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8"
    headers = {**_HEADERS, "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}

    async def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return answer
