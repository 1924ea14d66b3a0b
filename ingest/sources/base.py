"""What every source gives: the videos of a layout, and everything that does not fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from semblance.manifests.config import Config
from semblance.manifests.datasets import Basis, DatasetInfo
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import SourceFinding, Video
from semblance.manifests.storage import Stat
from semblance.shards.tar import ArchiveConfig

Picture = tuple[int, str]  # frame index, and name in the folder of its sequence


class SourceConfig(Config):
    """Where a dataset's side tables are, if not below the root.

    ``lists``: the folder or URL with the official split lists (``ffpp``: train.json, val.json, test.json and
    conversion_dict.json; ``celebdf``: List_of_testing_videos.txt). ``table``: a CSV or Parquet table of the
    user's own videos (``folder``). Both change what is planned, so their content enters the fingerprint.
    ``archive``: what an archive of the dataset may hold (``wilddeepfake``).
    """

    lists: str | None = None
    table: str | None = None
    archive: ArchiveConfig = ArchiveConfig()


SYNTHETIC: Final = ".semblance-demo.json"  # this file at the root: invented people, made by `ingest demo`
IN_ROOT: Final = SourceConfig()  # all side tables lie below the root
# Facts that several datasets share.
ORIGINAL_ABSENT: Final = "fakes whose original is not on disk (they are detected on their own)"
ORIGINAL_UNLABELLED: Final = "fakes whose original is on disk without a label (they are detected on their own)"
ORIGINAL_UNNAMED: Final = "fakes that name no original (each is a family of its own)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of the full dataset is there: ``what`` in words, how many were found, how many there are."""

    what: str
    found: int
    full: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What lies below a root. Every file is a planned video or has a finding; ``facts`` are counted
    sentences about what is normal and worth knowing. ``tables`` are the side tables that were read, as
    (name, content hash), wherever they lay.

    Videos carry in ``split_official`` the split in which the dataset's authors published them, None where they
    published none. ``identity_basis`` is set where the data itself, not the dataset, decides what its ids stand for.
    ``pictures``: of a video that is a folder inside an archive, its pictures there in the order of time.
    """

    videos: tuple[Video, ...]
    findings: tuple[SourceFinding, ...]
    facts: tuple[tuple[str, int], ...] = ()
    coverage: tuple[Coverage, ...] = ()
    tables: tuple[tuple[str, str], ...] = ()
    identity_basis: Basis | None = None
    pictures: Mapping[str, tuple[Picture, ...]] = field(default_factory=dict)


class Source(ABC):
    """A reader of one dataset's layout; ``info`` is what is known of the dataset before any file is seen."""

    info: ClassVar[DatasetInfo]

    @property
    def name(self) -> str:
        """What ``--dataset`` takes."""
        return self.info.name

    @abstractmethod
    def discover(self, root: str, files: Sequence[Stat], config: SourceConfig = IN_ROOT) -> Discovery:
        """Plan what lies below ``root``; raises SemblanceError where nothing usable is there."""


def discovery(
    videos: Iterable[Video], findings: Iterable[SourceFinding], facts: Mapping[str, int], **more: Any
) -> Discovery:
    """A discovery in the one order, whatever order the files came in; facts that count nothing are left out.

    Raises SemblanceError where two files would get one id.
    """
    videos = list(videos)
    refuse_collisions(videos)
    return Discovery(
        videos=tuple(sorted(videos, key=lambda video: video.video_id)),
        findings=tuple(sorted(findings, key=lambda one: (one.path, one.kind, one.reason))),
        facts=tuple((sentence, count) for sentence, count in facts.items() if count),
        **more,
    )


def others(paths: Iterable[str], reason: str = "not part of the layout") -> list[SourceFinding]:
    """A finding for each file that is neither planned nor read."""
    return [SourceFinding(path=path, kind="other", reason=reason) for path in sorted(paths)]


def covered(info: DatasetInfo, found: Mapping[str, int]) -> tuple[Coverage, ...]:
    """What was found against each of the full dataset's counts."""
    return tuple(Coverage(what=what, found=found[what], full=full) for what, full in info.full.items())


def people_in(videos: Iterable[Video]) -> set[str]:
    """Every person who is a target or a donor."""
    return {one for video in videos for one in (video.target_id, video.donor_id) if one}


def refuse_collisions(videos: Iterable[Video]) -> None:
    """Raise SemblanceError where two files would get one id."""
    seen: dict[str, str] = {}
    for video in videos:
        place = video.path if video.member is None else f"{video.path}/{video.member}"
        other = seen.setdefault(video.video_id, place)
        if other != place:
            raise SemblanceError(
                f"{other} and {place} would both be video {video.video_id}; remove or rename one of them."
            )


def sift(files: Iterable[Stat]) -> tuple[dict[str, int], list[SourceFinding]]:
    """Path -> bytes of the files that may belong to a dataset, and a finding for each that cannot.

    Hidden files and folders, and what macOS packs beside a file (``._name``, ``__MACOSX``), are no
    data; a name that is not UTF-8 cannot stand in a table and is written with escapes.
    """
    sizes, findings = {}, []
    for stat in files:
        if any(name.startswith(".") or name == "__MACOSX" for name in stat.path.split("/")):
            kind, reason = "other", "hidden, or a by-product of macOS"
        elif not _is_utf8(stat.path):
            kind, reason = "bad_name", "its name is not UTF-8; rename it"
        else:
            sizes[stat.path] = stat.bytes
            continue
        path = stat.path.encode("utf-8", "backslashreplace").decode()
        findings.append(SourceFinding(path=path, kind=kind, reason=reason))
    return sizes, findings


def family_roots(originals: Mapping[str, str]) -> dict[str, str]:
    """Fake -> the end of its chain of originals; where a chain runs in a circle, the circle's least name."""
    roots: dict[str, str] = {}
    for start in originals:
        chain: dict[str, int] = {}
        name = start
        while name in originals and name not in roots and name not in chain:
            chain[name] = len(chain)
            name = originals[name]
        root = min(list(chain)[chain[name] :]) if name in chain else roots.get(name, name)
        roots |= dict.fromkeys(chain, root)
    return roots


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
