"""Storage that is slow, overloaded or away for a while: try again with longer and longer waits, then say so."""

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
_PASSING: Final = frozenset(  # of a network file system
    {errno.EIO, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ETIMEDOUT, errno.ESTALE, errno.EREMOTEIO}
    | {errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN}
)
_FINAL: Final = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
_CLIENTS: Final = ("aiobotocore", "aiohttp", "botocore", "urllib3")  # whose own exceptions tell of the network
_CODES: Final = frozenset(  # of S3: the request came through damaged or late
    {"BadDigest", "IncompleteBody", "RequestTimeout", "RequestTimeTooSkewed", "XAmzContentSHA256Mismatch"}
)
_UNPASSING: Final = ("NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "ProfileNotFound")


def patiently(url: str, action: Callable[[], T]) -> T:
    """What ``action`` gives, tried again with backoff while storage fails in a way that may pass.

    Raises what ``action`` raises where waiting cannot help, StorageError where SEMBLANCE_PATIENCE seconds
    (120 by default) did not, or where access is denied by an object store.
    """
    started, wait = time.monotonic(), _WAIT
    patience = limit()
    while True:
        try:
            return action()
        except Exception as error:
            if isinstance(error, PermissionError) and "://" in url:
                raise StorageError(f"{url} may not be read or written ({reason(error)}); mend its access.") from error
            if not passes(error):
                raise
            waited = time.monotonic() - started
            if waited + wait > patience:
                raise StorageError(
                    f"{url} could not be reached for {waited:.0f} s ({reason(error)}); mend storage or network, "
                    "then run the same command again: what is done is kept."
                ) from error
        time.sleep(wait * random.uniform(0.8, 1.2))  # many workers must not come back at once
        wait = min(2 * wait, _LONGEST)


def limit() -> float:
    """How many seconds to go on trying; raises UsageError where the environment says no number."""
    text = os.environ.get(VARIABLE, "")
    try:
        seconds = float(text) if text else _PATIENCE
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:  # nothing waits for ever
        raise UsageError(f"{VARIABLE} takes seconds, not {text!r}; unset it or give a number.")
    return seconds


def passes(error: BaseException) -> bool:
    """Whether a failure of storage may go away by itself."""
    if isinstance(error, _FINAL):
        return False
    answer: Any = getattr(error.__cause__, "response", None)  # s3fs hangs the server's answer there
    if isinstance(answer, dict):
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status in (408, 409, 429) or answer.get("Error", {}).get("Code") in _CODES
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if isinstance(error, OSError):
        return error.errno in _PASSING
    return type(error).__module__.partition(".")[0] in _CLIENTS and type(error).__name__ not in _UNPASSING


def reason(error: BaseException) -> str:
    """The first line of what an exception says."""
    text = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return text[0] if text else type(error).__name__
