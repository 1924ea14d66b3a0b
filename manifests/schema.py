"""Arrow schemas of every table, and their version."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

VERSION: Final = 5  # enters the fingerprint: a build made under another version is not resumed

_TEXT, _REAL, _WHOLE = pa.string(), pa.float32(), pa.int32()

_IDENTITY: Final = [
    ("video_id", _TEXT),
    ("dataset", _TEXT),
    ("label", pa.int8()),
    ("face_label", pa.int8()),
    ("method", _TEXT),
    ("compression", _TEXT),
    ("family_id", _TEXT),
    ("target_id", _TEXT),
    ("donor_id", _TEXT),
    ("recording_id", _TEXT),
]
_SPLITS: Final = [
    (name, _TEXT)
    for name in (
        "split",
        "split_official",
        "split_family",
        "split_identity",
        "split_method",
        "split_temporal",
        "split_note",
    )
]
_PLACE: Final = [("shard", _TEXT), ("tar_offset", pa.int64()), ("tar_bytes", pa.int64())]
_FACE: Final = [
    ("frame_index", _WHOLE),
    ("time_s", pa.float64()),
    ("track", pa.int16()),
    ("box_x0", _REAL),
    ("box_y0", _REAL),
    ("box_x1", _REAL),
    ("box_y1", _REAL),
    ("landmarks", pa.list_(_REAL)),  # ten, or null: pyarrow 25 cannot read a null of fixed size back
    ("confidence", _REAL),
    ("crop_x0", _WHOLE),
    ("crop_y0", _WHOLE),
    ("crop_side", _WHOLE),
    ("guide", _TEXT),
]
_MEASURES: Final = [
    ("blur", _REAL),
    ("blur_face", _REAL),
    ("brightness", _REAL),
    ("contrast", _REAL),
    ("blur_outside", _REAL),
    ("brightness_outside", _REAL),
    ("contrast_outside", _REAL),
    ("face_ratio", _REAL),
    ("change", _REAL),
    ("change_peak", _REAL),
    ("ita", _REAL),
    ("phash", pa.uint64()),
    ("frame_phash", pa.uint64()),
]

SAMPLES: Final = pa.schema(
    [
        ("sample_id", _TEXT),
        *_IDENTITY,
        *_SPLITS,
        *_PLACE,
        *_FACE,
        ("verdict", _TEXT),
        *_MEASURES,
        ("mask", pa.bool_()),
        ("encoded_bytes", pa.int64()),
        ("sha256", _TEXT),
    ]
)
REJECTS: Final = pa.schema(
    [
        ("sample_id", _TEXT),
        *_IDENTITY,
        *_SPLITS,
        *_PLACE,
        *_FACE,
        *_MEASURES,
        ("unit", _TEXT),
        ("stage", _TEXT),
        ("reasons", pa.list_(_TEXT)),
        ("reason", _TEXT),
        ("measured", pa.float64()),
        ("limit", pa.float64()),
    ]
)
_VIDEO: Final = [
    ("video_id", _TEXT),
    ("path", _TEXT),
    ("member", _TEXT),
    ("dataset", _TEXT),
    ("part", _TEXT),
    ("label", pa.int8()),
    ("method", _TEXT),
    ("compression", _TEXT),
    ("family_id", _TEXT),
    ("target_id", _TEXT),
    ("donor_id", _TEXT),
    ("recording_id", _TEXT),
    ("donor_recording_id", _TEXT),
    *_SPLITS,
    ("shard", _TEXT),
]
VIDEOS: Final = pa.schema(
    [
        *_VIDEO,
        ("status", _TEXT),
        ("error", _TEXT),
        ("guide", _TEXT),
        ("decoder", _TEXT),
        ("codec", _TEXT),
        ("encoder", _TEXT),
        ("bit_rate", pa.int64()),
        ("gop", _WHOLE),
        ("created", _TEXT),
        ("has_audio", pa.bool_()),
        ("width", _WHOLE),
        ("height", _WHOLE),
        ("rotation", _WHOLE),
        ("fps", pa.float64()),
        ("frames_total", _WHOLE),
        ("duration_s", pa.float64()),
        ("frames_sampled", _WHOLE),
        ("frames_failed", _WHOLE),
        ("faces_seen", _WHOLE),
        ("crops_kept", _WHOLE),
        ("crops_rejected", _WHOLE),
        ("masks", _WHOLE),
        ("mask_note", _TEXT),
        ("seconds_decode", pa.float64()),
        ("seconds_detect", pa.float64()),
        ("seconds_total", pa.float64()),
        ("bytes", pa.int64()),
    ]
)
PLAN: Final = pa.schema(
    [
        *_VIDEO,
        ("mask", _TEXT),
        ("date", _TEXT),
        ("fault", _TEXT),
        ("fault_note", _TEXT),
        ("bytes", pa.int64()),
        ("order", pa.int64()),
    ]
)
FINDINGS: Final = pa.schema([("path", _TEXT), ("kind", _TEXT), ("reason", _TEXT)])
FLAGS: Final = pa.schema(
    [
        ("sample_id", _TEXT),
        ("video_id", _TEXT),
        ("flag", _TEXT),
        ("value", pa.float64()),
        ("limit", pa.float64()),
        ("by", _TEXT),
    ]
)

TABLES: Final[dict[str, pa.Schema]] = {
    "samples": SAMPLES,
    "rejects": REJECTS,
    "videos": VIDEOS,
    "plan": PLAN,
    "findings": FINDINGS,
    "flags": FLAGS,
}
TIMES: Final = ("seconds_decode", "seconds_detect", "seconds_total")  # outside determinism
