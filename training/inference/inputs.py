"""What `training predict` is given: videos, pictures, folders, patterns and tables, as one list of files."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from semblance.ingest.sources.base import is_video
from semblance.manifests import storage, user_tables
from semblance.manifests.errors import SemblanceError, StorageError
from semblance.manifests.text import PICTURES

_WILD: Final = re.compile(r"[*?\[]")
Kind = Literal["video", "picture"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One file to score. ``status`` and ``reason``: why it cannot be, if that is known already."""

    path: str
    kind: Kind = "video"
    status: str = "ok"
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The files to score, each once, in the order in which they were given; ``repeated`` were named again."""

    files: tuple[Input, ...]
    repeated: int


def gather(given: Sequence[str]) -> Inputs:
    """All files that the arguments name.

    A folder or ``s3://`` prefix stands for the videos and pictures below it, hidden ones apart. A pattern has ``*``,
    ``?``, ``[...]`` and ``**``. A table (CSV, TSV, JSON lines, Parquet) has a column ``path``, relative to its own
    folder. A name without a video or picture is an input that cannot be scored, with the reason.
    """
    files: dict[str, Input] = {}
    repeated = 0
    for text in given:
        for one in _named(text):
            key = one.path if storage.is_remote(one.path) else os.path.realpath(one.path)
            repeated += key in files
            files.setdefault(key, one)
    return Inputs(files=tuple(files.values()), repeated=repeated)


def is_picture(path: str) -> bool:
    """Whether the path's suffix is that of a still picture."""
    return path.lower().endswith(PICTURES)


def _named(text: str) -> Iterator[Input]:
    try:
        if not storage.exists(text) and _WILD.search(text):
            found = list(_matching(text))
            yield from map(_file, found) if found else [_fault(text, "missing", "matches no file; check the pattern")]
        elif text.lower().endswith(user_tables.SUFFIXES):
            yield from _listed(text)
        elif _is_folder(text):
            found = [storage.join(text, name) for name in _below(text)]
            reason = "holds no video or picture; name another folder"
            yield from map(_file, found) if found else [_fault(text, "missing", reason)]
        else:
            yield _file(text)
    except StorageError as error:
        yield Input(path=text, status="missing", reason=str(error))


def _file(path: str) -> Input:
    if not storage.exists(path):
        return _fault(path, "missing", "does not exist; pass a video, a picture, a folder or a table")
    if os.path.isdir(path):
        return _fault(path, "missing", "is a folder inside the pattern; name the folder itself")
    return Input(path=path, kind="picture" if is_picture(path) else "video")


def _fault(path: str, status: str, reason: str) -> Input:
    return Input(path=path, status=status, reason=f"{path} {reason}.")


def _is_folder(text: str) -> bool:
    return bool(storage.list_names(text)) and not _is_object(text) if storage.is_remote(text) else os.path.isdir(text)


def _is_object(url: str) -> bool:
    names = storage.list_names(url)
    return names == [url.rstrip("/").rpartition("/")[2]]


def _below(folder: str) -> Iterator[str]:
    for stat in storage.walk(folder):
        hidden = any(part.startswith(".") for part in stat.path.split("/"))
        if not hidden and (is_video(stat.path) or is_picture(stat.path)):
            yield stat.path


def _matching(pattern: str) -> Iterator[str]:
    if not storage.is_remote(pattern):
        yield from sorted(path for path in glob.glob(pattern, recursive=True) if not os.path.isdir(path))
        return
    top = pattern[: _WILD.search(pattern).start()].rpartition("/")[0]  # type: ignore[union-attr]
    wanted = re.compile(_regex(pattern[len(top) + 1 :]))
    for name in _below(top):
        if wanted.fullmatch(name):
            yield storage.join(top, name)


def _regex(pattern: str) -> str:
    """A pattern as glob reads it, for names with "/"."""
    parts = re.split(r"(\*\*/|\*|\?|\[[^]]+\])", pattern)
    known = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return "".join(known.get(part, part if part.startswith("[") else re.escape(part)) for part in parts)


def _listed(table: str) -> Iterator[Input]:
    try:
        rows = user_tables.read_user_table(table, "The table", {"path": str})
    except StorageError:
        raise
    except SemblanceError as error:
        yield Input(path=table, status="missing", reason=str(error))
        return
    folder = table.rpartition("/")[0]
    if not rows.height:
        yield _fault(table, "missing", "lists no file")
    for path in rows["path"]:
        whole = storage.is_remote(path) or os.path.isabs(path) or not folder
        yield _file(path if whole else storage.join(folder, path))
