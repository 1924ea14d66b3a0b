"""Videos in an object store, by their address: only below prefixes that the service's owner names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError

from semblance.manifests import storage
from semblance.manifests.errors import StorageError
from semblance.training.serving import uploads
from semblance.training.serving.config import VideosConfig
from semblance.training.serving.problems import ProblemError, too_large


class Address(BaseModel):
    """The body of a request that names a video instead of holding it."""

    model_config = ConfigDict(extra="forbid")
    address: str


@contextlib.asynccontextmanager
async def fetched(request: Request, folder: Path, config: VideosConfig, seconds: float) -> AsyncIterator[Path]:
    """The named video as a file in a new folder below ``folder``, both removed at the end of the block.

    Raises ProblemError: 400 for another body, 403 for an address that is not allowed, 404 where there is nothing.
    """
    body = await uploads.in_memory(request, "The request", 1, seconds)
    try:
        address = Address.model_validate_json(body).address
    except ValidationError:
        raise ProblemError(
            400, "bad_request", 'The JSON of the request is wrong; send {"address": "s3://BUCKET/KEY"}, or the video.'
        ) from None
    if not allowed(address, config.s3):
        raise ProblemError(403, "forbidden", "This service may not read that address; send the video itself.")
    with tempfile.TemporaryDirectory(prefix="request-", dir=folder, ignore_cleanup_errors=True) as own:
        yield uploads.named(await asyncio.to_thread(_copied, address, Path(own), config.mib))


def allowed(address: str, prefixes: tuple[str, ...]) -> bool:
    """Whether an address is below one of the prefixes, as it is written: no parent folders, no empty parts.

    >>> allowed("s3://b/in/x.mp4", ("s3://b/in",)), allowed("s3://b/in/../x", ("s3://b/in",))
    (True, False)
    >>> allowed("s3://b/inner/x.mp4", ("s3://b/in",)), allowed("/etc/passwd", ("s3://b",))
    (False, False)
    """
    parts = address.removeprefix("s3://").split("/")
    if not address.startswith("s3://") or not address.isprintable() or {"", ".", ".."} & set(parts):
        return False
    if any(sign in address for sign in ("*", "?", "[", "::")):  # what fsspec reads as more than a name
        return False
    return any(address.startswith(f"{prefix.rstrip('/')}/") for prefix in prefixes)


def _copied(address: str, folder: Path, mib: int) -> Path:
    try:
        if not storage.exists(address):
            raise ProblemError(404, "not_found", "There is no such object; check the address.")
        if storage.size(address) > mib << 20:
            raise too_large("The video", mib)
        with storage.local_copy(address) as local:
            if not os.path.isfile(local):
                raise ProblemError(404, "not_found", "There is no such object; check the address.")
            return Path(shutil.move(local, folder / "upload"))
    except StorageError as error:
        raise ProblemError(
            503, "busy", "The object store does not answer; send the request again in 30 s.", 30
        ) from error
