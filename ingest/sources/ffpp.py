"""FaceForensics++: YouTube sequences, five methods' fakes of them, and DeepFakeDetection's actors, in any part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from posixpath import join
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
from semblance.manifests.records import PRISTINE, SourceFinding, Video, make_video_id
from semblance.manifests.storage import Stat

_FULL: Final = INFO.full
_OTHER: Final = "nothing that is read of the layout"
_WHERE: Final = ("ROOT", *(f"ROOT/{folder}" for folder in FOLDERS if folder), "source.lists")
_MASKED: Final = (*(name for name in PAIRED if name != "FaceShifter"), ACTORS)  # the authors give none for FaceShifter


@register
class Ffpp(Source):
    """The reader of FaceForensics++'s layout."""

    info = INFO

    def discover(self, root: str, files: Sequence[Stat], config: SourceConfig = IN_ROOT) -> Discovery:
        """Videos and findings below ``root``; a video is known by its folders' names, at any depth.

        Raises SemblanceError where there is no video of the dataset, one id for two files, or no list where
        ``config.lists`` says.
        """
        sizes, findings = base.sift(files)
        places = {path: place_of(path) for path in sorted(sizes) if path.lower().endswith(SUFFIX)}
        if not any(places.values()):
            raise SemblanceError(
                f"There is no mp4 file in {REALS} or {FAKES} below {root}; name the folder that holds these two."
            )
        bases = {"", *(place.base for place in places.values() if place)}
        folders = [join(base, folder) for base in sorted(bases) for folder in FOLDERS]
        tables = lists.find(root, sizes.keys(), config.lists, LISTS, folders)
        told = ffpp_metadata.read(tables)
        masks = _masks(places)
        videos = [
            replace(_video(path, place, told, masks), bytes=sizes[path])
            for path, place in places.items()
            if not (place and place.mask) and SOURCES not in path.split("/")[:-1]
        ]
        findings += [*told.findings, *_odd_methods(places.values())]
        planned = {path for video in videos for path in (video.path, video.mask)}
        read = {table.path for table in tables if table.inside}
        for path in sorted(sizes.keys() - planned - read):
            reason = "a mask of no video that is here" if (place := places.get(path)) and place.mask else _OTHER
            findings.append(SourceFinding(path=path, kind="other", reason=reason))
        return base.discovery(
            videos,
            findings,
            _facts(videos, told),
            coverage=_coverage(videos, told),
            tables=tuple(table.hashed for table in tables),
            identity_basis=_basis(videos),
        )


def _masks(places: Mapping[str, Place | None]) -> dict[tuple[str | None, str], str]:
    """Method and name of a fake -> its mask, for all its compressions; of two the first is taken."""
    masks: dict[tuple[str | None, str], str] = {}
    for path, place in places.items():
        if place and place.mask and place.fake:
            masks.setdefault((place.group, place.stem), path)
    return masks


def _video(path: str, place: Place | None, told: Lists, masks: Mapping[tuple[str | None, str], str]) -> Video:
    """A file on disk; one whose place and name do not tell its original has no label."""
    names = names_of(place) if place and place.group else None
    if place is None or names is None:
        own = make_video_id(INFO.name, path)
        return Video(
            video_id=own,
            path=path,
            dataset=INFO.name,
            part=place.group if place else None,
            family_id=own,
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
        split_official=_side(names, told),
    )
    return _with_people(video, names, told)


def _why_not(place: Place | None) -> str:
    if place is None:
        return f"it lies neither in {REALS} nor in {FAKES}; move it there or away"
    if place.group is None:
        return (
            f"it lies in no folder of {FAKES} that names its method; move it there or away"
            if place.fake
            else f"it lies neither in {REALS}/youtube nor in {REALS}/actors; move it there or away"
        )
    form = {"youtube": "NNN.mp4", "actors": "AA__scene.mp4", ACTORS: "TT_SS__scene__KEY.mp4"}
    return f"its name is not of the form {form.get(place.group, 'TTT_SSS.mp4')}; rename it or move it away"


def _side(names: Names, told: Lists) -> str | None:
    """The published side: a sequence's own, or that of the pair that a fake was made from."""
    if names.acted:
        return None
    return told.pairs.get(pair_of(names.target, names.donor)) if names.donor else told.sequences.get(names.target)


def _with_people(video: Video, names: Names, told: Lists) -> Video:
    """The video with who is shown, from which recording. An actor is a person, the scene the recording, and nobody
    publishes which scenes of the donor a fake was made from. A sequence stands for the YouTube video that it was cut
    from or, where that is not told, for itself: nothing nearer to a person is known.
    """
    if names.acted:
        target, donor = (make_video_id(INFO.name, "actor", one) if one else None for one in (names.target, names.donor))
        return replace(video, target_id=target, donor_id=donor, recording_id=video.family_id)
    target, donor = (_recording(one, told) if one else None for one in (names.target, names.donor))
    return replace(video, target_id=target, donor_id=donor, recording_id=target, donor_recording_id=donor)


def _recording(sequence: str, told: Lists) -> str:
    video = told.recordings.get(sequence)
    return make_video_id(INFO.name, "youtube", video) if video else make_video_id(INFO.name, "sequence", sequence)


def _odd_methods(places: Iterable[Place | None]) -> list[SourceFinding]:
    """A folder of fakes that the full set does not have: planned under its name, and said."""
    odd = sorted({(one.base, one.group) for one in places if one and one.fake and one.group and one.group not in _FULL})
    reason = "no method of the dataset; its fakes are planned under this name"
    return [
        SourceFinding(path=join(base, FAKES, group, ""), kind="unknown_method", reason=reason) for base, group in odd
    ]


def _basis(videos: Sequence[Video]) -> Basis:
    """People where actors alone are there, else the weaker: recordings."""
    sequences = any(video.label is not None and not _acted(video) for video in videos)
    return "recording" if sequences else "person"


def _acted(video: Video) -> bool:
    return (video.target_id or "").startswith(f"{INFO.name}-actor-")


def _facts(videos: Sequence[Video], told: Lists) -> dict[str, int]:
    labelled = [video for video in videos if video.label is not None]
    there = {(video.family_id, video.compression) for video in labelled if video.label == 0}
    recordings = {one for video in labelled for one in (video.recording_id, video.donor_recording_id) if one}
    actors = {one for video in labelled if _acted(video) for one in (video.target_id, video.donor_id) if one}
    shown = {video.family_id for video in labelled if video.label == 0 and not _acted(video)}
    counts = {
        "fakes whose original is not on disk in their compression (they are detected on their own)": sum(
            video.label == 1 and (video.family_id, video.compression) not in there for video in labelled
        ),
        f"sequences whose recording no {RECORDINGS} tells (each counts as a recording of its own)": sum(
            one.startswith(f"{INFO.name}-sequence-") for one in recordings
        ),
        f"actors of {ACTORS}, whose ids are people among ids of recordings": len(actors),
        f"videos of {ACTORS}, which has no published split": sum(map(_acted, labelled)),
    }
    counts[f"published split lists that are in none of {', '.join(_WHERE)}"] = len(SPLITS) - len(told.listed)
    for side in told.listed:
        absent = sum(make_video_id(INFO.name, one) not in shown for one in told.listed[side])
        counts[f"sequences of the published {side} whose original is not on disk"] = absent
    return counts


def _coverage(videos: Sequence[Video], told: Lists) -> tuple[Coverage, ...]:
    """What is on disk against the full set: in the compressions that are there, and the others in one line each."""
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
    lines.append(Coverage(what="published split lists", found=len(told.listed), full=len(SPLITS)))
    lines.append(Coverage(what="sequences whose YouTube video is told", found=len(told.recordings), full=1_000))
    return tuple(lines)
