"""Hostile requests whose HTTP is sound: files, forms and JSON that nobody means well with."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.faults import videos
from tests.training.serving import harness, hostile_files
from tests.training.serving.hostile_files import Corpus


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


def whole(kind: str, name: str, data: bytes, **more: Any) -> Case:
    return Case(kind=kind, name=name, parts=lambda: [data], **more)


def mutated(number: int, chance: random.Random, of: Corpus) -> Case:
    name, data = hostile_files.damaged(chance, number, of)
    path = "/v1/jobs" if number % 10 == 9 else "/v1/videos?faces=true" if number % 4 == 1 else "/v1/videos"
    return whole("damaged clips", name, request(path, data, "video/mp4"))


def pictures(number: int, chance: random.Random, _: Corpus) -> Case:
    name, data = hostile_files.picture(chance, number)
    return whole(
        "damaged pictures", name, request("/v1/videos" if number % 4 == 3 else "/v1/crops", data, "image/jpeg")
    )


def bombs(number: int, _: random.Random, of: Corpus) -> Case:
    name, data = hostile_files.bomb(number, of)
    video = name.startswith(("MP4", "MKV", "AVI")) or number // 16 % 2 == 1
    packed = ("Content-Encoding: gzip",) if name.startswith("gzip") else ()
    return whole("bombs", name, request("/v1/videos" if video else "/v1/crops", data, "image/png", *packed))


def playlists(number: int, _: random.Random, of: Corpus) -> Case:
    name, data = hostile_files.playlist(number, of)
    kind = ("video/mp4", "application/vnd.apple.mpegurl", "application/sdp")[number % 3]
    return whole("playlists", name, request("/v1/videos", data, kind))


def types(number: int, chance: random.Random, of: Corpus) -> Case:
    name, data = hostile_files.other(chance, number, of)
    return whole(
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


def forms(number: int, chance: random.Random, of: Corpus) -> Case:
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
        return whole("names of files", repr(name[:20]), request(path, data, kind))
    name, data, kind = shapes[number // 2 % len(shapes)]
    return whole("forms", name, request(path, data, kind))


def json_bodies(number: int, _: random.Random, of: Corpus) -> Case:
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
    return whole("JSON", f"{name}: {path}", request(path, text.encode("utf-8", "surrogateescape"), "application/json"))


def _addresses(of: Corpus) -> tuple[str, ...]:
    return (
        "/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/latest/meta-data/", f"{of.canary}/a.mp4",
        "s3://bucket/key.mp4", "s3://bucket/../x", "s3://", "simplecache::s3://b/k", "s3://b/*", "memory://x", "\0",
        "x" * 9999,
    )  # fmt: skip
