"""Reader of FaceForensics++, complete or in parts, with FaceShifter and DeepFakeDetection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from posixpath import basename, join
from typing import Final

from semblance.ingest.sources import base, ffpp_metadata, lists
from semblance.ingest.sources.base import IN_ROOT, Coverage, Discovery, Source, SourceConfig
from semblance.ingest.sources.ffpp_metadata import (
    ACTORS,
    COMPRESSIONS,
    FAKES,
    FOLDERS,
    LISTS,
    PAIRED,
    REALS,
    RECORDINGS,
    SOURCES,
    SPLITS,
    SUFFIX,
    Lists,
    Names,
    Place,
    names_of,
    pair_of,
    place_of,
)
from semblance.ingest.sources.registry import register
from semblance.manifests.datasets import Basis
from semblance.manifests.datasets.ffpp import INFO
from semblance.manifests.errors import SemblanceError
from semblance.manifests.ids import make_video_id
from semblance.manifests.records import PRISTINE, SourceFinding, Video
from semblance.manifests.storage import Stat

_FULL: Final = INFO.full
_OTHER: Final = "nothing that is read of the layout"
_WHERE: Final = ("ROOT", *(f"ROOT/{folder}" for folder in FOLDERS if folder), "source.lists")
_MASKED: Final = (*(name for name in PAIRED if name != "FaceShifter"), ACTORS)  # FaceShifter has no masks


@register
class Ffpp(Source):
    """The reader of FaceForensics++'s layout."""

    info = INFO

    def discover(self, root: str, files: Sequence[Stat], config: SourceConfig = IN_ROOT) -> Discovery:
        """Videos and findings below ``root``; videos are recognised by their folders' names, at any depth.

        Raises SemblanceError if there is no video of the dataset, if two files have the same id, or if ``config.lists``
        has no list.
        """
        sizes, findings = base.sift(files)
        name = basename(root.rstrip("/"))
        places = {path: place_of(path, name) for path in sorted(sizes) if path.lower().endswith(SUFFIX)}
        if not any(places.values()):
            raise SemblanceError(
                f"No mp4 file in {REALS}, {FAKES} or a folder of a method below {root}; pass the folder that contains "
                "these."
            )
        bases = {"", *(place.base for place in places.values() if place)}
        folders = [join(base, folder) for base in sorted(bases) for folder in FOLDERS]
        tables = lists.find(root, sizes.keys(), config.lists, LISTS, folders)
        published = ffpp_metadata.read(tables)
        masks = _masks(places)
        videos = [
            replace(_video(path, place, published, masks), bytes=sizes[path])
            for path, place in places.items()
            if not (place and place.mask) and SOURCES not in path.split("/")[:-1]
        ]
        findings += [*published.findings, *_unknown_methods(places.values())]
        planned = {path for video in videos for path in (video.path, video.mask)}
        read = {table.path for table in tables if table.inside}
        for path in sorted(sizes.keys() - planned - read):
            reason = "a mask without its video" if (place := places.get(path)) and place.mask else _OTHER
            findings.append(SourceFinding(path=path, kind="other", reason=reason))
        return base.discovery(
            videos,
            findings,
            _facts(videos, published),
            coverage=_coverage(videos, published),
            tables=tuple(table.hashed for table in tables),
            identity_basis=_basis(videos),
        )


def _masks(places: Mapping[str, Place | None]) -> dict[tuple[str | None, str], str]:
    """Method and name of a fake -> its mask, for all compressions; the first of several counts."""
    masks: dict[tuple[str | None, str], str] = {}
    for path, place in places.items():
        if place and place.mask and place.fake:
            masks.setdefault((place.group, place.stem), path)
    return masks


def _video(path: str, place: Place | None, published: Lists, masks: Mapping[tuple[str | None, str], str]) -> Video:
    """A file on disk; without a known original from its place and name it has no label."""
    names = names_of(place) if place and place.group else None
    if place is None or names is None:
        video_id = make_video_id(INFO.name, path)
        return Video(
            video_id=video_id,
            path=path,
            dataset=INFO.name,
            part=place.group if place else None,
            family_id=video_id,
            fault="unlabelled",
            fault_note=_why_not(place),
        )
    method = place.group if place.fake else PRISTINE
    level = [place.compression] if place.compression else []
    video = Video(
        video_id=make_video_id(INFO.name, *level, method or "", place.stem),
        path=path,
        mask=masks.get((place.group, place.stem)) if place.fake else None,
        dataset=INFO.name,
        part="/".join([place.group or "", *level]),
        label=int(place.fake),
        method=method,
        compression=place.compression,
        family_id=make_video_id(INFO.name, names.original),
        split_official=_published_split(names, published),
    )
    return _with_people(video, names, published)


def _why_not(place: Place | None) -> str:
    if place is None:
        return f"it is neither in {REALS} nor in {FAKES}; move it there or away"
    if place.group is None:
        return (
            f"it is not in a folder of {FAKES} that names its method; move it there or away"
            if place.fake
            else f"it is neither in {REALS}/youtube nor in {REALS}/actors; move it there or away"
        )
    form = {"youtube": "NNN.mp4", "actors": "AA__scene.mp4", ACTORS: "TT_SS__scene__KEY.mp4"}
    return f"its name is not of the form {form.get(place.group, 'TTT_SSS.mp4')}; rename it or move it away"


def _published_split(names: Names, published: Lists) -> str | None:
    """The published split: that of the sequence, or of the pair that a fake was made from."""
    if names.acted:
        return None
    return (
        published.pairs.get(pair_of(names.target, names.donor))
        if names.donor
        else published.sequences.get(names.target)
    )


def _with_people(video: Video, names: Names, published: Lists) -> Video:
    """The video with its people and recordings.

    An actor is a person and the scene is the recording; the donor's scenes of a fake are not published. Sequences have
    no known people. Their ids are those of the YouTube video, or of the sequence itself if that video is unknown.
    """
    if names.acted:
        target, donor = (
            make_video_id(INFO.name, "actor", actor) if actor else None for actor in (names.target, names.donor)
        )
        return replace(video, target_id=target, donor_id=donor, recording_id=video.family_id)
    target, donor = (_recording(sequence, published) if sequence else None for sequence in (names.target, names.donor))
    return replace(video, target_id=target, donor_id=donor, recording_id=target, donor_recording_id=donor)


def _recording(sequence: str, published: Lists) -> str:
    video = published.recordings.get(sequence)
    return make_video_id(INFO.name, "youtube", video) if video else make_video_id(INFO.name, "sequence", sequence)


def _unknown_methods(places: Iterable[Place | None]) -> list[SourceFinding]:
    """Findings for folders of fakes that the full dataset does not have; they are planned under their name."""
    unknown = sorted(
        {
            (place.base, place.group)
            for place in places
            if place and place.fake and place.group and place.group not in _FULL
        }
    )
    reason = "not a method of the dataset; its fakes are planned under this name"
    return [
        SourceFinding(path=join(base, FAKES, group, ""), kind="unknown_method", reason=reason)
        for base, group in unknown
    ]


def _basis(videos: Sequence[Video]) -> Basis:
    """People if there are only actors, otherwise recordings, which guarantee less."""
    sequences = any(video.label is not None and not _acted(video) for video in videos)
    return "recording" if sequences else "person"


def _acted(video: Video) -> bool:
    return (video.target_id or "").startswith(f"{INFO.name}-actor-")


def _facts(videos: Sequence[Video], published: Lists) -> dict[str, int]:
    labelled = [video for video in videos if video.label is not None]
    there = {(video.family_id, video.compression) for video in labelled if video.label == 0}
    recordings = {name for video in labelled for name in (video.recording_id, video.donor_recording_id) if name}
    actors = {name for video in labelled if _acted(video) for name in (video.target_id, video.donor_id) if name}
    shown = {video.family_id for video in labelled if video.label == 0 and not _acted(video)}
    counts = {
        "fakes whose original is not on disk in their compression (detected without a guide)": sum(
            video.label == 1 and (video.family_id, video.compression) not in there for video in labelled
        ),
        f"sequences without an entry in {RECORDINGS} (each counted as its own recording)": sum(
            name.startswith(f"{INFO.name}-sequence-") for name in recordings
        ),
        f"actors of {ACTORS} (their ids are people, the other ids are recordings)": len(actors),
        f"videos of {ACTORS}, which has no published split": sum(map(_acted, labelled)),
    }
    counts[f"published split lists that are in none of {', '.join(_WHERE)}"] = len(SPLITS) - len(published.listed)
    for split in published.listed:
        absent = sum(make_video_id(INFO.name, sequence) not in shown for sequence in published.listed[split])
        counts[f"sequences of the published {split} whose original is not on disk"] = absent
    return counts


def _coverage(videos: Sequence[Video], published: Lists) -> tuple[Coverage, ...]:
    """Videos on disk compared with the full set: by group in present compressions, one line for each other one."""
    counts = Counter(video.part for video in videos if video.fault is None)
    masks = {(video.method, video.mask) for video in videos if video.mask}
    lines = []
    for level in COMPRESSIONS:
        each = {group: counts[f"{group}/{level}"] for group in _FULL}
        if any(each.values()):
            lines += [Coverage(what=f"{level}: {group}", found=each[group], full=_FULL[group]) for group in _FULL]
        else:
            lines.append(Coverage(what=f"{level}: all videos", found=0, full=sum(_FULL.values())))
    for method in _MASKED:
        lines.append(Coverage(what=f"masks: {method}", found=sum(m == method for m, _ in masks), full=_FULL[method]))
    lines.append(Coverage(what="published split lists", found=len(published.listed), full=len(SPLITS)))
    lines.append(Coverage(what="sequences with a known YouTube video", found=len(published.recordings), full=1_000))
    return tuple(lines)
