"""Rows and encoded pictures of a processed video: the last step of processing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from semblance.ingest.process.face_labels import face_labels
from semblance.ingest.recipe import Recipe
from semblance.ingest.records import Seen
from semblance.manifests import storage
from semblance.manifests.errors import StorageError
from semblance.manifests.ids import make_sample_id
from semblance.manifests.records import (
    SPLIT_COLUMNS,
    GuideReason,
    Image,
    Mask,
    Outcome,
    Properties,
    Rejection,
    Sample,
    Verdict,
    Video,
)
from semblance.quality import codec

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
_FACE: Final = (
    *("box_x0", "box_y0", "box_x1", "box_y1"),
    *("landmarks", "confidence", "crop_x0", "crop_y0", "crop_side"),
)
_VIDEO_IDENTITY: Final = (
    "path",
    "member",
    "part",
    "donor_recording_id",
    *_SAMPLE_IDENTITY,
    "persons_estimated",
    "shard",
    "bytes",
)


def faulty(
    video: Video,
    status: str,
    error: str | None,
    properties: Properties | None = None,
    decoder: str | None = None,
) -> Outcome:
    """The outcome of a video that gave no frame at all."""
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


def vanished(video: Video, root: str) -> Outcome:
    """The outcome of a video that disappeared after planning; raises StorageError if the whole root is empty."""
    if not storage.list_names(root):
        raise StorageError(f"{root} is empty or no longer exists; restore it, then run the same command again.")
    return faulty(video, "missing", "the file disappeared after planning; restore it.")


def finished(
    video: Video,
    recipe: Recipe,
    properties: Properties,
    decoder: str,
    guide: GuideReason | None,
    indices: Sequence[int],
    seen: Sequence[Seen],
    seconds: Callable[[], Mapping[str, float]],
    failures: Mapping[int, Verdict] | None = None,
    mask_note: str | None = None,
    names: Sequence[str] = (),
) -> Outcome:
    """Rows and encoded pictures of every face seen, and a row for every wanted frame that could not be decoded.

    ``indices`` are the wanted frames; ``failures`` gives a more precise verdict for some of the missing ones. ``names``
    are those of the pictures, if the video is a folder of them.
    ``seconds`` returns the ``seconds_*`` columns; ``mask_note`` says why masks are missing.
    """
    decoded = {one.frame_index for one in seen}
    failed = [index for index in indices if index not in decoded]
    labels = face_labels(video.label, seen, recipe.gates.confidence, recipe.guide)
    samples: list[Sample] = []
    rejections: list[Rejection] = []
    for one in seen:
        row = _row(video, guide, one)
        if one.image is None or one.measures is None or one.verdict is None:
            rejections.append(Rejection(row=row | _reject("frame", "detect", Verdict(reasons=("no_face",)))))
            continue
        row["sample_id"] = make_sample_id(video.video_id, one.frame_index, one.track)
        row |= _face_columns(one) | asdict(one.measures)
        row["face_label"], row["face_label_by"] = labels[one.person]
        if stored(one, recipe):
            samples.append(_sample(row, one.image, one.mask, one.verdict, recipe))
        if not one.verdict.keep:
            row |= _reject("face", one.stage, one.verdict)
            rejections.append(Rejection(row=row, picture=codec.thumbnail(one.image)))
    for index in failed:
        why = (failures or {}).get(index, Verdict(reasons=("decode_error",)))
        row = _row(video, guide, Seen(frame_index=index, time_s=None))
        rejections.append(Rejection(row=row | _reject("frame", "decode", why)))
    faces = [one.verdict for one in seen if one.verdict is not None]
    status, error = _status(properties, indices, failed, names, _any_face(seen, recipe.gates.confidence))
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
        "masks": sum(sample.mask is not None for sample in samples) if recipe.masks else None,
        "mask_note": mask_note,
    }
    return Outcome(video=row | dict(seconds()), samples=tuple(samples), rejections=tuple(rejections))


def stored(one: Seen, recipe: Recipe) -> bool:
    """Whether a face becomes a sample."""
    return one.verdict is not None and (one.verdict.keep or recipe.gates.mode == "mark")


def _any_face(seen: Sequence[Seen], confidence: float | None) -> bool:
    """Whether any face is sure enough to be one."""
    faces = (one for one in seen if one.image is not None and one.person is not None)
    return any(one.face is None or one.face.confidence >= (confidence or 0.0) for one in faces)


def _status(
    properties: Properties, indices: Sequence[int], failed: Sequence[int], names: Sequence[str], any_face: bool
) -> tuple[str, str | None]:
    """Status and error; ``names`` are those of the pictures, if the video is a folder of them."""
    again = "get its pictures again" if names else "download the file again"
    total, declared = properties.frames_total or 0, properties.frames_declared
    if indices and len(failed) == len(indices):
        return "decode_error", f"none of the {len(indices)} wanted frames can be decoded; {again}."
    if failed:
        first = names[failed[0]] if failed[0] < len(names) else f"frame {failed[0]}"
        return "partial", (
            f"{len(failed)} of {len(indices)} wanted frames cannot be decoded (first: {first}); "
            f"the others are kept; {again}."
        )
    if declared is not None and declared > total:
        return "partial", (
            f"the file ends after frame {total - 1}, but its header declares {declared} frames; "
            "the decodable frames are kept; download the file again."
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


def _face_columns(one: Seen) -> dict[str, Any]:
    columns: dict[str, Any] = dict.fromkeys(_FACE) | {"track": one.track, "person": one.person}
    if (face := one.face) is not None:
        columns |= dict(zip(_FACE[:4], face.box, strict=True))
        columns |= {"landmarks": list(face.landmarks), "confidence": face.confidence}
    if (square := one.geometry) is not None:
        columns |= {"crop_x0": square.x0, "crop_y0": square.y0, "crop_side": square.side}
    return columns


def _sample(row: dict[str, Any], image: Image, mask: Mask | None, verdict: Verdict, recipe: Recipe) -> Sample:
    return Sample(
        row=row | {"verdict": verdict.reason or "keep", "mask": mask is not None},
        picture=codec.encode(image, recipe.encoding),
        mask=None if mask is None else codec.encode_mask(mask),
    )


def _reject(unit: str, stage: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "unit": unit,
        "stage": stage,
        "reasons": list(verdict.reasons),
        "reason": verdict.reason,
        "measured": verdict.measured,
        "limit": verdict.limit,
    }
