"""Hostile HTTP: smuggled, endless, slow and cut requests, and those for what there is not."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Final

from tests.training.serving import harness
from tests.training.serving.hostile_files import Corpus
from tests.training.serving.hostile_requests import Case, form, request, whole

_OLD: Final = "HTTP/0.9"  # one line without a version, which may be answered
_SLOW: Final = 0.2  # seconds between the bytes of a slow client


def protocol(number: int, chance: random.Random, _: Corpus) -> Case:
    """Shapes in which one server sees one request and another sees two, and other bad HTTP."""
    inner = "GET /v1/model HTTP/1.1\r\nHost: service\r\n\r\n"
    post = "POST /v1/crops HTTP/1.1\r\nHost: service\r\n"
    shapes: tuple[tuple[str, str], ...] = (
        ("length and chunks", f"{post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        ("chunks and length", f"{post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{inner}"),
        ("two lengths", f"{post}Content-Length: 0\r\nContent-Length: 44\r\n\r\n{inner}"),
        ("a signed length", f"{post}Content-Length: +44\r\n\r\n{inner}"),
        ("a length in hex", f"{post}Content-Length: 0x10\r\n\r\n{inner}"),
        ("a negative length", f"{post}Content-Length: -1\r\n\r\n{inner}"),
        ("a length of 2**70", f"{post}Content-Length: {2**70}\r\n\r\n{inner}"),
        ("a list of lengths", f"{post}Content-Length: 4, 4\r\n\r\n{inner}"),
        ("a space before the colon", f"{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{inner}"),
        ("an unknown coding", f"{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{inner}"),
        ("chunked twice", f"{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{inner}"),
        ("a folded header", f"{post}X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: zz\r\n\r\n{inner}"),
        ("a chunk of 2**64", f"{post}Transfer-Encoding: chunked\r\n\r\n1{'0' * 16}\r\nabc"),
        ("a negative chunk", f"{post}Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n"),
        ("a chunk in 0x", f"{post}Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n"),
        ("a NUL in a header", f"{post}X-A: a\0b\r\nContent-Length: 0\r\n\r\n"),
        ("a bare CR", f"{post}X-A: a\rContent-Length: 9\r\nContent-Length: zz\r\n\r\n"),
        (_OLD, "GET /v1/model\r\n\r\n"),
        ("version 9", "GET /v1/model HTTP/9.9\r\nHost: service\r\n\r\n"),
        ("HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + "\0" * 200),
        ("noise", "".join(chr(chance.randrange(256)) for _ in range(300)) + "\r\n\r\n"),
        ("a space in the address", "GET /v1/ model HTTP/1.1\r\nHost: service\r\n\r\n"),
        ("a method of 5000", f"{'A' * 5000} / HTTP/1.1\r\n\r\n"),
        ("CONNECT", "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: service\r\n\r\n"),
    )
    name, text = shapes[number % len(shapes)]
    return whole(
        "smuggling and bad HTTP", name, text.encode("latin-1"), due=False, refused=None if name == _OLD else 400
    )


def routes(number: int, _: random.Random, of: Corpus) -> Case:
    """Well-formed requests for what there is not, with methods and headers that do not belong."""
    crop = harness.crop()
    shapes: tuple[tuple[str, bytes], ...] = (
        ("GET", request("/v1/crops", method="GET")),
        ("PUT", request("/v1/videos", crop, method="PUT")),
        ("DELETE", request("/v1/model", method="DELETE")),
        ("TRACE", request("/v1/model", method="TRACE")),
        ("PATCH", request("/v1/jobs", crop, method="PATCH")),
        ("OPTIONS", request("*", method="OPTIONS")),
        ("a file", request("/../../etc/passwd", method="GET")),
        ("an encoded file", request("/%2e%2e/%2e%2e/etc/passwd", method="GET")),
        ("a NUL", request("/v1/jobs/%00", method="GET")),
        ("no UTF-8", request("/v1/jobs/%ff%fe", method="GET")),
        ("a job above", request("/v1/jobs/..%2f..%2f..", method="DELETE")),
        ("a job of 9000", request("/v1/jobs/" + "a" * 9000, method="GET")),
        ("a job in Greek", request("/v1/jobs/%CE%B1%CE%B2", method="GET")),
        ("another address", request("http://127.0.0.1:1/v1/nothing", method="GET")),
        ("a wrong query", request("/v1/videos?faces=perhaps", of.clips[".mp4"])),
        ("a query of 20000", request("/v1/crops?" + "a=b&" * 5000, crop)),
        ("500 headers", request("/v1/crops", crop, "image/jpeg", *(f"X-{one}: y" for one in range(500)))),
        ("a subject of 5000", request("/v1/crops", crop, "image/jpeg", "X-Subject: " + "s" * 5000)),
        ("a subject of bytes", request("/v1/crops", crop, "image/jpeg", "X-Subject: \udcff\udc80\t")),
        ("a token", request("/v1/crops", crop, "image/jpeg", "Authorization: Bearer \udcff")),
        ("a type of 5000", request("/v1/videos", of.clips[".mp4"], "video/" + "m" * 5000)),
        ("no type", request("/v1/crops", crop, "")),
        ("to be continued", request("/v1/crops", crop, "image/jpeg", "Expect: 100-continue")),
        ("an upgrade", request("/v1/crops", crop, "image/jpeg", "Connection: Upgrade", "Upgrade: websocket")),
        ("ranges", request("/v1/model", b"", "", "Range: bytes=0-,0-,0-", method="GET")),
        ("HTTP/1.0", b"GET /v1/model HTTP/1.0\r\n\r\n"),
        ("6 MiB", request("/v1/crops", crop + bytes(6 << 20), "image/jpeg")),
        ("6 MiB of feedback", request("/v1/feedback", b" " * (6 << 20), "application/json")),
        ("6 MiB for nobody", request("/v1/nothing", bytes(6 << 20))),
        ("chunks", _chunked(crop, 7)),
        ("chunks with extensions", _chunked(crop, 500, b";a=b")),
    )
    name, data = shapes[number % len(shapes)]
    return whole("routes, methods, headers", name, data)


def _chunked(body: bytes, size: int, extension: bytes = b"") -> bytes:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    head = b"POST /v1/crops HTTP/1.1\r\nHost: service\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x%s\r\n%s\r\n" % (len(one), extension, one) for one in pieces) + b"0\r\n\r\n"


_LONG_FORM: Final = (
    b"Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'40\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="ab"\r\n\r\n'
)


def endless(number: int, _: random.Random, __: Corpus) -> Case:
    """More than any limit allows: until the service answers or closes."""
    head = b"POST %s HTTP/1.1\r\nHost: service\r\n"
    many = b"x" * (1 << 16)
    chunk = b"%x\r\n%s\r\n" % (len(many), many)
    path = (b"/v1/crops", b"/v1/videos", b"/v1/jobs", b"/v1/feedback", b"/v2/models/run/infer", b"/nothing")[
        number // 5 % 6
    ]
    json_kind = b"Content-Type: application/json\r\n" if number % 2 else b""
    shapes: tuple[tuple[str, bytes, bytes], ...] = (
        ("a body in chunks", head % path + json_kind + b"Transfer-Encoding: chunked\r\n\r\n", chunk),
        ("a body of 2**40", head % path + json_kind + b"Content-Length: %d\r\n\r\n" % 2**40, many),
        ("a form", head % path + _LONG_FORM, many),
        ("headers", head % path, b"X-A: " + b"y" * 9000 + b"\r\n"),
        ("an address", b"GET /", many),
    )  # fmt: skip
    name, first, more = shapes[number % len(shapes)]
    most = 4 << 10  # parts: 256 MiB, in case that nobody stops it

    def parts() -> Iterator[bytes]:
        yield first
        yield from itertools.repeat(more, most)

    return Case(kind="endless", name=f"{name}: {path.decode()}", parts=parts, due=False)


def slow(number: int, _: random.Random, __: Corpus) -> Case:
    """A byte now and then: in the first line, in the headers, in the body, in the second request of a connection."""
    crop = request("/v1/crops", harness.crop())
    head = crop.index(b"\r\n\r\n")
    starts = {
        "the first line": 0,
        "the headers": 30,
        "the body": head + 4,
        "a body that nobody reads": -1,
        "a second request": -2,
    }
    name = list(starts)[number % len(starts)]
    start = starts[name]
    if start == -1:
        crop, start = request("/v1/nothing", harness.crop()), head + 8
    if start == -2:
        crop, start = (
            request("/v1/model", method="GET", kind="") + crop,
            10 + len(request("/v1/model", method="GET", kind="")),
        )

    def parts() -> Iterator[bytes]:
        yield crop[:start]
        for at in range(start, len(crop)):
            yield crop[at : at + 1]

    return Case(kind="slow clients", name=name, parts=parts, due=False, pause=_SLOW)


def cut(number: int, _: random.Random, of: Corpus) -> Case:
    """A client that is gone: before, within and after its request."""
    path, file = (("/v1/crops", harness.crop()), ("/v1/videos", of.clips[".mp4"]), ("/v1/jobs", of.clips[".mp4"]))[
        number % 3
    ]
    whole = request(path, file, "video/mp4")
    if number % 2:
        kind = "multipart/form-data; boundary=bound"
        whole = request(path, form([('form-data; name="file"; filename="a"', file)]), kind)
    head = whole.index(b"\r\n\r\n") + 4
    ends = (0, 5, head - 2, head, head + 1, head + len(file) // 2, len(whole) - 1, len(whole))
    end = ends[number // 6 % len(ends)]
    return Case(
        kind="cut connections", name=f"{path} after {end} bytes", parts=lambda: [whole[:end]], due=False, leave=True
    )
