"""Folders of pictures among a user's files: each is a video, and each picture one of its frames."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from posixpath import basename, dirname
from typing import Final

from semblance.ingest.sources import base
from semblance.manifests.records import SourceFinding
from semblance.manifests.text import PICTURES

_ALONE: Final = "a picture that is in no folder of its own video"
_BESIDE: Final = "a picture beside videos"
_NESTED: Final = "a picture in a folder that has pictures and also folders of pictures"
_UNUSED: Final = "a picture in a folder that is no video of the collection"
_HOW: Final = "put the frames of each video into a folder of its own"


class Pictures:
    """The pictures among ``sizes`` (path -> bytes) by folder, and which folders may be videos.

    A folder of pictures that holds videos, or folders of pictures, is none: what is a frame there is a guess. Nor is a
    folder whose name says a label or a split: its pictures are of many videos.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._by_folder: defaultdict[str, list[str]] = defaultdict(list)
        for path in sizes:
            if path.lower().endswith(PICTURES):
                self._by_folder[dirname(path)].append(path)
        self._mixed = {dirname(path) for path in sizes if base.is_video(path)} & self._by_folder.keys()
        tops = {top for folder in self._by_folder for top in _above(folder) if not is_label(top)}
        self._nested = tops & self._by_folder.keys()
        self.bytes: Mapping[str, int] = {
            folder: sum(sizes[path] for path in paths)
            for folder, paths in self._by_folder.items()
            if not is_label(folder) and folder not in self._mixed and not {folder, *_above(folder)} & self._nested
        }

    def facts(self, videos: Collection[str]) -> dict[str, int]:
        """Sentences about the folders that are ``videos``, and about pictures that are in none."""
        counts = [len(self._by_folder[folder]) for folder in self.bytes if folder in videos]
        facts: Counter[str] = Counter()
        if counts:
            frames = f"{min(counts)} to {max(counts)} frames" if min(counts) < max(counts) else f"{counts[0]} frames"
            facts[f"folders of pictures, each read as a video of {frames} in the order of their names"] = len(counts)
        for finding in self.findings(videos):
            facts[f"pictures that are not read ({finding.reason}; {_HOW})"] += 1
        return dict(facts)

    def findings(self, videos: Collection[str]) -> list[SourceFinding]:
        """A finding for each picture that is a frame of none of the ``videos``."""
        return [
            finding
            for folder, paths in self._by_folder.items()
            if folder not in videos or folder not in self.bytes
            for finding in base.others(paths, self._why(folder))
        ]

    def _why(self, folder: str) -> str:
        if folder in self._mixed:
            return _BESIDE
        if {folder, *_above(folder)} & self._nested:
            return _NESTED
        return _UNUSED if folder in self.bytes else _ALONE


def is_label(folder: str) -> bool:
    """Whether a folder's name says a label or a split, so that its pictures are of many videos."""
    name = basename(folder).lower()
    return name in ("real", "fake", "") or name in base.SPLIT_NAMES


def _above(folder: str) -> Iterable[str]:
    while folder := dirname(folder):
        yield folder
