"""DFDC: train parts, the 400-video sample, validation and test, in all the spellings that people have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from posixpath import basename, dirname, join
from typing import Final

from semblance.ingest.sources.base import (
    IN_ROOT,
    Basis,
    Coverage,
    Datasheet,
    Discovery,
    SourceConfig,
    family_roots,
    refuse_collisions,
    sift,
)
from semblance.ingest.sources.dfdc_metadata import ADVICE, METADATA, SUFFIX, Part, read_parts
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import PRISTINE, SourceFinding, Video, make_video_id
from semblance.manifests.storage import Stat

_TRAIN_PART: Final = re.compile(r"dfdc_train_part_0*([0-9]+)")
_PART_NAMES: Final = {
    "": "root",
    "train_sample_videos": "train_sample",
    "validation_videos": "validation",
    "test_videos": "test",
}
_OFFICIAL: Final = {"validation": "val", "test": "test"}


class Dfdc:
    """The reader of DFDC's layout."""

    name = "dfdc"
    identity_basis: Basis | None = None
    fractions = (0.8, 0.1, 0.1)
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
        consent="3,426 paid actors, who all agreed to have their likeness modified (abstract of the dataset paper).",
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

    def discover(self, root: str, files: Sequence[Stat], config: SourceConfig = IN_ROOT) -> Discovery:
        """Videos and findings below ``root``.

        A folder with metadata.json or labels.csv is a part; its videos lie in it or in a folder ``videos``
        in it. Raises SemblanceError where there is no video, no readable metadata, or one id for two files.
        """
        del config  # DFDC has no side tables but those in its folders
        sizes, findings = sift(files)
        videos = sorted(path for path in sizes if path.lower().endswith(SUFFIX))
        if not videos:
            raise SemblanceError(f"There is no mp4 file below {root}; name the folder that holds the DFDC parts.")
        tables = sorted(path for path in sizes if basename(path) in METADATA)
        parts = read_parts(root, tables)
        if not any(part.readable for part in parts.values()):
            raise SemblanceError(
                f"No metadata.json or labels.csv below {root} is readable, so no video has a label; {ADVICE}."
            )
        findings += [finding for part in parts.values() for finding in part.findings]
        there = [_there(path, sizes[path], parts) for path in videos]
        refuse_collisions(there)
        missing, doubled = _missing(there, parts)
        planned, chained, facts = _with_families([*there, *missing], parts)
        others = sorted(sizes.keys() - set(videos) - set(tables))
        findings += [*doubled, *chained]
        findings += [SourceFinding(path=path, kind="other", reason="not part of the DFDC layout") for path in others]
        return Discovery(
            videos=tuple(sorted(planned, key=lambda video: video.video_id)),
            findings=tuple(sorted(findings, key=lambda one: (one.path, one.kind, one.reason))),
            facts=facts,
            coverage=_coverage(planned),
        )


def _coverage(planned: Sequence[Video]) -> tuple[Coverage, ...]:
    """What is on disk against the full set (numbers of rows in the official metadata)."""
    there = Counter(video.split_official for video in planned if video.fault != "missing")
    parts = {video.part for video in planned if video.split_official == "train" and video.fault != "missing"}
    return (
        Coverage(what="train parts", found=len(parts - {"train_sample"}), full=50),
        Coverage(what="train videos", found=there["train"], full=119_146),
        Coverage(what="validation videos", found=there["val"], full=4_000),
        Coverage(what="test videos", found=there["test"], full=5_000),
    )


def _part_folder(path: str, parts: Mapping[str, Part]) -> str:
    """The part that a file belongs to: its folder, or the one above a folder ``videos`` without metadata."""
    folder = dirname(path)
    return dirname(folder) if folder not in parts and basename(folder) == "videos" else folder


def _there(path: str, size: int, parts: Mapping[str, Part]) -> Video:
    """A file on disk, with its label or the reason why it has none."""
    folder, stem = _part_folder(path, parts), basename(path)[: -len(SUFFIX)]
    part = parts.get(folder)
    if part and (row := part.rows.get(stem)):
        return _video(path, stem, folder, row.fake, size)
    if part is None:
        note = f"its folder has neither {METADATA[0]} nor {METADATA[1]}"
    elif part.readable:
        note = "the metadata of its folder has no usable row for it"
    else:
        note = "the metadata of its folder cannot be read"
    video = _video(path, stem, folder, None, size)
    return replace(video, fault="unlabelled", fault_note=f"{note}; {ADVICE}")


def _missing(there: Sequence[Video], parts: Mapping[str, Part]) -> tuple[list[Video], list[SourceFinding]]:
    """A planned video for every row without a file; a finding for every row whose video is planned elsewhere."""
    known = {video.video_id: video for video in there}
    places = {(_part_folder(video.path, parts), video.video_id): video for video in there}
    direct = {dirname(video.path) for video in there}
    missing, findings = [], []
    for folder, part in sorted(parts.items()):
        for stem, row in sorted(part.rows.items()):
            video_id = _id(stem)
            if (folder, video_id) in places:
                continue
            if other := known.get(video_id):
                verdict = "agrees" if other.label == int(row.fake) else "does not agree"
                reason = f"row {stem + SUFFIX!r}: planned as {other.path}, whose label {verdict}"
                findings.append(SourceFinding(path=row.source, kind="row_elsewhere", reason=reason))
                continue
            nested = join(folder, "videos")
            place = nested if nested in direct and folder not in direct and nested not in parts else folder
            video = _video(join(place, stem + SUFFIX), stem, folder, row.fake)
            note = "listed in the metadata, but the file is not there; get it again or remove the row"
            known[video_id] = replace(video, fault="missing", fault_note=note)
            missing.append(known[video_id])
    return missing, findings


def _id(stem: str) -> str:
    return make_video_id(Dfdc.name, stem)


def _video(path: str, stem: str, folder: str, fake: bool | None, size: int | None = None) -> Video:
    part = part_name(folder)
    return Video(
        video_id=_id(stem),
        path=path,
        dataset=Dfdc.name,
        part=part,
        split_official="train" if part.startswith("train_") else _OFFICIAL.get(part),
        label=None if fake is None else int(fake),
        method=PRISTINE if fake is False else None,
        family_id=_id(stem),
        bytes=size,
    )


def part_name(folder: str) -> str:
    """One spelling for a part: ``train_07``, ``train_sample``, ``validation``, ``test``, or the folder's own."""
    name = basename(dirname(folder) if basename(folder) == "videos" else folder)
    if match := _TRAIN_PART.fullmatch(name):
        return f"train_{match[1]:0>2}"
    return _PART_NAMES.get(name, name)


def _with_families(
    videos: Sequence[Video], parts: Mapping[str, Part]
) -> tuple[list[Video], list[SourceFinding], tuple[tuple[str, int], ...]]:
    """Join every fake to the family of the original that it names, there or not."""
    known = {video.video_id: video for video in videos}
    originals: dict[str, str] = {}
    findings = []
    for row in (row for _, part in sorted(parts.items()) for row in part.rows.values()):
        if row.original is None or known[_id(row.stem)].label != 1:
            continue
        named = known.get(_id(row.original))
        if named is not None and named.label == 1:
            reason = f"row {row.stem + SUFFIX!r}: its original {row.original + SUFFIX!r} is a fake itself"
            findings.append(SourceFinding(path=row.source, kind="bad_original", reason=reason))
        originals.setdefault(_id(row.stem), _id(row.original))
    roots = family_roots(originals)
    joined = [replace(video, family_id=roots[video.video_id]) if video.video_id in roots else video for video in videos]
    fakes = [video for video in videos if video.label == 1 and video.fault is None]
    there = {video.video_id: video for video in videos if video.fault != "missing"}
    named_ids = [originals[video.video_id] for video in fakes if video.video_id in originals]
    counts = {
        "fakes whose original is not on disk (they are detected on their own)": sum(
            name not in there for name in named_ids
        ),
        "fakes whose original is on disk without a label (they are detected on their own)": sum(
            name in there and there[name].label is None for name in named_ids
        ),
        "fakes that name no original (each is a family of its own)": len(fakes) - len(named_ids),
    }
    return joined, findings, tuple((sentence, count) for sentence, count in counts.items() if count)
