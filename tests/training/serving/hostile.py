"""Requests that nobody means well with, as bytes on a socket, and the law that all of them are held to."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import random
import re
import select
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pydantic import ValidationError

from semblance.training.serving import answers
from tests.conftest import REPOSITORY
from tests.faults import videos
from tests.training.serving import harness, hostile_files
from tests.training.serving.harness import Reply, Server
from tests.training.serving.hostile_files import Corpus

_PATHS: Final = re.compile(
    rf"{re.escape(str(REPOSITORY))}|/tmp/|/root/|/home/|/usr/|site-packages|semblance-serve-|/proc/"
)
_NATIVE: Final = re.compile(
    r"Corrupt JPEG data|libpng (warning|error)|\[ ?(WARN|ERROR):\d|Premature end of JPEG|Invalid SOS"
)
_STATUSES: Final = frozenset({200, 202, 204})
_ANSWERS: Final = (answers.CropAnswer, answers.VideoAnswer, answers.JobAnswer)
_SLOW: Final = 0.2  # seconds between the bytes of a slow client


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One connection. ``parts`` are sent one after another with ``pause`` seconds between them.

    ``due``: an answer must come, since the request is whole and well formed; else the service may close without one.
    ``leave``: the client is gone after the last part. ``refused``: what it must be answered, if that is certain.
    """

    kind: str
    name: str
    parts: Callable[[], Iterable[bytes]]
    due: bool = True
    pause: float = 0.0
    leave: bool = False
    refused: int | None = None


def request(
    path: str, body: bytes = b"", kind: str = "application/octet-stream", *headers: str, method: str = "POST"
) -> bytes:
    """A whole HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: service", f"Content-Length: {len(body)}"]
    lines += [f"Content-Type: {kind}"] if kind else []
    return "\r\n".join([*lines, *headers, "", ""]).encode("utf-8", "surrogateescape") + body


def _whole(kind: str, name: str, data: bytes, **more: Any) -> Case:
    return Case(kind=kind, name=name, parts=lambda: [data], **more)


def _mutated(number: int, chance: random.Random, of: Corpus) -> Case:
    name, data = hostile_files.damaged(chance, number, of)
    path = "/v1/jobs" if number % 10 == 9 else "/v1/videos?faces=true" if number % 4 == 1 else "/v1/videos"
    return _whole("damaged clips", name, request(path, data, "video/mp4"))


def _pictures(number: int, chance: random.Random, _: Corpus) -> Case:
    name, data = hostile_files.picture(chance, number)
    return _whole(
        "damaged pictures", name, request("/v1/videos" if number % 4 == 3 else "/v1/crops", data, "image/jpeg")
    )


def _bombs(number: int, _: random.Random, of: Corpus) -> Case:
    name, data = hostile_files.bomb(number, of)
    video = name.startswith(("MP4", "MKV", "AVI")) or number // 16 % 2 == 1
    packed = ("Content-Encoding: gzip",) if name.startswith("gzip") else ()
    return _whole("bombs", name, request("/v1/videos" if video else "/v1/crops", data, "image/png", *packed))


def _playlists(number: int, _: random.Random, of: Corpus) -> Case:
    name, data = hostile_files.playlist(number, of)
    kind = ("video/mp4", "application/vnd.apple.mpegurl", "application/sdp")[number % 3]
    return _whole("playlists", name, request("/v1/videos", data, kind))


def _types(number: int, chance: random.Random, of: Corpus) -> Case:
    name, data = hostile_files.other(chance, number, of)
    return _whole(
        "wrong types and polyglots", name, request(("/v1/crops", "/v1/videos")[number % 2], data, "image/jpeg")
    )


_NAMES: Final = (
    "../../../../tmp/x.mp4", "/etc/passwd", "a\0b.mp4", "x" * 5000 + ".mp4", "..\\..\\x.mp4", "\u202egpj.4pm", "", ".",
    "con.mp4", "%2e%2e%2fx.mp4", "a\x1b[2Jb.mp4", "$(id).mp4", "-rf.mp4", "\U0001f600.mp4", '"; filename="b.mp4',
    "~root/x.mp4",
)  # fmt: skip


def form(parts: Sequence[tuple[str, bytes]], boundary: str = "bound", *, end: bool = True) -> bytes:
    """A multipart body of ``(Content-Disposition, content)``."""
    found = b""
    for disposition, content in parts:
        found += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode("utf-8", "surrogateescape")
        found += content + b"\r\n"
    return found + (f"--{boundary}--\r\n".encode() if end else b"")


def _forms(number: int, chance: random.Random, of: Corpus) -> Case:
    crop, clip = harness.crop(), of.clips[".mp4"]
    path, file = (("/v1/crops", crop), ("/v1/videos", clip))[number % 2]
    named = 'form-data; name="file"; filename="a"'
    kind = "multipart/form-data; boundary=bound"
    field = 'form-data; name="other"'
    shapes: tuple[tuple[str, bytes, str], ...] = (
        ("without an end", form([(named, file)], end=False), kind),
        ("another boundary", form([(named, file)], "else"), kind),
        ("no boundary", form([(named, file)]), "multipart/form-data"),
        ("an empty boundary", form([(named, file)]), "multipart/form-data; boundary="),
        ("a boundary of 100000", form([(named, file)], "b" * 3000), f"multipart/form-data; boundary={'b' * 3000}"),
        ("two files", form([(named, file), (named, file)]), kind),
        ("10000 fields", form([(field, b"x")] * 10_000), kind),
        ("no name", form([("form-data", file)]), kind),
        ("a field for a file", form([('form-data; name="file"', file)]), kind),
        ("a field of 2 MB", form([('form-data; name="file"', bytes(2 << 20))]), kind),
        ("headers of 40 kB", form([(named + "; x=" + "y" * 40_000, file)]), kind),
        ("1000 headers", form([(named + "\r\nX-A: b" * 1000, file)]), kind),
        ("no headers", b"--bound\r\n\r\n" + file + b"\r\n--bound--\r\n", kind),
        ("nothing", b"", kind),
        ("a form in a form", form([(named, form([(named, file)], "in"))]), kind),
        ("an unknown charset", form([(named, file)]), kind + "; charset=utf-999"),
        ("a name of bytes", form([('form-data; name="\udcff\udcfe"; filename="\udcff"', file)]), kind),
        ("base64", form([(named + "\r\nContent-Transfer-Encoding: base64", b"/9j/4AAQ")]), kind),
        ("noise", b"--bound" + chance.randbytes(3000), kind),
        ("mutated", videos.mutated(form([(named, file)]), chance), kind),
    )
    if number % 2 == 0:
        name = _NAMES[number // 2 % len(_NAMES)]
        data = form([(f'form-data; name="file"; filename="{name}"', file)])
        return _whole("names of files", repr(name[:20]), request(path, data, kind))
    name, data, kind = shapes[number // 2 % len(shapes)]
    return _whole("forms", name, request(path, data, kind))


def _json(number: int, _: random.Random, of: Corpus) -> Case:
    infer, video, told = "/v2/models/run/infer", "/v1/videos", "/v1/feedback"

    def image(shape: object, data: object, kind: str = "UINT8") -> str:
        return json.dumps({"inputs": [{"name": "image", "shape": shape, "datatype": kind, "data": data}]})

    deep = "[" * 100_000
    shapes: tuple[tuple[str, str, str], ...] = (
        ("deep", infer, deep),
        ("deep in data", infer, image([1], []).replace("[]", deep, 1)),
        ("deep and closed", infer, image([1], [0]).replace("[0]", "[" * 500 + "]" * 500)),
        ("a shape of 2**62", infer, image([2**31, 2**31, 1, 3], [])),
        ("a shape of 10**400", infer, image([1, 1, 1, 3], []).replace("1, 1, 1", "1" + "0" * 400)),
        ("a negative shape", infer, image([-1, -1, -1, 3], [0] * 12)),
        ("no pictures", infer, image([0, 4, 4, 3], [])),
        ("no files", infer, image([0], [], "BYTES")),
        ("ragged", infer, image([1, 1, 1, 3], [[1], [1, 2]])),
        ("text for numbers", infer, image([1, 1, 1, 3], ["a", "b", "c"])),
        ("null", infer, image([1, 1, 1, 3], [None, None, None])),
        ("parts of numbers", infer, image([1, 1, 1, 3], [0.5, 1.5, 2.5])),
        ("huge numbers", infer, image([1, 1, 1, 3], [10**30, 0, 0])),
        ("not a number", infer, image([1, 1, 1, 3], [float("nan"), float("inf"), 0])),
        ("a million empty lists", infer, image([1, 1, 1, 3], [[]] * 1_000_000)),
        ("10000 files", infer, image([10_000], ["AA=="] * 10_000, "BYTES")),
        ("no base64", infer, image([1], ["!!!"], "BYTES")),
        ("a pickle in base64", infer, image([1], ["gASVBQAAAAAAAAB9lC4="], "BYTES")),
        ("two inputs", infer, '{"inputs": [{}, {}]}'),
        ("keys twice", infer, '{"inputs": [], "inputs": 3}'),
        ("half a surrogate", infer, '{"id": "\\ud800", "inputs": []}'),
        ("no UTF-8", infer, "\udcff\udcfe{}"),
        ("nothing", infer, ""),
        ("another model", "/v2/models/..%2f..%2fetc/infer", image([1], [])),
        ("another version", "/v2/models/run/versions/%00/infer", image([1], [])),
        ("deep", video, deep),
        ("another key", video, '{"path": "/etc/passwd"}'),
        *(("an address", video, json.dumps({"address": one})) for one in _addresses(of)),
        ("deep", told, deep),
        ("a label of 10**400", told, '{"id": "x", "label": 1' + "0" * 400 + "}"),
        ("an id of 1 MB", told, json.dumps({"id": "x" * (1 << 20)})),
        ("half a surrogate", told, '{"id": "\\udfff"}'),
        ("a list", told, "[]"),
        ("a name of lines", told, json.dumps({"id": "x", "a\n. b" * 100: 1})),
        ("nothing", told, ""),
        ("no UTF-8", told, '{"id": "\udcff"}'),
    )
    name, path, text = shapes[number % len(shapes)]
    return _whole("JSON", f"{name}: {path}", request(path, text.encode("utf-8", "surrogateescape"), "application/json"))


def _addresses(of: Corpus) -> tuple[str, ...]:
    return (
        "/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/latest/meta-data/", f"{of.canary}/a.mp4",
        "s3://bucket/key.mp4", "s3://bucket/../x", "s3://", "simplecache::s3://b/k", "s3://b/*", "memory://x", "\0",
        "x" * 9999,
    )  # fmt: skip


def _protocol(number: int, chance: random.Random, _: Corpus) -> Case:
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
        ("no version", "GET /v1/model\r\n\r\n"),
        ("version 9", "GET /v1/model HTTP/9.9\r\nHost: service\r\n\r\n"),
        ("HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + "\0" * 200),
        ("noise", "".join(chr(chance.randrange(256)) for _ in range(300)) + "\r\n\r\n"),
        ("a space in the address", "GET /v1/ model HTTP/1.1\r\nHost: service\r\n\r\n"),
        ("a method of 5000", f"{'A' * 5000} / HTTP/1.1\r\n\r\n"),
        ("CONNECT", "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: service\r\n\r\n"),
    )
    name, text = shapes[number % len(shapes)]
    return _whole("smuggling and bad HTTP", name, text.encode("latin-1"), due=False, refused=400)


def _routes(number: int, _: random.Random, of: Corpus) -> Case:
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
    return _whole("routes, methods, headers", name, data)


def _chunked(body: bytes, size: int, extension: bytes = b"") -> bytes:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    head = b"POST /v1/crops HTTP/1.1\r\nHost: service\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x%s\r\n%s\r\n" % (len(one), extension, one) for one in pieces) + b"0\r\n\r\n"


_LONG_FORM: Final = (
    b"Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'40\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="ab"\r\n\r\n'
)


def _endless(number: int, _: random.Random, __: Corpus) -> Case:
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


def _slow(number: int, _: random.Random, __: Corpus) -> Case:
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


def _cut(number: int, _: random.Random, of: Corpus) -> Case:
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


def once_broken(of: Corpus) -> list[Case]:
    """What the service has not withstood before: each of these stays in every siege."""
    scans = hostile_files.jpeg_of_scans(3000, 100_000)
    chance = random.Random(0)
    return [
        _whole("bombs", "JPEG of 100000 scans", request("/v1/crops", scans, "image/jpeg")),
        _whole("routes, methods, headers", "6 MiB", request("/v1/crops", bytes(6 << 20), "image/jpeg")),
        _endless(3, chance, of),
        _endless(5, chance, of),
        _slow(3, chance, of),
        _slow(4, chance, of),
    ]


KINDS: Final[tuple[tuple[Callable[[int, random.Random, Corpus], Case], int], ...]] = (  # cases of each in a hundred
    (_mutated, 22), (_pictures, 10), (_bombs, 8), (_playlists, 9), (_types, 8), (_forms, 12), (_json, 11),
    (_protocol, 7), (_routes, 6), (_endless, 2), (_slow, 1), (_cut, 4),
)  # fmt: skip


def cases(count: int, seed: int, of: Corpus) -> Iterator[Case]:
    """``count`` cases of all kinds, mixed, made one by one."""
    yield from (known := once_broken(of))[:count]
    count = max(count - len(known), 0)
    chance = random.Random(seed)
    owed = [make for make, share in KINDS for _ in range(max(round(count * share / 100), 1))][:count]
    owed += [_mutated] * (count - len(owed))
    chance.shuffle(owed)
    made = {make: chance.randrange(1000) for make, _ in KINDS}  # a small siege does not always begin with the same
    for make in owed:
        made[make] += 1
        yield make(made[make], chance, of)


def exchange(server: Server, case: Case) -> Reply:
    """Send a case, and what came back: status 0 if the service closed without an answer."""
    with server.connect() as connection:
        for part in case.parts():
            if select.select([connection], [], [], 0)[0]:
                break
            try:
                connection.sendall(part)
            except OSError:
                break
            if case.pause:
                select.select([connection], [], [], case.pause)
        if case.leave:
            return Reply(status=-1)
        return _reply(connection)


def _reply(connection: socket.socket) -> Reply:
    got = http.client.HTTPResponse(connection)
    try:
        got.begin()
        body = got.read()
    except (http.client.HTTPException, ConnectionError):
        return Reply(status=0)
    return Reply(status=got.status, headers={name.lower(): one for name, one in got.getheaders()}, body=body)


def broken_law(case: Case, reply: Reply) -> str | None:
    """What is wrong with a reply, None if nothing is."""
    if reply.status == -1:
        return None
    if reply.status == 0:
        return "no answer" if case.due else None
    if case.refused not in (None, reply.status):
        return f"{reply.status} instead of {case.refused}"
    text = reply.body.decode("utf-8", "replace")
    if (found := _PATHS.search(text)) is not None:
        return f"names a path: {found[0]}"
    if reply.status in _STATUSES:
        return None if _sound(reply) else f"no answer of ours: {text[:200]}"
    if not 400 <= reply.status < 500 and reply.status != 503:
        return f"status {reply.status}: {text[:200]}"
    if reply.status == 503 and "retry-after" not in reply.headers:
        return "503 without Retry-After"
    try:
        said = reply.problem.error
    except ValidationError:
        return f"no Problem: {text[:200]}"
    if not said.isprintable() or not said.endswith(".") or ". " in said or len(said) > 500:
        return f"not one sentence: {said[:200]}"
    return None


def _sound(reply: Reply) -> bool:
    with contextlib.suppress(ValueError):
        if reply.status == 204 or "outputs" in reply.json or "models" in reply.json:
            return True
        return any(_is(model, reply.body) for model in _ANSWERS)
    return False


def _is(model: Any, body: bytes) -> bool:
    try:
        model.model_validate_json(body)
    except ValidationError:
        return False
    return True


def bad_lines(server: Server) -> list[str]:
    """Lines of the log that hold a traceback or name a path, and lines of ours that are no JSON.

    libjpeg and libpng write their complaints themselves, as text.
    """
    found = []
    for line in server.log.read_text("utf-8", "replace").splitlines():
        if "Traceback" in line or "error.stack_trace" in line or _PATHS.search(line):
            found.append(line[:2000])
        elif not _NATIVE.match(line):
            try:
                json.loads(line)
            except ValueError:
                found.append(f"no JSON: {line[:300]}")
    return found


def settled(server: Server, jobs: Sequence[str]) -> None:
    """Wait for the end of jobs, and forget them."""
    for address in jobs:
        harness.until(partial(_over, server, address))
        server.send(address, method="DELETE")


def _over(server: Server, address: str) -> bool:
    return server.send(address).json.get("status") in ("done", "failed")
