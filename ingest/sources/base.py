"""The interface of dataset readers: the videos of a layout, and findings for everything else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, ClassVar, Final

from pydantic import Field

from semblance.manifests.config import Config
from semblance.manifests.datasets import Basis, DatasetInfo
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import SourceFinding, Video
from semblance.manifests.storage import Stat, Unlisted
from semblance.shards.tar import ArchiveConfig

_order: Final = attrgetter("path", "kind", "reason")
Picture = tuple[int, str]  # frame index, file name in the folder of its sequence


class SourceConfig(Config):
    """Where a dataset's side tables are, if they are not below the root.

    ``lists``: the folder or URL with the official split lists (``ffpp``: train.json, val.json, test.json and
    conversion_dict.json; ``celebdf``: List_of_testing_videos.txt). ``table``: a CSV or Parquet table of the
    user's own videos (``folder``). Both change the plan, so their content is part of the fingerprint.
    ``fps``: how many pictures a second there are of videos that are folders of pictures; None: unknown, and so are the
    times of their frames. ``archive``: limits for archives of the dataset (``wilddeepfake``).
    """

    lists: str | None = None
    table: str | None = None
    fps: float | None = Field(default=None, gt=0)
    archive: ArchiveConfig = ArchiveConfig()


VIDEO_SUFFIXES: Final = (  # containers and raw streams that FFmpeg reads, by cameras, televisions and the web
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".3gp", ".ogv", ".gif"),
    *(".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".m2t", ".tp", ".trp", ".tod", ".mod", ".vob", ".vro", ".m2p", ".mpe"),
    *(".mpeg1", ".mpeg2", ".mpeg4", ".mpg2", ".mpg4", ".mp4v", ".qt", ".f4v", ".3g2", ".lrv", ".insv", ".ismv"),
    *(".mk3d", ".asf", ".divx", ".xvid", ".ogm", ".ogx", ".dv", ".mxf", ".nut", ".wtv", ".rm", ".rmvb"),
    *(".m1v", ".m2v", ".mpv", ".mjpeg", ".mjpg", ".y4m", ".h264", ".264", ".h265", ".265", ".hevc", ".ivf"),
)
_RARE: Final = (  # of videos too: FFmpeg does not read them, or nobody has asked for them yet
    *(".360", ".amv", ".apng", ".av1", ".avc", ".avchd", ".avs", ".avs2", ".avs3", ".bik", ".bk2", ".braw", ".camrec"),
    *(".cavs", ".cpk", ".dav", ".dnxhd", ".dnxhr", ".drc", ".dvd", ".dvr", ".dvr-ms", ".evo", ".flc", ".fli", ".flic"),
    *(
        ".flm",
        ".gxf",
        ".h261",
        ".h263",
        ".h266",
        ".ifv",
        ".kux",
        ".m4s",
        ".mj2",
        ".mjp2",
        ".mlv",
        ".movie",
        ".mp2v",
        ".mpa",
    ),
    *(".mpegts", ".mpgv", ".mpv2", ".mqv", ".nsv", ".nuv", ".obu", ".psp", ".pva", ".r3d", ".rcv", ".roq", ".rv"),
    *(".smk", ".svi", ".swf", ".tivo", ".vc1", ".vc2", ".viv", ".vivo", ".vvc", ".wm", ".xmv", ".yuv"),
)
_UNFINISHED: Final = (".part", ".partial", ".crdownload", ".download", ".tmp")  # after the suffix, by browsers
SPLIT_NAMES: Final[Mapping[str, str]] = {  # what users call train, val and test, in lower case
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
NOT_LISTED: Final = "not_listed"  # the kind of finding for links and folders that were not read
SYNTHETIC: Final = ".semblance-demo.json"  # this file at the root marks invented people, made by `ingest demo`
IN_ROOT: Final = SourceConfig()  # all side tables are below the root
# Facts that several readers report.
ORIGINAL_ABSENT: Final = "fakes whose original is not on disk (detected without a guide)"
ORIGINAL_UNLABELLED: Final = "fakes whose original has no label (detected without a guide)"
ORIGINAL_UNNAMED: Final = "fakes without a named original (each is its own family)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of the full dataset is present: ``what`` in words, the number found, the full number."""

    what: str
    found: int
    full: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The files below a root. Every file is a planned video or has a finding.

    ``facts``: sentences with counts that are worth knowing but not errors. ``tables``: the side tables that were read,
    as (name, content hash), independent of their location. ``split_official`` of a video is the split published by the
    dataset's authors, None if there is none. ``identity_basis`` is set if the data, not the dataset, determines what
    its ids of people identify. ``pictures``: for a video that is a folder inside an archive, its pictures in time
    order.
    """

    videos: tuple[Video, ...]
    findings: tuple[SourceFinding, ...]
    facts: tuple[tuple[str, int], ...] = ()
    coverage: tuple[Coverage, ...] = ()
    tables: tuple[tuple[str, str], ...] = ()
    identity_basis: Basis | None = None
    pictures: Mapping[str, tuple[Picture, ...]] = field(default_factory=dict)


class Source(ABC):
    """A reader of one dataset's layout; ``info`` has the facts about the dataset."""

    info: ClassVar[DatasetInfo]

    @property
    def name(self) -> str:
        """The value of ``--dataset``."""
        return self.info.name

    @abstractmethod
    def discover(self, root: str, files: Sequence[Stat], config: SourceConfig = IN_ROOT) -> Discovery:
        """Plan the videos below ``root``; raises SemblanceError if there are none."""


def discovery(
    videos: Iterable[Video], findings: Iterable[SourceFinding], facts: Mapping[str, int], **more: Any
) -> Discovery:
    """A discovery in canonical order, independent of the order of the files; facts with count 0 are omitted.

    Raises SemblanceError if two files would have the same id.
    """
    videos = list(videos)
    refuse_collisions(videos)
    return Discovery(
        videos=tuple(sorted(videos, key=lambda video: video.video_id)),
        findings=tuple(sorted(findings, key=_order)),
        facts=tuple((sentence, count) for sentence, count in facts.items() if count),
        **more,
    )


def others(paths: Iterable[str], reason: str = "not part of the layout") -> list[SourceFinding]:
    """A finding for each file that is neither planned nor read."""
    return [SourceFinding(path=path, kind="other", reason=reason) for path in sorted(paths)]


def is_video(path: str) -> bool:
    """Whether the path's suffix is that of a video which is read."""
    return path.lower().endswith(VIDEO_SUFFIXES)


def looks_like_video(path: str) -> bool:
    """Whether the path's suffix is that of any video, read or not; so is that of a download which has not ended."""
    name = path.lower()
    for ending in _UNFINISHED:
        name = name.removesuffix(ending)
    return name.endswith((*VIDEO_SUFFIXES, *_RARE))


def unread_videos(findings: Iterable[SourceFinding]) -> list[SourceFinding]:
    """The findings for files that are not read although their suffix is that of a video."""
    return [finding for finding in findings if finding.kind == "other" and looks_like_video(finding.path)]


def with_unlisted(found: Discovery, unlisted: Iterable[Unlisted]) -> Discovery:
    """The discovery with a finding for each link and folder that was not read; hidden ones are no warnings."""
    findings = [
        SourceFinding(
            path=printable(one.path),
            kind="other" if _is_hidden(one.path) else NOT_LISTED,
            reason=printable(one.reason),
        )
        for one in unlisted
    ]
    return replace(found, findings=tuple(sorted([*found.findings, *findings], key=_order)))


def printable(text: str) -> str:
    """A name that can be stored in a table: what is not UTF-8 is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def covered(info: DatasetInfo, found: Mapping[str, int]) -> tuple[Coverage, ...]:
    """The numbers found, for each of the full dataset's counts."""
    return tuple(Coverage(what=what, found=found[what], full=full) for what, full in info.full.items())


def people_in(videos: Iterable[Video]) -> set[str]:
    """Every person who is a target or a donor."""
    return {person for video in videos for person in (video.target_id, video.donor_id) if person}


def refuse_collisions(videos: Iterable[Video]) -> None:
    """Raise SemblanceError if two files would have the same id."""
    seen: dict[str, str] = {}
    for video in videos:
        place = video.path if video.member is None else f"{video.path}/{video.member}"
        first = seen.setdefault(video.video_id, place)
        if first != place:
            raise SemblanceError(
                f"{first} and {place} would both be video {video.video_id}; remove or rename one of them."
            )


def sift(files: Iterable[Stat]) -> tuple[dict[str, int], list[SourceFinding]]:
    """Path -> bytes of the files that may belong to a dataset, and a finding for each that cannot.

    Hidden files and folders, and by-products of macOS (``._name``, ``__MACOSX``), are not data. Names that are not
    UTF-8 cannot be stored in a table and are escaped.
    """
    sizes, findings = {}, []
    for stat in files:
        if _is_hidden(stat.path):
            kind, reason = "other", "hidden, or a by-product of macOS"
        elif not _is_utf8(stat.path):
            kind, reason = "bad_name", "its name is not UTF-8; rename it"
        else:
            sizes[stat.path] = stat.bytes
            continue
        findings.append(SourceFinding(path=printable(stat.path), kind=kind, reason=reason))
    return sizes, findings


def family_roots(originals: Mapping[str, str]) -> dict[str, str]:
    """Fake -> the end of its chain of originals; for a cycle, its least name."""
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


def _is_hidden(path: str) -> bool:
    return any(name == "__MACOSX" or (name.startswith(".") and name != ".") for name in path.split("/"))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
