"""Who may ask, and how often: tokens of which only hashes are kept, and a bucket of requests for each."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.serving.config import RateConfig
from semblance.training.serving.problems import ProblemError

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MOST: Final = 10_000  # callers whose rate is remembered; the one that was away longest is forgotten first


class Tokens:
    """The tokens of a file, by name: a line is ``NAME SHA256``, as ``training token`` writes it."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = dict(hashes)

    @property
    def needed(self) -> bool:
        return bool(self._hashes)

    def name_of(self, header: str | None) -> str:
        """Whose token an ``Authorization: Bearer TOKEN`` holds; raises ProblemError (401) if it is nobody's."""
        scheme, _, token = (header or "").partition(" ")
        found = _hash(token.strip()) if scheme.lower() == "bearer" and token else ""
        owners = [name for name, known in self._hashes.items() if hmac.compare_digest(known, found)]
        if not owners:
            said = "is not known here" if found else "is missing"
            raise ProblemError(401, "unauthorized", f"The token {said}; send the header `Authorization: Bearer TOKEN`.")
        return owners[0]


def read(file: str | None) -> Tokens:
    """The tokens of a file, none without one. Raises UsageError if it cannot be read, SemblanceError for a bad line."""
    if file is None:
        return Tokens({})
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(
            f"The file of tokens {file} cannot be read ({why}); make one with `training token`."
        ) from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, value = line.partition(" ")
        if not _NAME.fullmatch(name) or not re.fullmatch(r"[0-9a-f]{64}", value.strip()) or name in found:
            raise SemblanceError(f"Line {number} of {file} is no new `NAME SHA256`; make lines with `training token`.")
        found[name] = value.strip()
    if not found:
        raise SemblanceError(f"The file of tokens {file} holds none; add one with `training token NAME --to {file}`.")
    return Tokens(found)


def create(name: str, file: str) -> str:
    """A new token, whose hash is added to the file under a name; it cannot be had again. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a token; use up to 64 letters, digits, dots, - and _.")
    path = Path(file)
    if path.exists() and name in read(file)._hashes:
        raise UsageError(f"{file} has a token named {name!r} already; remove its line first.")
    token = secrets.token_urlsafe(32)
    try:
        with path.open("a", encoding="utf-8") as out:
            path.chmod(0o600)
            out.write(f"{name} {_hash(token)}\n")
    except OSError as error:
        raise SemblanceError(f"{file} cannot be written ({error.strerror}); choose another place with --to.") from error
    return token


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()  # of 256 random bits: nothing to guess, so no salt


class Rates:
    """A bucket of ``burst`` requests for each caller, which fills at ``per_minute``."""

    def __init__(self, config: RateConfig) -> None:
        self._config = config
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, at that time

    def take(self, caller: str, now: float | None = None) -> None:
        """Count a request; raises ProblemError (429) if the bucket is empty."""
        now = time.monotonic() if now is None else now
        per_second = self._config.per_minute / 60
        left, then = self._left.pop(caller, (float(self._config.burst), now))
        left = min(left + (now - then) * per_second, self._config.burst)
        wait = 0.0 if left >= 1 else (1 - left) / per_second
        self._left[caller] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > _MOST:
            self._left.popitem(last=False)
        if wait:
            seconds = max(round(wait + 0.5), 1)
            raise ProblemError(
                429, "rate", f"Too many requests at once; send the next one in {seconds} s.", retry_s=seconds
            )
