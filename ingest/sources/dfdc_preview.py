"""Reader of the DFDC preview: originals of 66 people and fakes by two methods, listed in dataset.json."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from posixpath import basename, dirname, join
from typing import Final

from semblance.ingest.sources import base
from semblance.ingest.sources.base import IN_ROOT, Coverage, Discovery, Source, SourceConfig
from semblance.ingest.sources.entries import Repeated, bad_row, read_or_note, short
from semblance.ingest.sources.registry import register
from semblance.manifests.datasets.dfdc_preview import INFO
from semblance.manifests.errors import SemblanceError
from semblance.manifests.ids import make_video_id
from semblance.manifests.records import PRISTINE, SourceFinding, Video
from semblance.manifests.storage import Stat

METADATA: Final = "dataset.json"
SUFFIX: Final = ".mp4"
ORIGINALS: Final = "original_videos"
_METHOD: Final = re.compile(r"method_[A-Za-z0-9]+")
_REAL_NAME: Final = re.compile(r"([0-9]+)_.+")  # <id>_<context>_<nnn>
_FAKE_NAME: Final = re.compile(r"([0-9]+)_(([0-9]+)_.+)")  # <swapped>_<target>_<context>_<nnn>
_ADVICE: Final = f"copy {METADATA} from the dataset again"
Key = tuple[str, str]  # top folder and stem of a video, in dataset.json and on disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A usable row of dataset.json; ``split`` is its set, ``target`` and ``donor`` are numbers of people."""

    fake: bool
    split: str | None
    target: str | None
    donor: str | None
    augmented: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The content of a video's name: the stem of its original (its own for a real) and the people."""

    original: str | None = None
    target: str | None = None
    donor: str | None = None


@dataclass(slots=True, kw_only=True)
class Listed:
    """The rows of all dataset.json: the usable ones, the expected path of each, and findings about the others."""

    readable: bool
    rows: dict[Key, Row]
    places: dict[Key, str]
    findings: list[SourceFinding]


@register
class DfdcPreview(Source):
    """The reader of the preview dataset's layout."""

    info = INFO

    def discover(self, root: str, files: Sequence[Stat], config: SourceConfig = IN_ROOT) -> Discovery:
        """Videos and findings below ``root``; videos are recognised by their top folder and name, at any depth.

        Raises SemblanceError if there is no video or no readable dataset.json, or if two files have the same id.
        """
        del config  # the only side table is in the dataset
        sizes, findings = base.sift(files)
        paths = sorted(path for path in sizes if path.lower().endswith(SUFFIX))
        if not paths:
            raise SemblanceError(f"No mp4 file below {root}; pass the folder that contains {ORIGINALS}/.")
        tables = sorted(path for path in sizes if basename(path) == METADATA)
        listed = _read(root, tables)
        if not listed.readable:
            raise SemblanceError(f"No {METADATA} below {root} is readable, so no video has a label; {_ADVICE}.")
        there = [_there(path, sizes[path], listed.rows.get(_key(path))) for path in paths]
        known = {_key(path) for path in paths}
        missing = [
            replace(
                _video(place, key, listed.rows[key]),
                fault="missing",
                fault_note=f"listed in {METADATA}, but the file is missing; get it again or remove the row",
            )
            for key, place in sorted(listed.places.items())
            if key in listed.rows and key not in known
        ]
        return base.discovery(
            [*there, *missing],
            [*findings, *listed.findings, *base.others(sizes.keys() - set(paths) - set(tables))],
            _facts([*there, *missing], listed.rows),
            coverage=_coverage(there),
        )


def _read(root: str, tables: Iterable[str]) -> Listed:
    """The rows of all tables; a video with contradictory rows has none."""
    listed = Listed(readable=False, rows={}, places={}, findings=[])
    found: dict[Key, list[tuple[Row, str, str]]] = defaultdict(list)  # row, its table, its key
    for path in tables:
        entries, finding = read_or_note(root, path, "labels, sets and people", _ADVICE)
        listed.findings.append(finding)
        listed.readable |= entries is not None
        for name, value in entries or ():
            place = name if name.lower().endswith(SUFFIX) else name + SUFFIX
            if not _is_plain(place):
                listed.findings.append(bad_row(path, name, "is not a plain path of an mp4 file"))
                continue
            row, notes = _row(_key(place), value)
            listed.findings += [bad_row(path, name, note) for note in notes]
            if row is not None:
                found[_key(place)].append((row, path, name))
                here = join(dirname(path), place)
                listed.places[_key(place)] = min(here, listed.places.get(_key(place), here))
    for key, rows in sorted(found.items()):
        tables_of = Counter(path for _, path, _ in rows)
        name = min(name for _, _, name in rows)
        if len({row for row, _, _ in rows}) > 1:
            reason = "occurs twice with different values, so its video is unlabelled"
            listed.findings += [bad_row(path, name, reason) for path in sorted(tables_of)]
        else:
            listed.rows[key] = rows[0][0]
            listed.findings += [
                bad_row(path, name, f"occurs {count} times with the same values")
                for path, count in sorted(tables_of.items())
                if count > 1
            ]
    return listed


def _row(key: Key, value: object) -> tuple[Row | None, list[str]]:
    """The row, None without a reliable label, and everything that is wrong with it."""
    if isinstance(value, Repeated):
        return None, ["has a key twice"]
    if not isinstance(value, dict):
        return None, ["is not an object"]
    label = value.get("label")
    if not isinstance(label, str) or label.lower() not in ("real", "fake"):
        return None, ["has no label" if label is None else f"label {short(label)} is neither real nor fake"]
    fake = label.lower() == "fake"
    if fake != (key[0] != ORIGINALS) and (key[0] == ORIGINALS or _METHOD.fullmatch(key[0])):
        return None, [f"is labelled {label.lower()}, but is in {key[0]}, so its video is unlabelled"]
    notes = []
    split = value.get("set")
    if split is not None and not (isinstance(split, str) and split.lower() in ("train", "test")):
        notes.append(f"set {short(split)} is neither train nor test, so it is unknown")
        split = None
    names = _names(key, fake)
    target = _person(value, "target_id", names.target, notes)
    donor = _person(value, "swapped_id", names.donor, notes) if fake else None
    if not fake and value.get("swapped_id") not in (None, value.get("target_id")):
        notes.append("is real, but has a swapped_id, which is not used")
    augmentations = value.get("augmentations")
    if not isinstance(augmentations, list | None):
        notes.append(f"augmentations {short(augmentations)} is not a list")
    row = Row(fake=fake, split=split and split.lower(), target=target, donor=donor, augmented=bool(augmentations))
    return row, notes


def _person(row: Mapping[str, object], column: str, named: str | None, notes: list[str]) -> str | None:
    """The person's number from the row, else from the name; None if the two contradict each other."""
    value = row.get(column)
    if value is None:
        return named
    number = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not (number.isascii() and number.isdigit()):
        notes.append(f"{column} {short(value)} is not a number of a person")
        return named
    number = number.lstrip("0") or "0"
    if named is not None and number != named:
        notes.append(f"{column} {short(number)} differs from the {named} in its name, so the person is unknown")
        return None
    return number


def _names(key: Key, fake: bool) -> Names:
    """The content of the name of a real or fake video."""
    top, stem = key
    if not fake:
        match = _REAL_NAME.fullmatch(stem)
        return Names(original=stem, target=_number(match[1]) if match else None)
    match = _FAKE_NAME.fullmatch(stem)
    if match is None or top == ORIGINALS:
        return Names()
    return Names(original=match[2], target=_number(match[3]), donor=_number(match[1]))


def _number(digits: str) -> str:
    return digits.lstrip("0") or "0"


def _is_plain(path: str) -> bool:
    """Whether the path can be in the dataset: relative, nothing hidden, no ``..``, no control characters."""
    return path.isprintable() and "\\" not in path and all(part[:1] not in ("", ".") for part in path.split("/"))


def _key(path: str) -> Key:
    """The top folder (one of the dataset's, if the path has one) and the stem."""
    *folders, file = path.split("/")
    top = next((name for name in folders if name == ORIGINALS or _METHOD.fullmatch(name)), "".join(folders[:1]))
    return top, file[: -len(SUFFIX)]


def _id(key: Key) -> str:
    """``dfdc_preview-method_A-<stem>``; the id ends in a hash for a folder that the dataset does not have."""
    if key[0] == ORIGINALS or _METHOD.fullmatch(key[0]):
        return make_video_id("dfdc_preview", *key)
    return make_video_id("dfdc_preview", "/".join(key))


def _there(path: str, size: int, row: Row | None) -> Video:
    """A file on disk, with its label or the reason for a missing one."""
    video = replace(_video(path, _key(path), row), bytes=size)
    if row is not None:
        return video
    return replace(video, fault="unlabelled", fault_note=f"{METADATA} has no usable row for it; {_ADVICE}")


def _video(path: str, key: Key, row: Row | None) -> Video:
    top = key[0]
    fake = row.fake if row else top != ORIGINALS
    original = _names(key, fake).original
    method = top if _METHOD.fullmatch(top) else None
    return Video(
        video_id=_id(key),
        path=path,
        dataset=INFO.name,
        part=top or "root",
        label=None if row is None else int(row.fake),
        method=None if row is None else method if row.fake else PRISTINE,
        family_id=_id((ORIGINALS, original)) if fake and original else _id(key),
        target_id=_person_id(row.target) if row else None,
        donor_id=_person_id(row.donor) if row else None,
        split_official=row.split if row else None,
    )


def _person_id(number: str | None) -> str | None:
    return make_video_id("dfdc_preview", number) if number else None


def _facts(videos: Sequence[Video], rows: Mapping[Key, Row]) -> dict[str, int]:
    there = {video.video_id: video for video in videos if video.fault != "missing"}
    fakes = [video for video in there.values() if video.label == 1]
    absent = sum(video.family_id not in there for video in fakes if video.family_id != video.video_id)
    return {
        base.ORIGINAL_ABSENT: absent,
        base.ORIGINAL_UNLABELLED: sum(
            video.family_id in there and there[video.family_id].label is None for video in fakes
        ),
        "fakes without an original in their name (each is its own family)": sum(
            video.family_id == video.video_id for video in fakes
        ),
        "videos of unknown method (in no method_ folder)": sum(video.method is None for video in fakes),
        "videos without a set": sum(
            video.label is not None and video.split_official is None for video in there.values()
        ),
        "listed videos that the authors degraded (column augmentations)": sum(row.augmented for row in rows.values()),
    }


def _coverage(there: Sequence[Video]) -> tuple[Coverage, ...]:
    """Labelled videos on disk compared with the full set (numbers of the dataset paper)."""
    labels = Counter(video.label for video in there)
    people = len(base.people_in(there))
    return base.covered(INFO, {"real videos": labels[0], "fake videos": labels[1], "people": people})
