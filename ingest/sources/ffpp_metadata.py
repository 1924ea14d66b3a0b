"""Metadata of FaceForensics++ from its folders, names and lists: method, target, source, split, recording."""

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
SOURCES: Final = "downloaded_videos"  # the YouTube videos of the sequences
ACTORS: Final = "DeepFakeDetection"
PAIRED: Final = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
COMPRESSIONS: Final = ("raw", "c23", "c40")
_GROUPS: Final = {"youtube": "youtube", "actors": "actors"}
_METHODS: Final = {name.lower(): name for name in (*PAIRED, ACTORS)}
_FLAT_REALS: Final = ("original", "originals")  # of copies with one folder for each method, as on Kaggle
_NAMED: Final = re.compile(r"(?<![a-z0-9])(raw|c0|c23|c40)(?![a-z0-9])", re.IGNORECASE)  # FaceForensics++_C23
_COMPRESSION: Final = re.compile(r"raw|c[0-9]{1,2}")
_SEQUENCE: Final = re.compile(r"[0-9]{3}")
_PAIR: Final = re.compile(r"([0-9]{3})_([0-9]{3})")  # target (whose video it is), source (whose face or motion)
_SCENE: Final = re.compile(r"([0-9]{2})__(.+)")  # actor, scene
_SWAP: Final = re.compile(r"(([0-9]{2})_([0-9]{2}))__(.+)__[A-Z0-9]+")  # target, source, scene, a key
SPLITS: Final = {"train.json": "train", "val.json": "val", "test.json": "test"}
RECORDINGS: Final = "conversion_dict.json"
LISTS: Final = (*SPLITS, RECORDINGS)
FOLDERS: Final = ("", "splits", "dataset", "dataset/splits")  # the last are those of the authors
_YOUTUBE: Final = re.compile(r"([A-Za-z0-9_-]+) [0-9]+")  # the video's id may begin with "-"
Claims = defaultdict[str, set[tuple[str, str]]]  # name -> values, each with the path of the list that has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Metadata from a file's folders.

    ``base``: the folders above. ``group``: youtube or actors for a real, the method for a fake, else None.
    ``compression``: raw, c23, c40 or None. ``mask``: the file is the mask of the fake with its name.
    """

    base: str
    fake: bool
    group: str | None
    compression: str | None
    mask: bool
    stem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Metadata from a file's name: the stem of the original, and the sequence or actor of target and donor."""

    original: str
    target: str
    donor: str | None = None
    acted: bool = False


# folders and names --------------------------------------------------------------------------------------------------


def place_of(path: str, root: str = "") -> Place | None:
    """Metadata from the folders of ``path``, at any depth; None outside ``REALS`` and ``FAKES``.

    Copies without these two have one folder for each method and one for the originals; a folder above them, or
    ``root``, may name the compression.
    """
    *folders, name = path.split("/")
    top = max((place for place, folder in enumerate(folders) if folder in (REALS, FAKES)), default=None)
    if top is None:
        return _flat_place(root, folders, name)
    fake, inner = folders[top] == FAKES, folders[top + 1 :]
    level = next((n for n, folder in enumerate(inner) if folder.lower() == "masks" or _compression(folder)), None)
    before = [folder for folder in inner[:level] if folder.lower() != "videos"]
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


def _flat_place(root: str, folders: list[str], name: str) -> Place | None:
    """Metadata from ``FaceForensics++_C23/Deepfakes/000_003.mp4``."""
    group = folders[-1].lower() if folders else ""
    if group not in (*_METHODS, *_FLAT_REALS):
        return None
    stem = name[: -len(SUFFIX)]
    real = "actors" if _SCENE.fullmatch(stem) else "youtube"
    levels = [match[1] for folder in (root, *folders[:-1]) for match in _NAMED.finditer(folder)]
    return Place(
        base="/".join(folders[:-1]),
        fake=group in _METHODS,
        group=_METHODS.get(group, real),
        compression=_compression(levels[-1]) if levels else None,
        mask=False,
        stem=stem,
    )


def _compression(folder: str) -> str | None:
    """One spelling: ``raw`` is also called ``c0``."""
    name = folder.lower()
    return ("raw" if name == "c0" else name) if _COMPRESSION.fullmatch(name) else None


def names_of(place: Place) -> Names | None:
    """Metadata from the name; None if it does not fit its folder."""
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
    """The consistent content of all lists: the split of every pair and sequence, the YouTube video of every sequence.

    ``listed``: all sequences in the list of a split.
    """

    pairs: dict[str, str] = field(default_factory=dict)
    sequences: dict[str, str] = field(default_factory=dict)
    recordings: dict[str, str] = field(default_factory=dict)
    listed: dict[str, set[str]] = field(default_factory=dict)
    findings: list[SourceFinding] = field(default_factory=list)


def pair_of(a: str, b: str) -> str:
    """The name of a pair of sequences, which covers the fakes in both directions by all methods."""
    return f"{min(a, b)}_{max(a, b)}"


def read(tables: Iterable[SideTable]) -> Lists:
    """The content of all lists; invalid, repeated and contradictory entries are findings and are not used."""
    lists = Lists()
    pairs, splits, recordings = Claims(set), Claims(set), Claims(set)
    for table in tables:
        try:
            text = table.data.decode("utf-8-sig")
            if table.name == RECORDINGS:
                _read_recordings(table.path, json_entries(text), recordings, lists.findings)
                what = "read: which YouTube video gave which sequence"
            else:
                split = SPLITS[table.name]
                named = _read_pairs(table.path, split, json_list(text), pairs, lists.findings)
                lists.listed[split] = lists.listed.get(split, set()) | named
                what = f"read: the pairs of the published {split}"
        except ValueError as error:
            reason = f"cannot be read ({error}), so its content is unknown; copy it from the dataset again"
            lists.findings.append(SourceFinding(path=table.path, kind="unreadable_metadata", reason=reason))
            continue
        lists.findings.append(SourceFinding(path=table.path, kind="metadata", reason=what))
    lists.pairs = dict(_consistent(pairs, "so its videos have no published split", lists.findings))
    doubtful = {sequence for pair in pairs.keys() - lists.pairs.keys() for sequence in pair.split("_")}
    for pair in lists.pairs:
        for sequence in set(pair.split("_")) - doubtful:
            splits[sequence] |= pairs[pair]
    lists.sequences = dict(_consistent(splits, "so the original has no published split", lists.findings))
    lists.recordings = dict(_consistent(recordings, "so its recording is unknown", lists.findings))
    return lists


def _consistent(claims: Claims, consequence: str, findings: list[SourceFinding]) -> Iterator[tuple[str, str]]:
    """Entries with the same value everywhere; a finding in each list for the others."""
    for name, given in sorted(claims.items()):
        values = sorted({value for value, _ in given})
        if len(values) == 1:
            yield name, values[0]
            continue
        reason = f"has {len(values)} different values ({', '.join(values)}), {consequence}"
        findings += [bad_row(path, name, reason) for path in sorted({path for _, path in given})]


def _read_pairs(
    path: str, split: str, items: Sequence[object], pairs: Claims, findings: list[SourceFinding]
) -> set[str]:
    """Add ``split`` for every pair of one list; returns its sequences."""
    found: Counter[str] = Counter()
    for number, item in enumerate(items):
        both = (
            [name for name in item if isinstance(name, str) and _SEQUENCE.fullmatch(name)]
            if isinstance(item, list)
            else []
        )
        if not isinstance(item, list) or len(item) != 2 or len(set(both)) != 2:
            reason = f"item {number}: {short(item)} is not a pair of two sequences, such as ['071', '054']"
            findings.append(SourceFinding(path=path, kind="bad_row", reason=reason))
            continue
        found[pair_of(*both)] += 1
    for pair in found:
        pairs[pair].add((split, path))
    findings += _repeats(path, found)
    return {sequence for pair in found for sequence in pair.split("_")}


def _read_recordings(path: str, entries: Sequence[Entry], recordings: Claims, findings: list[SourceFinding]) -> None:
    """Add the YouTube video of every sequence; the value is ``<id> <index>``, split at the last space."""
    found: Counter[str] = Counter()
    for name, value in entries:
        match = _YOUTUBE.fullmatch(value) if isinstance(value, str) else None
        if not _SEQUENCE.fullmatch(name):
            findings.append(bad_row(path, name, "is not the number of a sequence, such as '000'"))
        elif match is None:
            findings.append(bad_row(path, name, f"{short(value)} is not a YouTube video and index, so it is unknown"))
        else:
            found[name] += 1
            recordings[name].add((match[1], path))
    findings += _repeats(path, found)


def _repeats(path: str, found: Mapping[str, int]) -> list[SourceFinding]:
    return [bad_row(path, name, f"occurs {count} times") for name, count in sorted(found.items()) if count > 1]
