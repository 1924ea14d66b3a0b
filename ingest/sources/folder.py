"""Reader of a user's own videos: ``real/**`` and ``fake/<method>/**``, with or without splits, or a table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from posixpath import basename, splitext
from typing import Final

from semblance.ingest.sources import base
from semblance.ingest.sources.base import IN_ROOT, Discovery, Source, SourceConfig
from semblance.ingest.sources.folder_pictures import Pictures
from semblance.ingest.sources.folder_table import read_table
from semblance.ingest.sources.folder_videos import from_table, identities, no_label, video_id
from semblance.ingest.sources.registry import register
from semblance.manifests import storage
from semblance.manifests.datasets import Basis
from semblance.manifests.datasets.folder import INFO
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import PRISTINE, SourceFinding, Video
from semblance.manifests.storage import Stat
from semblance.manifests.text import PICTURES

_HOW: Final = "put videos into real/ and fake/<method>/, or list them in a table (--set source.table=FILE)"
_NO_REAL: Final = (
    "fakes without an original (give fake and real the same file name, or use column original of a table: --set "
    "source.table=FILE)"
)
_RARE: Final = "a video with such a suffix is read only if a table lists it"
_SEVERAL: Final = "fakes whose name several reals have (none is used; detected without a guide)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Metadata from a file's folders: label, method, split, and its path below them without suffix."""

    fake: bool
    method: str | None
    split: str | None
    key: str

    @property
    def part(self) -> str:
        """Its folders: ``test/fake/swap``."""
        label = "fake" if self.fake else "real"
        return "/".join([*filter(None, [self.split, label, self.method if self.fake else None])])

    @property
    def real(self) -> str:
        """The path, without suffix, of the real that has its place."""
        return "/".join([*filter(None, [self.split, "real", self.key])])


@register
class Folder(Source):
    """The reader of a user's own collection."""

    info = INFO

    def discover(self, root: str, files: Sequence[Stat], config: SourceConfig = IN_ROOT) -> Discovery:
        """Videos and findings below ``root``; with ``config.table`` labels come only from the table.

        Raises SemblanceError if no video has a label, the table cannot be read, or two files have the same id.
        """
        sizes, findings = base.sift(files)
        pictures = Pictures(sizes)
        basis: Basis | None = None
        tables: tuple[tuple[str, str], ...] = ()
        if config.table is None:
            planned, facts = _from_folders({**sizes, **pictures.bytes}, pictures.bytes.keys())
            found = _bad_methods(planned)
            if not any(video.label is not None for video in planned):
                why = "".join(f"; {fact}: {count}" for fact, count in pictures.facts(()).items())
                raise SemblanceError(f"No video below {root} has a label; {_HOW}{_deeper(root, planned)}{why}.")
        else:
            table = read_table(root, config.table)
            excluded = {finding.path for finding in findings}
            planned, facts, more = from_table(sizes, pictures.bytes, table, root, excluded)
            if not any(video.label is not None and video.fault is None for video in planned):
                raise SemblanceError(no_label(root, table, planned, more))
            planned, basis = identities(planned)
            found, tables = [*table.findings, *more], ((table.name, table.sha256),)
            sizes.pop(table.place or "", None)
        used = {path for video in planned for path in (video.path, video.mask)}
        frames_of = {path for path in used if path and path in pictures.bytes}
        facts = {**facts, **pictures.facts(frames_of)}
        rest = {path for path in sizes.keys() - used if not path.lower().endswith(PICTURES)}
        rare = set(filter(base.looks_like_video, rest))
        unread = [*base.others(rare, _RARE), *base.others(rest - rare, "not a video"), *pictures.findings(frames_of)]
        return base.discovery(planned, [*findings, *found, *unread], facts, tables=tables, identity_basis=basis)


def place_of(path: str, split_within: bool = False) -> Place | None:
    """Metadata from the folders of ``path``: ``[<split>/]real/**`` or ``[<split>/]fake/[<method>/]**``; else None.

    ``split_within``: the split is the folder below real and fake.
    """
    top, *below = (splitext(path)[0] if base.is_video(path) else path).split("/")
    split = base.SPLIT_NAMES.get(top.lower())
    if split and below:
        top, *below = below
    label = top.lower()
    if label not in ("real", "fake") or not below:
        return None
    if split_within and split is None and len(below) > 1:
        split, *below = base.SPLIT_NAMES[below[0].lower()], *below[1:]
    if label == "real":
        return Place(fake=False, method=PRISTINE, split=split, key="/".join(below))
    method = below[0] if len(below) > 1 and below[0] != PRISTINE else None
    return Place(fake=True, method=method, split=split, key="/".join(below[1:] or below))


def _splits_within(paths: Iterable[str]) -> bool:
    """Whether every video is in ``real/<split>/`` or ``fake/<split>/``, and both are there with the same splits."""
    splits: defaultdict[str, set[str | None]] = defaultdict(set)
    for path in paths:
        top, *below = path.lower().split("/")
        if top in ("real", "fake"):
            splits[top].add(base.SPLIT_NAMES.get(below[0]) if len(below) > 1 else None)
    return splits["real"] == splits["fake"] != set() and None not in splits["real"]


def _from_folders(sizes: Mapping[str, int], frames: Collection[str]) -> tuple[list[Video], dict[str, int]]:
    """All videos; the original of a fake is the real with the same path, or the only one with the same name.

    Folders of ``frames`` elsewhere than in real/ and fake/ are none.
    """
    paths = sorted(path for path in sizes if base.is_video(path) or path in frames)
    within = _splits_within(paths)
    places = {path: place_of(path, within) for path in paths}
    places = {path: place for path, place in places.items() if place or path not in frames}
    reals = {place.real for place in places.values() if place and not place.fake}
    by_name: defaultdict[str, set[str]] = defaultdict(set)
    for real in reals:
        by_name[basename(real)].add(real)
    videos = []
    facts: Counter[str] = Counter()
    for path, place in places.items():
        video = Video(
            video_id=video_id(path), path=path, dataset=INFO.name, family_id=video_id(path), bytes=sizes[path]
        )
        if place is None:
            note = f"it is neither in real/ nor in fake/; {_HOW}"
            videos.append(replace(video, fault="unlabelled", fault_note=note))
            continue
        real = place.real
        if place.fake and real not in reals:
            named = by_name[basename(real)]
            real = min(named) if len(named) == 1 else real
            facts[_NO_REAL] += not named
            facts[_SEVERAL] += len(named) > 1
        videos.append(
            replace(
                video,
                part=place.part,
                label=int(place.fake),
                method=place.method,
                split_official=place.split,
                family_id=video_id(f"{real}.mp4"),
            )
        )
    return videos, dict(facts)


def _deeper(root: str, videos: Iterable[Video]) -> str:
    """Where else below ``root`` there are folders real or fake, as advice."""
    for video in videos:
        folders = video.path.split("/")[:-1]
        names = [name.lower() for name in folders]
        if at := [names.index(name) for name in ("real", "fake") if name in names]:
            top = folders[: min(at)]
            if top and top[-1].lower() in base.SPLIT_NAMES:
                top.pop()
            return f", or pass --root {storage.join(root, *top)}"
    return ""


def _bad_methods(videos: Iterable[Video]) -> list[SourceFinding]:
    """Findings for folders of fakes named like the method of reals: their method is unknown."""
    called = [video.path.split("/") for video in videos if _is_called_pristine(video)]
    folders = sorted({"/".join(parts[: parts.index(PRISTINE, 1) + 1]) for parts in called})
    reason = f"{PRISTINE} is the method of reals, so the method of the fakes in it is unknown"
    return [SourceFinding(path=f"{path}/", kind="bad_method", reason=reason) for path in folders]


def _is_called_pristine(video: Video) -> bool:
    return video.label == 1 and PRISTINE in video.path.split("/")[1:-1]
