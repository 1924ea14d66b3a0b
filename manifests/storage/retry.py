"""Retries with backoff for storage that is slow, overloaded or temporarily unavailable."""

from __future__ import annotations

import errno
import math
import os
import random
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from semblance.manifests.errors import StorageError, UsageError

T = TypeVar("T")

VARIABLE: Final = "SEMBLANCE_PATIENCE"  # seconds in the environment; workers and children inherit it
_PATIENCE: Final = 120.0
_WAIT: Final = 0.5  # seconds before the second try, doubled each time
_LONGEST: Final = 20.0
_TRANSIENT: Final = frozenset(  # of network file systems
    {errno.EIO, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ETIMEDOUT, errno.ESTALE, errno.EREMOTEIO}
    | {errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN}
)
_FINAL: Final = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
_CLIENTS: Final = ("aiobotocore", "aiohttp", "botocore", "urllib3")  # their exceptions report network errors
_CODES: Final = frozenset(  # of S3: the request arrived damaged or late
    {"BadDigest", "IncompleteBody", "RequestTimeout", "RequestTimeTooSkewed", "XAmzContentSHA256Mismatch"}
)
_PERMANENT: Final = ("NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "ProfileNotFound")


def patiently(url: str, action: Callable[[], T]) -> T:
    """The result of ``action``, retried with backoff after transient failures of storage.

    Raises what ``action`` raises if the failure is permanent. Raises StorageError if retries for SEMBLANCE_PATIENCE
    seconds (120 by default) did not help, or if an object store denies access.
    """
    started, wait = time.monotonic(), _WAIT
    patience = limit()
    while True:
        try:
            return action()
        except Exception as error:
            if isinstance(error, PermissionError) and "://" in url:
                raise StorageError(
                    f"{url} may not be read or written ({reason(error)}); fix its permissions."
                ) from error
            if not is_transient(error):
                raise
            waited = time.monotonic() - started
            if waited + wait > patience:
                raise StorageError(
                    f"{url} could not be reached for {waited:.0f} s ({reason(error)}); fix storage or network, "
                    "then run the same command again; finished work is kept."
                ) from error
        time.sleep(wait * random.uniform(0.8, 1.2))  # spread the retries of many workers
        wait = min(2 * wait, _LONGEST)


def limit() -> float:
    """For how many seconds to retry; raises UsageError if the environment variable is not a number."""
    text = os.environ.get(VARIABLE, "")
    try:
        seconds = float(text) if text else _PATIENCE
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:  # never wait forever
        raise UsageError(f"{VARIABLE} must be a number of seconds, not {text!r}; unset it or set a number.")
    return seconds


def is_transient(error: BaseException) -> bool:
    """Whether a failure of storage may be transient."""
    if isinstance(error, _FINAL):
        return False
    response: Any = getattr(error.__cause__, "response", None)  # s3fs stores the server's response there
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status in (408, 409, 429) or response.get("Error", {}).get("Code") in _CODES
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if isinstance(error, OSError):
        return error.errno in _TRANSIENT
    return type(error).__module__.partition(".")[0] in _CLIENTS and type(error).__name__ not in _PERMANENT


def reason(error: BaseException) -> str:
    """The first line of what an exception says."""
    text = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return text[0] if text else type(error).__name__
