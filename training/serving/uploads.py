"""What a request sends, read within limits of size and time: to memory, or to a file that is gone with the request."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import IO, Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from semblance.training.serving import kinds
from semblance.training.serving.problems import ProblemError, slow, too_large

_BLOCK: Final = 1 << 20
_FORM: Final = "multipart/form-data"
_HEADERS: Final = 64 << 10  # what a form may have around its file, in bytes


async def limited(request: Request, what: str, mib: int, seconds: float) -> AsyncGenerator[bytes, None]:
    """The body piece by piece. Raises ProblemError if it is too large (413), too slow (408) or cut off (400)."""
    most = mib << 20
    form = request.headers.get("content-type", "").startswith(_FORM)
    room = most + _HEADERS if form else most
    if _declared(request) > room:
        raise too_large(what, mib)
    got, until = 0, asyncio.get_running_loop().time() + seconds
    stream = request.stream()
    try:
        while True:
            async with asyncio.timeout_at(until):
                piece = await anext(stream, None)
            if piece is None:
                return
            got += len(piece)
            if got > room:
                raise too_large(what, mib)
            yield piece
    except TimeoutError:
        raise slow(seconds) from None
    except ClientDisconnect:
        raise ProblemError(400, "bad_request", "The connection was cut before the request was complete.") from None


def _declared(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() else 0


async def in_memory(request: Request, what: str, mib: int, seconds: float) -> bytes:
    """The file in a request, as its body or as the field ``file`` of a form."""
    pieces = limited(request, what, mib, seconds)
    if not request.headers.get("content-type", "").startswith(_FORM):
        return b"".join([piece async for piece in pieces])
    async with _form(request, pieces) as file:
        return file.read()


@contextlib.asynccontextmanager
async def on_disk(request: Request, folder: Path, what: str, mib: int, seconds: float) -> AsyncIterator[Path]:
    """The same as a file in a new folder below ``folder``, both removed at the end of the block.

    Its name is ours, its suffix that of its content. Raises ProblemError (415) for what is no video or picture.
    """
    pieces = limited(request, what, mib, seconds)
    with tempfile.TemporaryDirectory(prefix="request-", dir=folder, ignore_cleanup_errors=True) as own:
        file = Path(own) / "upload"
        with file.open("wb") as out:
            if request.headers.get("content-type", "").startswith(_FORM):
                async with _form(request, pieces) as sent:
                    while block := sent.read(_BLOCK):
                        await asyncio.to_thread(out.write, block)
            else:
                async for piece in pieces:
                    out.write(piece)
        yield named(file)


def named(file: Path) -> Path:
    """The file under a name with the suffix of its content. Raises ProblemError (415) if it is none that is known."""
    with file.open("rb") as opened:
        head = opened.read(kinds.HEAD)
    if not head:
        raise ProblemError(400, "empty", "The request holds no file; send a video or picture as its body.")
    if (suffix := kinds.suffix_of(head)) is None:
        raise ProblemError(415, "wrong_type", f"The file is no video or picture that is known here ({kinds.KNOWN}).")
    return file.rename(file.with_name(f"0{suffix}"))


@contextlib.asynccontextmanager
async def _form(request: Request, pieces: AsyncGenerator[bytes, None]) -> AsyncIterator[IO[bytes]]:
    """The one file of a form; whatever else it holds is refused."""
    bad = ProblemError(
        400, "bad_request", "The form is damaged or holds something else; send one file in its field `file`."
    )
    _, options = parse_options_header(request.headers["content-type"])
    if b"boundary" not in options:
        raise bad
    try:
        form = await MultiPartParser(request.headers, pieces, max_files=1, max_fields=1).parse()
    except (MultiPartException, FormParserError, UnicodeError, KeyError):
        raise bad from None
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(form.close)
        sent = form.get("file")
        if sent is None or isinstance(sent, str):
            raise bad
        yield sent.file
