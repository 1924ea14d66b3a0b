"""What a user's table calls a file: a path below the root or an absolute one, a name, or a stem."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from posixpath import basename, dirname, join, normpath, splitext
from typing import Final

from semblance.ingest.sources.lists import below
from semblance.manifests import storage

_ABSOLUTE: Final = re.compile(r"[/\\]|[A-Za-z]:[/\\]|[a-z0-9]+://")


def relative(text: str | None) -> str | None:
    """A normalised path below the root; None for an empty or absolute one, or one with ``..``."""
    if not text or _ABSOLUTE.match(text) or ".." in text.split("/"):
        return None
    path = normpath(text)
    return None if path == "." else path


class Paths:
    """The files below ``root`` as a table may name them; only ``videos`` are found by less than their path."""

    def __init__(self, root: str, files: Iterable[str], videos: Iterable[str]) -> None:
        self._root = root
        self._files = frozenset(files)
        self._named: defaultdict[str, list[str]] = defaultdict(list)
        for path in sorted(videos):
            for name in {basename(path).casefold(), splitext(basename(path))[0].casefold()}:
                self._named[name].append(path)

    def __contains__(self, path: str) -> bool:
        return path in self._files

    def written(self, text: str) -> str | None:
        """The path below the root that ``text`` writes, also with back-slashes or absolute; None if it is elsewhere."""
        for spelling in (text, text.strip()):
            if (path := relative(spelling)) in self._files:
                return path
        text = text.strip().removeprefix("file://")
        if (path := relative(text)) is None or "\\" in text:
            text = text.replace("\\", "/")
            path = relative(text) or self._absolute(text)
        return path

    def _absolute(self, text: str) -> str | None:
        if not _ABSOLUTE.match(text) or ".." in text.split("/"):
            return None
        if storage.is_remote(self._root) or storage.is_remote(text):
            return relative(below(self._root, text))
        root = os.path.abspath(self._root.removeprefix("file://"))
        path = normpath(text)
        if not path.startswith("/"):
            return None
        if path.startswith(f"{root.rstrip('/')}/"):
            return relative(path[len(root.rstrip("/")) + 1 :])
        try:  # the root or the path may go through a link
            folder = below(self._root, dirname(path))
        except (OSError, ValueError):
            return None
        return None if folder is None else relative(join(folder, basename(path)))

    def named(self, path: str) -> list[str]:
        """Every video whose path ends with ``path``, which may lack the suffix; in another case if none has this."""
        parts = path.split("/")
        ends = [
            (video, splitext(tail)[0] if _has_stem(tail, parts[-1]) else tail)
            for video in self._named.get(parts[-1].casefold(), ())
            for tail in ["/".join(video.split("/")[-len(parts) :])]
        ]
        exact = [video for video, end in ends if end == path]
        return exact or [video for video, end in ends if end.casefold() == path.casefold()]


def _has_stem(tail: str, name: str) -> bool:
    """Whether ``name`` is the stem of the file at ``tail``, rather than its name."""
    return basename(tail).casefold() != name.casefold()
