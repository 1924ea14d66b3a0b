"""Why a request has no score: HTTP's status, a word for programs, and one sentence for people."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pydantic import ValidationError

# Content that cannot be scored is 422, whatever it did to the decoder: the request was fine, the file is at fault.
_OF_FILES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "no_face": "send a recording in which a face is larger, sharper and better lit",
        "empty": "send the file again, complete",
        "decode_error": "send the file again, or encode it anew",
        "hdr": "send it in standard dynamic range",
        "timeout": "send a shorter or smaller video",
        "oom": "send a smaller video",
        "crashed": "send the file again, or encode it anew",
    }
)
_SHOWN: Final = 60  # characters of the sender's that an answer repeats at most


class ProblemError(Exception):
    """Ends a request. ``retry_s``: when it may be sent again, in whole seconds."""

    def __init__(self, status: int, reason: str, sentence: str, retry_s: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.reason, self.sentence, self.retry_s = status, reason, sentence, retry_s


def busy(what: str, retry_s: int) -> ProblemError:
    return ProblemError(
        503, "busy", f"All places for {what} are taken; send the request again in {retry_s} s.", retry_s
    )


def no_room() -> ProblemError:
    """The disk is full, or as good as full."""
    return ProblemError(503, "busy", "There is no room for what requests send; send the request again in 60 s.", 60)


def stopping() -> ProblemError:
    return ProblemError(503, "stopping", "The service is stopping; send the request again in a few seconds.", 5)


def too_large(what: str, mib: int) -> ProblemError:
    return ProblemError(413, "too_large", f"{what} has more than {mib} MiB; send a smaller one.")


def slow(seconds: float) -> ProblemError:
    return ProblemError(
        408, "bad_request", f"The request was not complete after {seconds:g} s; send it on a faster connection."
    )


def of_json(error: ValidationError, wanted: str) -> ProblemError:
    """What is wrong with a JSON body, by its first fault; ``wanted``: what should be sent."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "its JSON"
    if len(where) > _SHOWN or not where.isprintable():
        where = "a name"  # of the sender's own
    return ProblemError(400, "bad_request", f"The request is wrong at {where} ({first['msg']}); send it {wanted}.")


def of_file(status: str, sentence: str) -> ProblemError:
    """What the decoding said of a file, with a remedy for someone who has no command line.

    ``sentence``: as commands print it: what, then after a semicolon what to do there.
    """
    what = sentence.partition("; ")[0].rstrip(".")
    if status not in _OF_FILES:
        return ProblemError(500, "failed", f"{what}; tell whoever runs this service.")
    return ProblemError(422, status, f"{what}; {_OF_FILES[status]}.")
