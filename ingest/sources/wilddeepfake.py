"""WildDeepfake: sequences of faces that its authors cut out, in archives that are listed and never unpacked."""

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
from semblance.manifests.records import PRISTINE, SourceFinding, Video, make_video_id
from semblance.manifests.storage import Stat
from semblance.shards import tar

SUFFIXES: Final = (".tar.gz", ".tgz", ".tar")
PICTURE: Final = ".png"
_FOLDER: Final = re.compile(r"(real|fake)[ _-]+(train|test)", re.IGNORECASE)
_LABELS: Final = ("real", "fake")
_DIGITS: Final = re.compile(r"[0-9]{1,9}")


@dataclass(slots=True, kw_only=True)
class Listing:
    """What one archive holds: folder -> its pictures' names and sizes, and what was passed over, by reason."""

    sequences: dict[str, dict[str, int]] = field(default_factory=dict)
    odd: Counter[tuple[str, str]] = field(default_factory=Counter)  # kind and reason -> how often
    first: dict[tuple[str, str], str] = field(default_factory=dict)  # and the name that came first
    fault: str | None = None

    def pass_over(self, kind: str, reason: str, name: str) -> None:
        self.odd[kind, reason] += 1
        self.first.setdefault((kind, reason), name)


@register
class WildDeepfake(Source):
    """The reader of WildDeepfake's layout."""

    info = INFO

    def discover(self, root: str, files: Sequence[Stat], config: SourceConfig = IN_ROOT) -> Discovery:
        """A video for every folder of pictures in every archive below ``root``, and findings.

        Each archive is read once from front to back, headers alone where it is not packed. Raises SemblanceError
        where there is no archive, none holds a sequence, or one id stands for two.
        """
        sizes, findings = base.sift(files)
        archives = {path: place for path in sorted(sizes) if (place := _place(path)) is not None}
        if not archives:
            raise SemblanceError(
                f"There is no archive in a folder real_train, real_test, fake_train or fake_test below {root}; name "
                "the folder that holds them, and leave the archives packed."
            )
        videos: list[Video] = []
        pictures: dict[str, tuple[Picture, ...]] = {}
        facts: Counter[str] = Counter()
        for path, place in archives.items():
            listing = _list(storage.join(root, path), sizes[path], config.archive)
            findings += _findings(path, place[0], listing)
            found = _videos(path, place, listing)
            videos += found
            for video in found:
                shown = in_order(listing.sequences[video.member or ""])
                pictures[video.video_id] = shown
                facts["pictures in the sequences"] += len(shown)
                facts["sequences without a picture"] += not shown
                facts["sequences whose pictures have no numbers of their own (counted through instead)"] += any(
                    _number(name) != index for index, name in shown
                )
        if not videos:
            why = findings[0].reason if findings else "they are empty"
            raise SemblanceError(f"No archive below {root} holds a sequence of pictures ({why}); get them again.")
        return base.discovery(
            videos,
            [*findings, *base.others(sizes.keys() - archives.keys())],
            facts,
            coverage=base.covered(INFO, {"sequences": len(videos)}),
            pictures=pictures,
        )


def in_order(names: Iterable[str]) -> tuple[Picture, ...]:
    """Pictures by the numbers in their names, which are not padded; their frame indices are those numbers.

    Where a name is no number, or two are the same one, the indices count the pictures through.
    """
    ordered = sorted(names, key=lambda name: (_number(name) is None, _number(name) or 0, name))
    numbers = [number for name in ordered if (number := _number(name)) is not None]
    indices = numbers if len(set(numbers)) == len(ordered) else range(len(ordered))
    return tuple(zip(indices, ordered, strict=True))


def _number(name: str) -> int | None:
    stem = splitext(name)[0]
    return int(stem) if _DIGITS.fullmatch(stem) else None


Place = tuple[str, str, str]  # label, side and shard of an archive


def _place(path: str) -> Place | None:
    """What an archive's nearest folder called ``real_train`` or the like, and its own name, say."""
    suffix = next((one for one in SUFFIXES if path.lower().endswith(one)), None)
    folders = [match for part in dirname(path).split("/") if (match := _FOLDER.fullmatch(part))]
    if suffix is None or not folders:
        return None
    label, side = folders[-1].groups()
    return label.lower(), side.lower(), basename(path)[: -len(suffix)]


def _list(url: str, size: int, config: tar.ArchiveConfig) -> Listing:
    """The archive's sequences; what it holds before a fault is kept."""
    listing = Listing()
    taken: set[str] = set()
    try:
        with storage.reading(url) as file:
            for member in tar.read_foreign(file, size, config):
                _sort_in(member, listing, taken)
    except errors.ArchiveError as error:
        listing.fault = str(error)
    except OSError as error:
        raise SemblanceError(f"{url} is there but cannot be read ({error}); make it readable and try again.") from error
    return listing


def _sort_in(member: tar.Foreign, listing: Listing, taken: set[str]) -> None:
    """Put one member where it belongs. Of two with one name the first counts."""
    name = member.name
    parts = name.split("/")
    if member.refused is not None:
        listing.pass_over("refused_member", member.refused, name)
    elif any(part.startswith(".") or part == "__MACOSX" for part in parts):
        listing.pass_over("other", "hidden, or a by-product of macOS", name)
    elif member.folder:
        if parts[-2:-1] and parts[-2].lower() in _LABELS:
            listing.sequences.setdefault(name, {})
    elif len(parts) < 2 or not name.lower().endswith(PICTURE):
        listing.pass_over("other", f"no {PICTURE} file in a sequence's folder", name)
    elif name in taken:
        listing.pass_over("doubled_member", "its name occurs before; the first counts", name)
    else:
        taken.add(name)
        listing.sequences.setdefault(dirname(name), {})[parts[-1]] = member.size


def _findings(path: str, label: str, listing: Listing) -> list[SourceFinding]:
    """The archive's fault, and what was passed over in it, counted by reason."""
    found = []
    if listing.fault is not None:
        had = "what was listed until there is planned" if listing.sequences else "nothing of it can be planned"
        found.append(SourceFinding(path=path, kind="bad_archive", reason=f"{listing.fault}; {had}; get it again"))
    for (kind, reason), count in listing.odd.items():
        first = short(listing.first[kind, reason])
        members = "member" if count == 1 else "members"
        text = f"{count} {members} passed over: {reason}; the first is {first}"
        found.append(SourceFinding(path=path, kind=kind, reason=text))
    other = [folder for folder in listing.sequences if _inner_label(folder) not in (None, label)]
    if other:
        text = (
            f"{len(other)} of its sequences lie inside a folder {_inner_label(other[0])}, the first is "
            f"{short(other[0])}; its own folder says {label}, and wins"
        )
        found.append(SourceFinding(path=path, kind="label_disagrees", reason=text))
    return found


def _inner_label(folder: str) -> str | None:
    """The label that the path inside the archive tells, the one nearest to the sequence."""
    return next((part.lower() for part in reversed(folder.split("/")[:-1]) if part.lower() in _LABELS), None)


def _videos(path: str, place: Place, listing: Listing) -> list[Video]:
    """A video for every sequence; where two folders of an archive end in one name, the whole path names them."""
    label, side, shard = place
    ends = Counter(basename(folder) for folder in listing.sequences)
    family = make_video_id(INFO.name, f"{label}_{side}", shard)
    return [
        Video(
            video_id=make_video_id(
                INFO.name,
                f"{label}_{side}",
                shard,
                basename(folder) if ends[basename(folder)] == 1 else folder,
            ),
            path=path,
            member=folder,
            dataset=INFO.name,
            part=f"{label}_{side}",
            label=_LABELS.index(label),
            method=PRISTINE if label == "real" else None,
            family_id=family,
            split_official=side,
            bytes=sum(names.values()),
        )
        for folder, names in sorted(listing.sequences.items())
    ]
