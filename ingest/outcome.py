"""What a video gave, as rows and pictures: the last step of a video's way."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ingest.recipes import Recipe
from manifests.records import (
    SPLIT_COLUMNS,
    Crop,
    GuideReason,
    Measures,
    Outcome,
    Properties,
    Rejection,
    Sample,
    Verdict,
    Video,
    make_sample_id,
)
from quality import codec

_SAMPLE_IDENTITY: Final = (
    "video_id",
    "dataset",
    "label",
    "method",
    "compression",
    "family_id",
    "target_id",
    "donor_id",
    "recording_id",
    *SPLIT_COLUMNS,
)
_VIDEO_IDENTITY: Final = ("path", "member", "part", "donor_recording_id", *_SAMPLE_IDENTITY, "shard", "bytes")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """One face of one sampled frame with its measures and verdict, or a frame without a face."""

    frame_index: int
    time_s: float | None
    crop: Crop | None = None
    measures: Measures | None = None
    verdict: Verdict | None = None
    stage: str = "detect"


def faulty(
    video: Video,
    status: str,
    error: str | None,
    properties: Properties | None = None,
    decoder: str | None = None,
) -> Outcome:
    """The outcome of a video of which nothing could be used."""
    row = _video_row(video, properties) | {
        "status": status,
        "error": error,
        "decoder": decoder,
        "frames_sampled": 0,
        "frames_failed": 0,
        "faces_seen": 0,
        "crops_kept": 0,
        "crops_rejected": 0,
    }
    return Outcome(video=row)


def finished(
    video: Video,
    recipe: Recipe,
    properties: Properties,
    decoder: str,
    guide: GuideReason | None,
    indices: Sequence[int],
    seen: Sequence[Seen],
    seconds: Callable[[], Mapping[str, float]],
) -> Outcome:
    """Rows and encoded pictures of everything seen, and a row for every wanted frame that did not come."""
    decoded = {one.frame_index for one in seen}
    failed = [index for index in indices if index not in decoded]
    sure = confident_tracks(seen, recipe.gates.confidence)
    labels = face_labels(video.label, seen, sure, recipe.guide.change_peak)
    samples: list[Sample] = []
    rejections: list[Rejection] = []
    for one in seen:
        row = _row(video, guide, one)
        if one.crop is None or one.measures is None or one.verdict is None:
            rejections.append(Rejection(row=row | _frame_reject("detect", "no_face")))
            continue
        row["sample_id"] = make_sample_id(video.video_id, one.frame_index, one.crop.face.track)
        row |= _face_columns(one.crop, one.measures) | {"face_label": labels[one.crop.face.track]}
        if one.verdict.keep or recipe.gates.mode == "mark":
            samples.append(_sample(row, one.crop, one.verdict, recipe))
        if not one.verdict.keep:
            rejections.append(
                Rejection(row=row | _face_reject(one.stage, one.verdict), picture=codec.thumbnail(one.crop.image))
            )
    rejections += [
        Rejection(
            row=_row(video, guide, Seen(frame_index=index, time_s=None)) | _frame_reject("decode", "decode_error")
        )
        for index in failed
    ]
    faces = [one.verdict for one in seen if one.verdict is not None]
    status, error = _status(properties, indices, failed, bool(sure))
    row = _video_row(video, properties) | {
        "status": status,
        "error": error,
        "guide": guide,
        "decoder": decoder,
        "frames_sampled": len(indices),
        "frames_failed": len(failed),
        "faces_seen": len(faces),
        "crops_kept": sum(verdict.keep for verdict in faces),
        "crops_rejected": sum(not verdict.keep for verdict in faces),
    }
    return Outcome(video=row | dict(seconds()), samples=tuple(samples), rejections=tuple(rejections))


def confident_tracks(seen: Sequence[Seen], limit: float | None) -> set[int]:
    """The tracks with a face that the confidence gate lets through: the others are no faces, most likely."""
    return {one.crop.face.track for one in seen if one.crop is not None and one.crop.face.confidence >= (limit or 0.0)}


def face_labels(label: int | None, seen: Sequence[Seen], sure: set[int], limit: float) -> dict[int, int | None]:
    """Track -> 0 in a real video, 1 in a fake with one track; in a fake with several, 1 for those whose
    median ``change_peak`` exceeds ``limit``, else None (unknown). Tracks that are not ``sure`` do not count
    as faces: one false detection must not make the label of a fake's only face unknown.
    """
    peaks: dict[int, list[float]] = {}
    for one in seen:
        if one.crop is not None and one.measures is not None:
            known = peaks.setdefault(one.crop.face.track, [])
            if one.measures.change_peak is not None:
                known.append(one.measures.change_peak)
    if label != 1:
        return dict.fromkeys(peaks, label)
    altered = {track for track, known in peaks.items() if known and statistics.median(known) > limit}
    fake = altered | (sure if len(sure) == 1 else set())
    return {track: 1 if track in fake else None for track in peaks}


def _status(
    properties: Properties, indices: Sequence[int], failed: Sequence[int], any_face: bool
) -> tuple[str, str | None]:
    total, declared = properties.frames_total or 0, properties.frames_declared
    if indices and len(failed) == len(indices):
        return "decode_error", f"none of the {len(indices)} wanted frames can be decoded; get the file again."
    if failed:
        return "partial", (
            f"{len(failed)} of {len(indices)} wanted frames cannot be decoded, the first is frame {failed[0]}; "
            "what decodes is kept; get the file again."
        )
    if declared is not None and declared > total:
        return "partial", (
            f"the file ends after frame {total - 1} though its header says {declared} frames; "
            "what decodes is kept; get the file again."
        )
    return ("ok", None) if any_face else ("no_face", None)


def _video_row(video: Video, properties: Properties | None) -> dict[str, Any]:
    row = {name: getattr(video, name) for name in _VIDEO_IDENTITY}
    if properties is not None:
        known = asdict(properties)
        del known["frames_declared"]
        row |= known
    return row


def _row(video: Video, guide: GuideReason | None, one: Seen) -> dict[str, Any]:
    row = {name: getattr(video, name) for name in _SAMPLE_IDENTITY}
    return row | {"frame_index": one.frame_index, "time_s": one.time_s, "guide": guide}


def _face_columns(crop: Crop, measures: Measures) -> dict[str, Any]:
    face, geometry = crop.face, crop.geometry
    return asdict(measures) | {
        "track": face.track,
        "box_x0": face.box[0],
        "box_y0": face.box[1],
        "box_x1": face.box[2],
        "box_y1": face.box[3],
        "landmarks": list(face.landmarks),
        "confidence": face.confidence,
        "crop_x0": geometry.x0,
        "crop_y0": geometry.y0,
        "crop_side": geometry.side,
    }


def _sample(row: dict[str, Any], crop: Crop, verdict: Verdict, recipe: Recipe) -> Sample:
    picture = codec.encode(crop.image, recipe.encoding)
    return Sample(row=row | {"verdict": verdict.reason or "keep", "mask": False}, picture=picture)


def _face_reject(stage: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "unit": "face",
        "stage": stage,
        "reasons": list(verdict.reasons),
        "reason": verdict.reason,
        "measured": verdict.measured,
        "limit": verdict.limit,
    }


def _frame_reject(stage: str, reason: str) -> dict[str, Any]:
    return {"unit": "frame", "stage": stage, "reasons": [reason], "reason": reason}
