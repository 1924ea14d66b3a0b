"""The columns of every table: type, unit, meaning, and what null means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, get_type_hints

import pyarrow as pa

from semblance.manifests.records import PURE, SPLIT_COLUMNS, Measures

TEXT, BOOL, WHOLE, LONG = pa.string(), pa.bool_(), pa.int32(), pa.int64()
REAL, DOUBLE = pa.float32(), pa.float64()
LABEL: Final = "0 or 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. ``unit`` is empty for text, lists and booleans; ``null`` is empty if the column is never null."""

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    null: str = ""


def _column(name: str, kind: pa.DataType, meaning: str, null: str = "", unit: str = "") -> Column:
    return Column(name=name, type=kind, meaning=meaning, unit=unit, null=null)


def _measures() -> Iterator[Column]:
    """One column per field of ``Measures``."""
    types: dict[Any, pa.DataType] = {float | None: REAL, int | None: pa.uint64()}
    hints = get_type_hints(Measures)
    for field in fields(Measures):
        yield Column(name=field.name, type=types[hints[field.name]], **field.metadata)


_UNPUBLISHED = "not published, or not named by the user's table"
_NOT_RUN = "the video was not decoded"
_UNKNOWN = "not stated by the container, or the video was not opened"
_NOT_OPENED = "the video was not opened, or an older build"
_UNTAGGED = f"not tagged, which is read as SDR in BT.709; {_NOT_OPENED}"
_NO_QP = "the codec does not export it (HEVC, AV1), or an older build"
_QP = "the codec's steps, 0 to 51 for 8 bit H.264"
_FRAME = "a frame without a face"
_CUT = "a frame without a face, or a face that the dataset's authors cut out"

_SPLIT_MEANINGS: Final = {
    "split": ("part that the video belongs to under the active protocol: train, val, test or unassigned", ""),
    "split_official": ("part as the dataset's authors published it", "not published"),
    "split_family": ("part under protocol family: an original and its fakes stay together", "no label"),
    "split_identity": ("part under protocol identity: known people stay together", "people unknown, or no label"),
    "split_method": ("part under protocol method: held-out methods are only in test", "in no part, or no methods"),
    "split_temporal": ("part under protocol temporal: the oldest in train, the newest in test", "no dates"),
    "split_person_estimated": (
        "part under protocol person_estimated: persons estimated from faces stay together",
        "nobody estimated, too near to a tested person, or no table of estimates",
    ),
    "split_note": ("why the video is unassigned, or was moved", "nothing to note"),
}
SPLITS: Final = tuple(_column(name, TEXT, *_SPLIT_MEANINGS[name]) for name in SPLIT_COLUMNS)
MEASURES: Final = tuple(_measures())

VIDEO_ID: Final = _column("video_id", TEXT, "id of the video, unique across datasets")
DATASET: Final = _column("dataset", TEXT, "name of the dataset, e.g. dfdc")
_LABEL: Final = _column("label", pa.int8(), "of the whole video: 0 real, 1 fake", "no usable metadata", LABEL)
_ORIGIN: Final = (
    _column("method", TEXT, "how the fake was made; pristine for reals", _UNPUBLISHED),
    _column("compression", TEXT, "compression level as published, e.g. c23", "the dataset has no levels"),
    _column("family_id", TEXT, "video_id of the original: it and its fakes are one family"),
    _column("target_id", TEXT, "person whose head and scene are shown", "unknown"),
    _column("donor_id", TEXT, "person whose face or expression was put in", "a real video, or unknown"),
    _column("recording_id", TEXT, "recording that the video was made from", "unknown"),
)
IDENTITY: Final = (
    VIDEO_ID,
    DATASET,
    _LABEL,
    _column(
        "face_label",
        pa.int8(),
        "of this face: 0 real, 1 fake",
        f"a fake in which no rule decides whether this face was altered, or {_FRAME}",
        LABEL,
    ),
    _column(
        "face_label_by",
        TEXT,
        "rule that gave face_label: real, only_face, mask or change",
        "face_label is null, or an older build",
    ),
    *_ORIGIN,
)
SAMPLE_ID: Final = _column("sample_id", TEXT, "<video_id>-<frame, 6 digits>-<track, 2 digits>")
REJECT_ID: Final = _column(SAMPLE_ID.name, TEXT, SAMPLE_ID.meaning, _FRAME)
PLACE: Final = (
    _column("shard", TEXT, "path of the tar with the picture, relative to the build"),
    _column("tar_offset", LONG, "first byte of the picture in the tar", unit="bytes"),
    _column("tar_bytes", LONG, "size of the picture", unit="bytes"),
)
REJECTS_PLACE: Final = tuple(
    _column(column.name, column.type, column.meaning, "no picture stored (at most 8 per video and reason)", column.unit)
    for column in PLACE
)
FACE: Final = (
    _column("frame_index", WHOLE, "index of the frame in its video, from 0", unit="frames"),
    _column("time_s", DOUBLE, "presentation time of the frame", "unknown, or pictures without times", "s"),
    _column("track", pa.int16(), "number of the face's track in its video, from 0", _FRAME, "tracks"),
    _column(
        "person",
        pa.int16(),
        "number of the person in the video, from 0: tracks of one person are joined over cuts, turns and absences",
        f"{_FRAME}, a detection that is perhaps no face, or an older build",
        "persons",
    ),
    *(
        _column(f"box_{end}", REAL, f"{where} edge of the face box, half-open, in the upright frame", _CUT, "px")
        for end, where in (("x0", "left"), ("y0", "upper"), ("x1", "right"), ("y1", "lower"))
    ),
    # Ten values, or null: pyarrow 25 cannot read back a null of fixed size.
    _column("landmarks", pa.list_(REAL), "x, y of left eye, right eye, nose, left and right mouth corner", _CUT, "px"),
    _column("confidence", REAL, "confidence of the detector, 0 to 1; the original's for a guided face", _CUT, PURE),
    _column("crop_x0", WHOLE, "left edge of the crop in the upright frame, may be negative", _CUT, "px"),
    _column("crop_y0", WHOLE, "upper edge of the crop in the upright frame, may be negative", _CUT, "px"),
    _column("crop_side", WHOLE, "side of the crop in the upright frame, before it is resized", _CUT, "px"),
    _column(
        "guide",
        TEXT,
        "original: frames and boxes are the original's; otherwise why not: no_original, size, fps, longer, content",
        "a real video, or guides are off",
    ),
)
SAMPLE_END: Final = (
    _column("mask", BOOL, "whether the tar holds a manipulation mask"),
    _column("encoded_bytes", LONG, "size of the encoded picture", unit="bytes"),
    _column("sha256", TEXT, "of the encoded picture, hexadecimal"),
)
VERDICT: Final = _column("verdict", TEXT, "keep, or the first reject reason where gates only mark")
REJECTION: Final = (
    _column("unit", TEXT, "what was rejected: face, or frame (no face in it, or not decoded)"),
    _column("stage", TEXT, "where: decode, detect, gate or limit"),
    _column("reasons", pa.list_(TEXT), "every gate that failed, in the order of the gates"),
    _column("reason", TEXT, "the first of the reasons"),
    _column("measured", DOUBLE, "value of the measure behind the first reason", "the reason has no value", "its own"),
    _column("limit", DOUBLE, "limit that the value missed", "the reason has no limit", "the measure's"),
)
PLANNED: Final = (
    VIDEO_ID,
    _column("path", TEXT, "file, or folder of pictures, relative to the dataset's root"),
    _column("member", TEXT, "folder inside the archive path", "the video is a separate file"),
    DATASET,
    _column("part", TEXT, "part of the dataset, e.g. its folder", "the dataset has no parts"),
    _LABEL,
    *_ORIGIN,
    _column("donor_recording_id", TEXT, "recording of the donor", "a real video, or unknown"),
    *SPLITS,
    _column(
        "persons_estimated",
        pa.list_(TEXT),
        "persons whom `quality persons` took it to show, targets and known donors: estimated from faces",
        "nobody estimated, no table of estimates, or an older build",
    ),
)
_PICTURE: Final = (
    _column("mirrored", BOOL, "whether left and right are exchanged after that turn", _NOT_OPENED),
    _column("pixel_aspect", DOUBLE, "width / height of a stored pixel; frames are stretched to 1", _NOT_OPENED, PURE),
    _column("pixel_format", TEXT, "of the stored frames, as FFmpeg names it, e.g. yuv420p", _NOT_OPENED),
    _column("colour_range", TEXT, "tv (16 to 235 of 255) or pc (0 to 255), as it was read", _NOT_OPENED),
    _column("colour_matrix", TEXT, "matrix that was undone, e.g. bt709", f"grey frames; {_NOT_OPENED}"),
    _column("colour_transfer", TEXT, "e.g. bt709; smpte2084 (PQ) and arib-std-b67 (HLG) are HDR", _UNTAGGED),
    _column("colour_primaries", TEXT, "e.g. bt709", _UNTAGGED),
    _column(
        "colour_guessed",
        pa.list_(TEXT),
        "what the file does not tag, of range, matrix, transfer and primaries; read as ffmpeg reads it: limited range, "
        "BT.601, SDR",
        _NOT_OPENED,
    ),
    _column("interlaced", BOOL, "whether the first key frame is flagged as interlaced", _NOT_OPENED),
    _column("video_streams", WHOLE, "video streams, without cover art", _NOT_OPENED, "streams"),
    _column("audio_codec", TEXT, "of the first audio track, e.g. aac", f"no audio; {_UNKNOWN}"),
    _column("audio_rate", WHOLE, "samples of that track in a second", f"no audio; {_UNKNOWN}, or an older build", "Hz"),
    _column(
        "audio_bit_rate",
        LONG,
        "of that track, as the container states it",
        f"no audio; {_UNKNOWN}, or an older build",
        "bit/s",
    ),
    _column("qp_mean", REAL, "mean quantisation parameter over the blocks of the first key frame", _NO_QP, _QP),
    _column("qp_spread", REAL, "standard deviation of that parameter", _NO_QP, _QP),
)
OUTCOME: Final = (
    _column(
        "status",
        TEXT,
        "ok, partial, no_face, empty, missing, unlabelled, decode_error, hdr, crashed, timeout or oom",
    ),
    _column("error", TEXT, "what went wrong and what to do", "nothing"),
    _column("guide", TEXT, "as in samples", "a real video, guides are off, or not decoded"),
    _column("decoder", TEXT, "library that decoded the video or its pictures", _NOT_RUN),
    _column("codec", TEXT, "of the video stream, e.g. h264; png or jpeg of pictures", _UNKNOWN),
    _column("encoder", TEXT, "program that encoded the file", _UNKNOWN),
    _column("bit_rate", LONG, "of the file or stream", _UNKNOWN, "bit/s"),
    _column("gop", WHOLE, "largest distance between key frames", _UNKNOWN, "frames"),
    _column("created", TEXT, "creation time that the container states, ISO 8601", _UNKNOWN),
    _column("has_audio", BOOL, "whether the file has an audio track", _UNKNOWN),
    _column("width", WHOLE, "of the upright frame", _UNKNOWN, "px"),
    _column("height", WHOLE, "of the upright frame", _UNKNOWN, "px"),
    _column("rotation", WHOLE, "counter-clockwise turn that makes the frame upright", _UNKNOWN, "degrees"),
    *_PICTURE,
    _column("fps", DOUBLE, "mean frame rate", _UNKNOWN, "frames/s"),
    _column("frames_total", WHOLE, "frames in the file, counted from packets, or pictures", _UNKNOWN, "frames"),
    _column("duration_s", DOUBLE, "length", _UNKNOWN, "s"),
    _column("frames_sampled", WHOLE, "frames requested by the recipe's sampling", unit="frames"),
    _column("frames_failed", WHOLE, "of those, frames that could not be decoded", unit="frames"),
    _column("faces_seen", WHOLE, "faces found: crops_kept + crops_rejected", unit="faces"),
    _column("crops_kept", WHOLE, "faces that passed every gate", unit="faces"),
    _column("crops_rejected", WHOLE, "faces that failed at least one gate", unit="faces"),
    _column("masks", WHOLE, "samples with a mask", "masks were not requested, or not decoded", "samples"),
    _column("mask_note", TEXT, "why masks are missing", "none is missing, or none was requested"),
    _column("seconds_decode", DOUBLE, "time for probing and decoding", _NOT_RUN, "s"),
    _column(
        "seconds_detect",
        DOUBLE,
        "time for detection and tracking",
        f"{_NOT_RUN}, or the faces were cut out already",
        "s",
    ),
    _column("seconds_total", DOUBLE, "total time", _NOT_RUN, "s"),
)
VIDEO_SHARD: Final = _column("shard", TEXT, "tar with its samples, relative to the build", "no sample in its shard")
PLAN_SHARD: Final = _column("shard", TEXT, "tar that its samples will be in, relative to the build")
BYTES: Final = _column("bytes", LONG, "size of the file, or of its pictures together", "the file is missing", "bytes")
PLAN_END: Final = (
    _column("mask", TEXT, "video of the manipulation mask, relative to the root", "no mask, or none requested"),
    _column("date", TEXT, "day of recording or publication, ISO 8601", "unknown"),
    _column("fault", TEXT, "missing or unlabelled: planned, but not decoded", "the video can be decoded"),
    _column("fault_note", TEXT, "the fault in a sentence", "the video can be decoded"),
    BYTES,
    _column("order", LONG, "position in the order of the build, from 0", unit="videos"),
)
FINDING: Final = (
    _column("path", TEXT, "file that was found and not planned, relative to the root"),
    _column("kind", TEXT, "metadata, unreadable_metadata, bad_row, other, ..."),
    _column("reason", TEXT, "why it was not planned"),
)
FLAG: Final = (
    _column("sample_id", TEXT, "sample that the flag is on", "it is on the whole video"),
    VIDEO_ID,
    _column("flag", TEXT, "name of the flag, e.g. unchanged"),
    _column("value", DOUBLE, "measured value", "no value", "its own"),
    _column("limit", DOUBLE, "limit that the value was compared with", "no limit", "the value's"),
    _column("by", TEXT, "author of the flag: a command or a person"),
    _column("reason", TEXT, "why, in words", "the flag says it, or an older build"),
)
