"""Reader of WildDeepfake: sequences of cut-out faces in archives, which are listed and never unpacked to disk."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from posixpath import basename, dirname, splitext
from typing import Final

from semblance.ingest.sources import base
from semblance.ingest.sources.base import IN_ROOT, Discovery, Picture, Source, SourceConfig
from semblance.ingest.sources.entries import short
from semblance.ingest.sources.registry import register
from semblance.manifests import errors, storage
from semblance.manifests.datasets.wilddeepfake import INFO
from semblance.manifests.errors import SemblanceError
from semblance.manifests.ids import make_video_id
from semblance.manifests.records import PRISTINE, SourceFinding, Video
from semblance.manifests.storage import Stat
from semblance.shards import tar

SUFFIXES: Final = (".tar.gz", ".tgz", ".tar")
PICTURE: Final = ".png"
_FOLDER: Final = re.compile(r"(real|fake)[ _-]+(train|test)", re.IGNORECASE)
_LABELS: Final = ("real", "fake")
_DIGITS: Final = re.compile(r"[0-9]{1,9}")


@dataclass(slots=True, kw_only=True)
class Listing:
    """The content of one archive: folder -> names and sizes of its pictures, and skipped members by reason."""

    sequences: dict[str, dict[str, int]] = field(default_factory=dict)
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)  # kind and reason -> count
    first: dict[tuple[str, str], str] = field(default_factory=dict)  # kind and reason -> the first name
    fault: str | None = None

    def skip(self, kind: str, reason: str, name: str) -> None:
        self.skipped[kind, reason] += 1
        self.first.setdefault((kind, reason), name)


@register
class WildDeepfake(Source):
    """The reader of WildDeepfake's layout."""

    info = INFO

    def discover(self, root: str, files: Sequence[Stat], config: SourceConfig = IN_ROOT) -> Discovery:
        """A video for every folder of pictures in every archive below ``root``, and findings.

        Each archive is read once sequentially; only headers are read if it is not compressed. Raises SemblanceError if
        there is no archive, if none has a sequence, or if two sequences have the same id.
        """
        sizes, findings = base.sift(files)
        archives = {path: place for path in sorted(sizes) if (place := _place(path)) is not None}
        if not archives:
            raise SemblanceError(
                f"No archive in a folder real_train, real_test, fake_train or fake_test below {root}; pass the folder "
                "that contains them, and do not unpack the archives."
            )
        videos: list[Video] = []
        pictures: dict[str, tuple[Picture, ...]] = {}
        facts: Counter[str] = Counter()
        for path, place in archives.items():
            listing = _list(storage.join(root, path), sizes[path], config.archive)
            findings += _findings(path, place[0], listing)
            sequences = _videos(path, place, listing)
            videos += sequences
            for video in sequences:
                shown = in_order(listing.sequences[video.member or ""])
                pictures[video.video_id] = shown
                facts["pictures in the sequences"] += len(shown)
                facts["sequences without a picture"] += not shown
                facts["sequences whose pictures have no distinct numbers (numbered consecutively instead)"] += any(
                    _number(name) != index for index, name in shown
                )
        if not videos:
            why = findings[0].reason if findings else "they are empty"
            raise SemblanceError(f"No archive below {root} has a sequence of pictures ({why}); get them again.")
        return base.discovery(
            videos,
            [*findings, *base.others(sizes.keys() - archives.keys())],
            facts,
            coverage=base.covered(INFO, {"sequences": len(videos)}),
            pictures=pictures,
        )


def in_order(names: Iterable[str]) -> tuple[Picture, ...]:
    """Pictures ordered by the numbers in their names, which are their frame indices.

    If a name is not a number, or a number occurs twice, the pictures are numbered consecutively.
    """
    ordered = sorted(names, key=lambda name: (_number(name) is None, _number(name) or 0, name))
    numbers = [number for name in ordered if (number := _number(name)) is not None]
    indices = numbers if len(set(numbers)) == len(ordered) else range(len(ordered))
    return tuple(zip(indices, ordered, strict=True))


def _number(name: str) -> int | None:
    stem = splitext(name)[0]
    return int(stem) if _DIGITS.fullmatch(stem) else None


Place = tuple[str, str, str]  # label, split and shard of an archive


def _place(path: str) -> Place | None:
    """Metadata from an archive's nearest folder, such as ``real_train``, and from its name."""
    suffix = next((ending for ending in SUFFIXES if path.lower().endswith(ending)), None)
    folders = [match for part in dirname(path).split("/") if (match := _FOLDER.fullmatch(part))]
    if suffix is None or not folders:
        return None
    label, split = folders[-1].groups()
    return label.lower(), split.lower(), basename(path)[: -len(suffix)]


def _list(url: str, size: int, config: tar.ArchiveConfig) -> Listing:
    """The archive's sequences, including those before a fault."""
    listing = Listing()
    taken: set[str] = set()
    try:
        with storage.reading(url) as file:
            for member in tar.read_foreign(file, size, config):
                _sort_in(member, listing, taken)
    except errors.ArchiveError as error:
        listing.fault = str(error)
    except OSError as error:
        raise SemblanceError(f"{url} exists but cannot be read ({error}); make it readable and try again.") from error
    return listing


def _sort_in(member: tar.Foreign, listing: Listing, taken: set[str]) -> None:
    """Add one member to the listing. Of two with the same name the first counts."""
    name = member.name
    parts = name.split("/")
    if member.refused is not None:
        listing.skip("refused_member", member.refused, name)
    elif any(part.startswith(".") or part == "__MACOSX" for part in parts):
        listing.skip("other", "hidden, or a by-product of macOS", name)
    elif member.folder:
        if parts[-2:-1] and parts[-2].lower() in _LABELS:
            listing.sequences.setdefault(name, {})
    elif len(parts) < 2 or not name.lower().endswith(PICTURE):
        listing.skip("other", f"not a {PICTURE} file in a sequence's folder", name)
    elif name in taken:
        listing.skip("doubled_member", "its name occurred before; the first counts", name)
    else:
        taken.add(name)
        listing.sequences.setdefault(dirname(name), {})[parts[-1]] = member.size


def _findings(path: str, label: str, listing: Listing) -> list[SourceFinding]:
    """Findings: the archive's fault, and skipped members counted by reason."""
    findings = []
    if listing.fault is not None:
        consequence = "sequences before it are planned" if listing.sequences else "nothing in it can be planned"
        findings.append(
            SourceFinding(path=path, kind="bad_archive", reason=f"{listing.fault}; {consequence}; get it again")
        )
    for (kind, reason), count in listing.skipped.items():
        first = short(listing.first[kind, reason])
        members = "member" if count == 1 else "members"
        text = f"{count} {members} skipped: {reason}; the first is {first}"
        findings.append(SourceFinding(path=path, kind=kind, reason=text))
    mismatched = [folder for folder in listing.sequences if _inner_label(folder) not in (None, label)]
    if mismatched:
        text = (
            f"{len(mismatched)} of its sequences are in a folder {_inner_label(mismatched[0])}, the first is "
            f"{short(mismatched[0])}; the label {label} of the archive's folder is used"
        )
        findings.append(SourceFinding(path=path, kind="label_disagrees", reason=text))
    return findings


def _inner_label(folder: str) -> str | None:
    """The label in the path inside the archive, nearest to the sequence."""
    return next((part.lower() for part in reversed(folder.split("/")[:-1]) if part.lower() in _LABELS), None)


def _videos(path: str, place: Place, listing: Listing) -> list[Video]:
    """A video for every sequence; if two folders of an archive have the same name, ids use the full path."""
    label, split, shard = place
    ends = Counter(basename(folder) for folder in listing.sequences)
    family = make_video_id(INFO.name, f"{label}_{split}", shard)
    return [
        Video(
            video_id=make_video_id(
                INFO.name,
                f"{label}_{split}",
                shard,
                basename(folder) if ends[basename(folder)] == 1 else folder,
            ),
            path=path,
            member=folder,
            dataset=INFO.name,
            part=f"{label}_{split}",
            label=_LABELS.index(label),
            method=PRISTINE if label == "real" else None,
            family_id=family,
            split_official=split,
            bytes=sum(names.values()),
        )
        for folder, names in sorted(listing.sequences.items())
    ]
