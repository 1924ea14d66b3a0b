"""DFDC: train parts, the 400-video sample, validation and test, in all the spellings that people have."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Final

from ingest.sources.base import Datasheet, Discovery, refuse_collisions
from manifests import storage
from manifests.records import PRISTINE, Finding, SemblanceError, Video, make_video_id
from manifests.storage import Stat

METADATA: Final = ("metadata.json", "labels.csv")
_TRAIN_PART: Final = re.compile(r"dfdc_train_part_0*(\d+)$")
_ADVICE: Final = "take metadata.json or labels.csv from the dataset again"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A usable row of metadata: is the file fake, and which original does it name?"""

    fake: bool
    original: str | None = None


@dataclass(slots=True, kw_only=True)
class _Part:
    """A folder with metadata: its rows by file name, and what was wrong with the others."""

    folder: str
    readable: bool
    rows: dict[str, _Row]
    findings: list[Finding]


class Dfdc:
    """The reader of DFDC's layout."""

    name = "dfdc"
    identity_note = (
        "DFDC publishes no actor ids: 486 people appear in 19,154 real clips, about 39 each. The family split keeps "
        "an original with its fakes and promises nothing about people; with the whole set about 98 % of the people "
        "stand in both train and test."
    )
    datasheet = Datasheet(
        title="Deepfake Detection Challenge dataset (DFDC)",
        homepage="https://ai.meta.com/datasets/dfdc/",
        citation="Dolhansky et al., The DeepFake Detection Challenge (DFDC) Dataset, arXiv:2006.07397, 2020.",
        terms=(
            "Given out under the challenge's data agreement: the videos and pictures made from them, such as these "
            "crops, may not be passed on to others."
        ),
        consent="Paid actors who agreed in writing to the use and manipulation of their likeness (dataset paper).",
        known_leaks=(
            "No identities are published, so the same people stand on all sides of any split that the metadata allows."
        ),
        label_noise=(
            "Some fakes changed only the sound, according to third parties; in videos with several faces often one "
            "alone is altered. Column face_label names the altered face where the difference to the original shows it."
        ),
        intended_use="Research on the detection of manipulated faces in video.",
        unintended_use="Identifying people, or training generators of their likeness.",
    )

    def discover(self, root: str, files: Sequence[Stat]) -> Discovery:
        """Videos and findings below ``root``.

        A folder with metadata.json or labels.csv is a part; its videos lie in it or in a folder ``videos``
        in it. Raises SemblanceError where there is no video, no readable metadata, or one id for two files.
        """
        sizes = {stat.path: stat.bytes for stat in files}
        videos = {path for path in sizes if _is_video(path)}
        if not videos:
            raise SemblanceError(f"There is no mp4 file below {root}; name the folder that holds the DFDC parts.")
        parts = {
            str(PurePosixPath(path).parent): _read_part(root, path)
            for path in sorted(sizes)
            if PurePosixPath(path).name in METADATA
        }
        if not any(part.readable for part in parts.values()):
            raise SemblanceError(
                f"No metadata.json or labels.csv below {root} is readable, so no video has a label; {_ADVICE}."
            )
        planned = [*_labelled(parts, videos, sizes)]
        known = {video.path for video in planned}
        planned += [_unlabelled(path, sizes[path], parts) for path in sorted(videos - known)]
        refuse_collisions(planned)
        findings = [finding for part in parts.values() for finding in part.findings]
        planned, chained, facts = _with_families(planned, parts)
        named = known | videos | {finding.path for finding in findings}
        rest = [
            Finding(path=path, kind="other", reason="not part of the DFDC layout: left alone")
            for path in sorted(sizes.keys() - named)
        ]
        return Discovery(
            videos=tuple(sorted(planned, key=lambda video: video.video_id)),
            findings=tuple(sorted([*findings, *chained, *rest], key=lambda one: (one.path, one.kind, one.reason))),
            facts=facts,
        )


def _is_video(path: str) -> bool:
    name = PurePosixPath(path).name
    return name.lower().endswith(".mp4") and not name.startswith(".")


def _read_part(root: str, path: str) -> _Part:
    """The rows of one metadata file; whatever does not fit is a finding."""
    folder = str(PurePosixPath(path).parent)
    try:
        text = storage.read_bytes(storage.join(root, path)).decode("utf-8-sig")
        entries = list(_csv_rows(text) if path.endswith(".csv") else _json_rows(text))
    except (ValueError, OSError, csv.Error, RecursionError) as error:
        reason = f"cannot be read ({str(error).splitlines()[0]}); its folder's videos are unlabelled; {_ADVICE}"
        return _Part(
            folder=folder,
            readable=False,
            rows={},
            findings=[Finding(path=path, kind="unreadable_metadata", reason=reason)],
        )
    part = _Part(
        folder=folder,
        readable=True,
        rows={},
        findings=[Finding(path=path, kind="metadata", reason="read: labels of the videos in its folder")],
    )
    for name, value in entries:
        row = _row(name, value)
        if isinstance(row, str):
            part.findings.append(Finding(path=path, kind="bad_row", reason=f"row {name!r}: {row}"))
        elif part.rows.get(name, row) != row:
            del part.rows[name]
            part.findings.append(Finding(path=path, kind="bad_row", reason=f"row {name!r}: stands twice and differs"))
        else:
            part.rows[name] = row
    return part


def _json_rows(text: str) -> Iterator[tuple[str, object]]:
    """Name and value of every entry, also of those that a JSON object repeats."""

    def pairs(found: list[tuple[str, object]]) -> object:
        return found

    outer = json.loads(text, object_pairs_hook=pairs)
    if not isinstance(outer, list) or not all(isinstance(entry, tuple) for entry in outer):
        raise ValueError("the file holds no JSON object")
    for name, value in outer:
        pairs_inside = isinstance(value, list) and all(isinstance(entry, tuple) for entry in value)
        yield name, dict(value) if pairs_inside else value


def _csv_rows(text: str) -> Iterator[tuple[str, object]]:
    reader = csv.DictReader(io.StringIO(text))
    if not {"filename", "label"} <= set(reader.fieldnames or ()):
        raise ValueError("the first line does not name the columns filename and label")
    for row in reader:
        value = row["label"]
        yield row["filename"] or "", {"is_fake": int(value) if value in ("0", "1") else value}


def _row(name: str, value: object) -> _Row | str:
    """The row, or what is wrong with it."""
    if not _is_plain(name):
        return "is no plain name of an mp4 file"
    if not isinstance(value, Mapping):
        return "holds no object"
    original = value.get("original")
    if original is not None and not (isinstance(original, str) and _is_plain(original)):
        return f"original {original!r} is no plain name of an mp4 file"
    fake = _fake(value)
    if fake is None:
        return f"label {value.get('label', value.get('is_fake'))!r} is neither REAL nor FAKE, neither 0 nor 1"
    return _Row(fake=fake, original=original if fake else None)


def _fake(value: Mapping[str, Any]) -> bool | None:
    label, number = value.get("label"), value.get("is_fake")
    if isinstance(label, str) and label.upper() in ("REAL", "FAKE"):
        return label.upper() == "FAKE"
    if isinstance(number, int) and number in (0, 1):
        return bool(number)
    return None


def _is_plain(name: str) -> bool:
    return name.isprintable() and not set(name) & set("/\\") and _is_video(name)


def _labelled(parts: Mapping[str, _Part], videos: set[str], sizes: Mapping[str, int]) -> Iterator[Video]:
    """Every usable row as a video, there or missing."""
    for folder, part in sorted(parts.items()):
        for name, row in part.rows.items():
            direct = str(PurePosixPath(folder) / name)
            nested = str(PurePosixPath(folder) / "videos" / name)
            path = nested if direct not in videos and nested in videos else direct
            video = _video(path, folder, label=int(row.fake), method=None if row.fake else PRISTINE)
            if path in videos:
                yield replace(video, bytes=sizes[path])
            else:
                note = "listed in the metadata, but the file is not there; get it again or remove the row"
                yield replace(video, fault="missing", fault_note=note)


def _unlabelled(path: str, size: int, parts: Mapping[str, _Part]) -> Video:
    folder = str(PurePosixPath(path).parent)
    if folder not in parts and PurePosixPath(folder).name == "videos":
        folder = str(PurePosixPath(folder).parent)
    part = parts.get(folder)
    if part is None:
        note = f"its folder has neither {METADATA[0]} nor {METADATA[1]}"
    elif not part.readable:
        note = "the metadata of its folder cannot be read"
    else:
        note = "the metadata of its folder has no usable row for it"
    video = _video(path, folder, label=None, method=None)
    return replace(video, bytes=size, fault="unlabelled", fault_note=f"{note}; {_ADVICE}")


def _video(path: str, folder: str, *, label: int | None, method: str | None) -> Video:
    video_id = make_video_id("dfdc", PurePosixPath(path).stem)
    return Video(
        video_id=video_id,
        path=path,
        dataset="dfdc",
        part=part_name(folder),
        label=label,
        method=method,
        family_id=video_id,
    )


def part_name(folder: str) -> str:
    """One spelling for a part: ``train_07``, ``train_sample``, ``validation``, ``test``, or the folder's own."""
    name = PurePosixPath(folder).name
    if match := _TRAIN_PART.search(name):
        return f"train_{int(match[1]):02d}"
    return {"train_sample_videos": "train_sample", "": "root"}.get(name, name)


def _with_families(
    videos: Sequence[Video], parts: Mapping[str, _Part]
) -> tuple[list[Video], list[Finding], tuple[tuple[str, int], ...]]:
    """Join every fake to the family of the original that it names, there or not."""
    originals = {
        make_video_id("dfdc", PurePosixPath(name).stem): make_video_id("dfdc", PurePosixPath(row.original).stem)
        for part in parts.values()
        for name, row in part.rows.items()
        if row.original is not None
    }
    reals = {video.video_id for video in videos if video.label == 0}
    there = {video.video_id for video in videos if video.label == 0 and video.fault is None}
    joined, findings, absent = [], [], 0
    for video in videos:
        if video.video_id in originals and video.label == 1:
            named = originals[video.video_id]
            if named in originals and named not in reals:
                reason = (
                    f"{PurePosixPath(video.path).name} names {named.removeprefix('dfdc-')}.mp4 as its original, a fake"
                )
                findings.append(Finding(path=video.path, kind="bad_original", reason=reason))
            absent += named not in there
            video = replace(video, family_id=_root(named, originals))
        joined.append(video)
    facts = (("fakes whose original is not on disk (they are detected on their own)", absent),) if absent else ()
    return joined, findings, facts


def _root(name: str, originals: Mapping[str, str]) -> str:
    """Follow originals of originals to the end; where they go in a circle, the least name of it."""
    seen = [name]
    while (name := originals.get(name, name)) not in seen:
        seen.append(name)
    return name if originals.get(name, name) == name else min(seen[seen.index(name) :])
