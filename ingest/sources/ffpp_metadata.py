"""What FaceForensics++'s folders, names and lists say: method and compression, target and source, side, recording."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from semblance.ingest.sources.entries import Entry, bad_row, json_entries, json_list, short
from semblance.ingest.sources.lists import SideTable
from semblance.manifests.records import PRISTINE, SourceFinding

SUFFIX: Final = ".mp4"
REALS: Final = "original_sequences"
FAKES: Final = "manipulated_sequences"
SOURCES: Final = "downloaded_videos"  # the YouTube videos that the sequences were cut from
ACTORS: Final = "DeepFakeDetection"
PAIRED: Final = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
COMPRESSIONS: Final = ("raw", "c23", "c40")
_GROUPS: Final = {"youtube": "youtube", "actors": "actors"}
_METHODS: Final = {name.lower(): name for name in (*PAIRED, ACTORS)}
_COMPRESSION: Final = re.compile(r"raw|c[0-9]{1,2}")
_SEQUENCE: Final = re.compile(r"[0-9]{3}")
_PAIR: Final = re.compile(r"([0-9]{3})_([0-9]{3})")  # target (whose video it is), source (whose face or motion)
_SCENE: Final = re.compile(r"([0-9]{2})__(.+)")  # actor, scene
_SWAP: Final = re.compile(r"(([0-9]{2})_([0-9]{2}))__(.+)__[A-Z0-9]+")  # target, source, scene, a key
SPLITS: Final = {"train.json": "train", "val.json": "val", "test.json": "test"}
RECORDINGS: Final = "conversion_dict.json"
LISTS: Final = (*SPLITS, RECORDINGS)
FOLDERS: Final = ("", "splits", "dataset", "dataset/splits")  # the last are the authors' own
_YOUTUBE: Final = re.compile(r"([A-Za-z0-9_-]+) [0-9]+")  # the video's id may begin with "-"
ProtocolNotes = defaultdict[
    str, set[tuple[str, str]]
]  # name -> what is said of it, and the path of the list that says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a file's folders say. ``base``: the folders above. ``group``: youtube or actors of a real, the method of
    a fake, None for neither. ``compression``: raw, c23, c40 or None. ``mask``: it is the mask of the fake of its name.
    """

    base: str
    fake: bool
    group: str | None
    compression: str | None
    mask: bool
    stem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a file's name says: the original's stem, and the sequence or actor of target and donor."""

    original: str
    target: str
    donor: str | None = None
    acted: bool = False


# folders and names --------------------------------------------------------------------------------------------------


def place_of(path: str) -> Place | None:
    """What the folders of ``path`` say, at any depth; None outside ``original_sequences`` and its sister."""
    *folders, name = path.split("/")
    top = max((place for place, folder in enumerate(folders) if folder in (REALS, FAKES)), default=None)
    if top is None:
        return None
    fake, inner = folders[top] == FAKES, folders[top + 1 :]
    level = next((n for n, one in enumerate(inner) if one.lower() == "masks" or _compression(one)), None)
    before = [one for one in inner[:level] if one.lower() != "videos"]
    group = before[0] if before else ""
    known = (_METHODS if fake else _GROUPS).get(group.lower())
    return Place(
        base="/".join(folders[:top]),
        fake=fake,
        group=known or (group if fake and group.lower() != PRISTINE else "") or None,
        compression=_compression(inner[level]) if level is not None else None,
        mask=level is not None and inner[level].lower() == "masks",
        stem=name[: -len(SUFFIX)],
    )


def _compression(folder: str) -> str | None:
    """One spelling: ``raw`` is also called ``c0``."""
    name = folder.lower()
    return ("raw" if name == "c0" else name) if _COMPRESSION.fullmatch(name) else None


def names_of(place: Place) -> Names | None:
    """What the name says, None where it is not one that its folder can hold."""
    stem, group = place.stem, place.group
    if not place.fake:
        if group == "youtube" and _SEQUENCE.fullmatch(stem):
            return Names(original=stem, target=stem)
        match = _SCENE.fullmatch(stem) if group == "actors" else None
        return Names(original=stem, target=match[1], acted=True) if match else None
    if group != ACTORS and (match := _PAIR.fullmatch(stem)):
        return Names(original=match[1], target=match[1], donor=match[2])
    if group not in PAIRED and (match := _SWAP.fullmatch(stem)):
        return Names(original=f"{match[2]}__{match[4]}", target=match[2], donor=match[3], acted=True)
    return None


# lists --------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Lists:
    """What the lists say and nowhere contradict: the side of every pair and of every sequence, the YouTube video
    of every sequence. ``listed``: all sequences that a side's list names.
    """

    pairs: dict[str, str] = field(default_factory=dict)
    sequences: dict[str, str] = field(default_factory=dict)
    recordings: dict[str, str] = field(default_factory=dict)
    listed: dict[str, set[str]] = field(default_factory=dict)
    findings: list[SourceFinding] = field(default_factory=list)


def pair_of(one: str, other: str) -> str:
    """The pair's name: both fakes of the two sequences, by every method, are of it."""
    return f"{min(one, other)}_{max(one, other)}"


def read(tables: Iterable[SideTable]) -> Lists:
    """All lists together; what is broken, repeated or contradicted is a finding and says nothing."""
    lists = Lists()
    pairs, sides, recordings = ProtocolNotes(set), ProtocolNotes(set), ProtocolNotes(set)
    for table in tables:
        try:
            text = table.data.decode("utf-8-sig")
            if table.name == RECORDINGS:
                _read_recordings(table.path, json_entries(text), recordings, lists.findings)
                what = "read: which YouTube video gave which sequence"
            else:
                side = SPLITS[table.name]
                named = _read_pairs(table.path, side, json_list(text), pairs, lists.findings)
                lists.listed[side] = lists.listed.get(side, set()) | named
                what = f"read: the pairs of the published {side}"
        except ValueError as error:
            reason = f"cannot be read ({error}), so what it tells is unknown; take it from the dataset again"
            lists.findings.append(SourceFinding(path=table.path, kind="unreadable_metadata", reason=reason))
            continue
        lists.findings.append(SourceFinding(path=table.path, kind="metadata", reason=what))
    lists.pairs = dict(_sure(pairs, "so its videos have no published side", lists.findings))
    doubtful = {one for pair in pairs.keys() - lists.pairs.keys() for one in pair.split("_")}
    for pair in lists.pairs:
        for one in set(pair.split("_")) - doubtful:
            sides[one] |= pairs[pair]
    lists.sequences = dict(_sure(sides, "so the original has no published side", lists.findings))
    lists.recordings = dict(_sure(recordings, "so its recording is unknown", lists.findings))
    return lists


def _sure(said: ProtocolNotes, so: str, findings: list[SourceFinding]) -> Iterator[tuple[str, str]]:
    """What is said alike everywhere; a finding in each list for what is not."""
    for name, given in sorted(said.items()):
        values = sorted({value for value, _ in given})
        if len(values) == 1:
            yield name, values[0]
            continue
        reason = f"stands in {len(values)} ways ({', '.join(values)}), {so}"
        findings += [bad_row(path, name, reason) for path in sorted({path for _, path in given})]


def _read_pairs(
    path: str, side: str, items: Sequence[object], pairs: ProtocolNotes, findings: list[SourceFinding]
) -> set[str]:
    """Put every pair of one list on ``side``; gives the sequences that it names."""
    found: Counter[str] = Counter()
    for number, item in enumerate(items):
        both = (
            [one for one in item if isinstance(one, str) and _SEQUENCE.fullmatch(one)] if isinstance(item, list) else []
        )
        if not isinstance(item, list) or len(item) != 2 or len(set(both)) != 2:
            reason = f"item {number}: {short(item)} is no pair of two sequences, such as ['071', '054']"
            findings.append(SourceFinding(path=path, kind="bad_row", reason=reason))
            continue
        found[pair_of(*both)] += 1
    for pair in found:
        pairs[pair].add((side, path))
    findings += _repeats(path, found)
    return {one for pair in found for one in pair.split("_")}


def _read_recordings(
    path: str, entries: Sequence[Entry], recordings: ProtocolNotes, findings: list[SourceFinding]
) -> None:
    """Give every sequence its YouTube video; the value is ``<id> <index>``, split at the last blank."""
    found: Counter[str] = Counter()
    for name, value in entries:
        match = _YOUTUBE.fullmatch(value) if isinstance(value, str) else None
        if not _SEQUENCE.fullmatch(name):
            findings.append(bad_row(path, name, "is no number of a sequence, such as '000'"))
        elif match is None:
            findings.append(bad_row(path, name, f"{short(value)} is no YouTube video and index, so it is unknown"))
        else:
            found[name] += 1
            recordings[name].add((match[1], path))
    findings += _repeats(path, found)


def _repeats(path: str, found: Mapping[str, int]) -> list[SourceFinding]:
    return [bad_row(path, name, f"stands {count} times") for name, count in sorted(found.items()) if count > 1]
