"""Directory trees in memory, as source readers see them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

import fsspec

from semblance.ingest.sources import source
from semblance.ingest.sources.base import IN_ROOT, Discovery, SourceConfig
from semblance.manifests.records import Video
from semblance.manifests.storage import Stat

READ = (".json", ".csv", ".txt", ".parquet", ".tar.gz")  # only the content of these may be read


def discover(
    dataset: str, tree: Mapping[str, object], config: SourceConfig = IN_ROOT, root: str = "memory://tree"
) -> Discovery:
    """The discovery of a tree in memory; content other than text and bytes is written as JSON."""
    files = fsspec.filesystem("memory")
    if files.exists(root):
        files.rm(root, recursive=True)
    stats = []
    for path, content in tree.items():
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        if path.endswith(READ):
            files.pipe_file(f"{root}/{path}", data)
        stats.append(Stat(path=path, bytes=len(data), version="0"))
    return source(dataset).discover(root, stats, config)


def by_path(found: Discovery) -> dict[str, Video]:
    return {video.path: video for video in found.videos}


def kinds(found: Discovery) -> list[tuple[str, str]]:
    return [(finding.path, finding.kind) for finding in found.findings]


def places(found: Discovery) -> Counter[str]:
    """How often each path is planned, used as a mask or has a finding; a law requires exactly once."""
    named = Counter({finding.path for finding in found.findings})
    masks = Counter({video.mask for video in found.videos if video.mask})
    return named + masks + Counter(video.path for video in found.videos if video.fault != "missing")


def escaped(path: str) -> str:
    """The path as written in a finding."""
    return path.encode("utf-8", "backslashreplace").decode()
