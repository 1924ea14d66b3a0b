"""The records that the packages exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Pixels = float  # a length in the upright source frame
Seconds = float
Box = tuple[Pixels, Pixels, Pixels, Pixels]  # x0, y0, x1, y1, half-open
Landmarks = tuple[Pixels, ...]  # ten: left eye, right eye, nose, left and right mouth corner as x, y
Image = NDArray[np.uint8]  # (H, W, 3), RGB
Mask = NDArray[np.uint8]  # (H, W), what was manipulated, in the dataset's own values
Grey = NDArray[np.uint8]  # (H, W)

Split = Literal["train", "val", "test", "unassigned"]
TRAIN_VAL_TEST: Final[tuple[Split, ...]] = ("train", "val", "test")  # disjoint under a protocol
SPLITS: Final[tuple[Split, ...]] = (*TRAIN_VAL_TEST, "unassigned")
SPLIT_COLUMNS: Final = (
    *("split", "split_official", "split_family", "split_identity"),
    *("split_method", "split_temporal", "split_person_estimated", "split_note"),
)

Status = Literal[
    "ok", "partial", "no_face", "empty", "missing", "unlabelled", "decode_error", "hdr", "crashed", "timeout", "oom"
]
FAILURES: Final[frozenset[str]] = frozenset(
    {"missing", "unlabelled", "partial", "empty", "decode_error", "hdr", "crashed", "timeout", "oom"}
)
GuideReason = Literal["original", "no_original", "size", "fps", "longer", "content"]

PURE: Final = "1"  # the unit of a pure number
_FRAME_ROW: Final = "a frame without a face"
_NO_BOX: Final = f"{_FRAME_ROW}, or a face that the dataset's authors cut out"
_UNALIGNED: Final = f"{_NO_BOX}, or an older build"
_NO_TILES: Final = "fewer than four tiles of the frame are free of crops, the frame is unknown, or an older build"
_NO_PARTNER: Final = (
    "a real video, a fake without a guide, or one of several persons who is shown at another moment or changed all over"
)
_NO_CHEEKS: Final = "patches too small, too dark, overexposed or blue, cheeks that differ, or no landmarks"

PRISTINE: Final = "pristine"  # the method of every real video


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """One planned video: what is known before a pixel is read.

    ``fault`` is set for a video that is planned but not decoded: ``missing`` (listed, not on disk)
    or ``unlabelled`` (on disk, no usable metadata); ``fault_note`` is its sentence.
    """

    video_id: str
    path: str  # relative to the dataset's root, with "/"
    member: str | None = None  # folder inside the archive ``path``: faces that the dataset's authors cut out
    mask: str | None = None  # path of the video of the manipulation mask
    date: str | None = None  # ISO 8601: when it was recorded or published, if known
    dataset: str
    part: str | None = None
    label: int | None = None  # 1 fake, 0 real, None unlabelled
    method: str | None = None
    compression: str | None = None
    family_id: str
    target_id: str | None = None
    donor_id: str | None = None
    recording_id: str | None = None
    donor_recording_id: str | None = None
    split: str | None = None
    split_official: str | None = None
    split_family: str | None = None
    split_identity: str | None = None
    split_method: str | None = None
    split_temporal: str | None = None
    split_person_estimated: str | None = None
    split_note: str | None = None
    persons_estimated: Sequence[str] | None = None  # whom the active or an earlier table of estimates names
    fault: str | None = None
    fault_note: str | None = None
    bytes: int | None = None
    shard: str | None = None  # "shards/train/dfdc-train-000000.tar", set by the plan
    order: int | None = None  # place in the build's order, set by the plan


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFinding:
    """A file that was found but not planned, or an invalid metadata row, and the reason."""

    path: str
    kind: str  # "metadata" (read), "unreadable_metadata", "bad_row", "other", ...
    reason: str


Level = Literal["broken", "warning", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One judgement on a build, for every page that shows one.

    ``broken``: a law, or what the active split promises, does not hold; ``warning``: it holds, and what is trained or
    tested on the build may still mislead; ``note``: what could not be looked at. ``law`` is one word for what was
    looked at. ``what`` is a phrase with its counts and without ids, ``remedy`` a sentence or empty. ``ids`` are the
    videos, people or pictures in question, all of them: a page that is shared leaves them out.
    """

    level: Level
    law: str
    what: str
    remedy: str = ""
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """What a container states and its packets show; ``None`` is unknown."""

    codec: str | None = None
    encoder: str | None = None
    bit_rate: int | None = None  # bits per second
    gop: int | None = None  # frames between key frames, the largest seen
    created: str | None = None  # ISO 8601, as the container has it
    has_audio: bool | None = None
    width: int | None = None  # upright, pixels
    height: int | None = None
    rotation: int | None = None  # degrees counter-clockwise that make the stored frame upright
    mirrored: bool | None = None  # whether left and right are exchanged after that turn
    pixel_aspect: float | None = None  # width over height of a stored pixel
    pixel_format: str | None = None
    colour_range: str | None = None
    colour_matrix: str | None = None
    colour_transfer: str | None = None
    colour_primaries: str | None = None
    colour_guessed: tuple[str, ...] | None = None  # what is not tagged, of range, matrix, transfer and primaries
    interlaced: bool | None = None
    qp_mean: float | None = None  # of the encoder's quantisation parameter over the blocks of the first key frame
    qp_spread: float | None = None  # its standard deviation
    video_streams: int | None = None  # without cover art
    audio_codec: str | None = None
    audio_rate: int | None = None  # samples per second
    audio_bit_rate: int | None = None  # bits per second
    fps: float | None = None
    frames_total: int | None = None  # counted from packets
    frames_declared: int | None = None  # stated by the header; used only to detect truncation
    duration_s: Seconds | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """A decoded frame as a player shows it: ``image`` is (H, W, 3) uint8 RGB, upright.

    ``glances``: small grey pictures, upright, of the decoded frames after the wanted one before, up to this one itself;
    empty where there are none, or too many. ``cut``: whether the scene changes among them; None where nobody looked.
    """

    index: int
    time_s: Seconds | None  # since the first frame
    image: Image
    glances: tuple[Grey, ...] = ()
    cut: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A face in one frame, in pixels of the upright source frame."""

    box: Box
    landmarks: Landmarks
    confidence: float
    track: int = -1  # -1: not yet linked
    person: int | None = None  # None: not yet known


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The square that a crop was cut from; may be partly outside the frame."""

    x0: int
    y0: int
    side: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crop:
    """A face with its pixels: ``image`` at the recipe's size, ``probe`` at min(native side, 224)."""

    face: Face
    geometry: Geometry
    image: Image  # (S, S, 3) RGB
    probe: Image  # (P, P, 3) RGB, P = min(native side, 224): input of the measures
    box_in_probe: Box  # the face box in the probe's pixels
    landmarks_in_probe: Landmarks


def measured(unit: str, meaning: str, null: str) -> Any:
    """A field of ``Measures``, which is a column of samples and rejects: its unit, formula, and what null means."""
    return field(default=None, metadata={"unit": unit, "meaning": meaning, "null": null})


ALIGNED_HASHES: Final = ("aligned_phash", "aligned_phash_mirrored")
HASHES_AS_TEXT: Final = ("phash", "frame_phash", *ALIGNED_HASHES)  # beside a picture: 16 hexadecimal digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """The measures of one crop; ``None`` is unknown and never rejected. Each field is a column, in this order:
    ``float`` is stored with 32 bits, ``int`` holds the 64 bits of a hash. ``quality.measures`` computes them.
    """

    blur: float | None = measured(
        "grey levels²",
        "variance of the Laplacian of the grey crop at most 224 px: high means sharp",
        _FRAME_ROW,
    )
    blur_face: float | None = measured("grey levels²", "blur inside the face box", _NO_BOX)
    brightness: float | None = measured(PURE, "mean grey of the crop, 0 to 1", _FRAME_ROW)
    contrast: float | None = measured(PURE, "standard deviation of the crop's grey, 0 to 0.5", _FRAME_ROW)
    blur_outside: float | None = measured(
        "grey levels²", "mean blur of native tiles of the frame that touch no crop", _NO_TILES
    )
    brightness_outside: float | None = measured(PURE, "mean grey of these tiles, 0 to 1", _NO_TILES)
    contrast_outside: float | None = measured(PURE, "standard deviation of these tiles' grey, 0 to 0.5", _NO_TILES)
    residual_outside: float | None = measured(
        "grey levels", "mean absolute high-pass residual (KV filter, 5 x 5) of these tiles' grey", _NO_TILES
    )
    residual_kurtosis_outside: float | None = measured(
        PURE, "kurtosis of that residual: 3 for Gaussian noise, more after compression", f"a flat frame; {_NO_TILES}"
    )
    face_ratio: float | None = measured(
        PURE, "sqrt(box area inside the frame) / (1.3 x the longer side of the box): 0.67 for a typical face", _NO_BOX
    )
    change: float | None = measured(
        "grey levels", "mean absolute RGB difference from the original's crop inside the face box", _NO_PARTNER
    )
    change_peak: float | None = measured(
        PURE,
        "95th percentile of the 12 px block means of that difference in the face box, over the median of its 16 px "
        "block means in the crop: about 2 for re-encoding, above 3 for a forgery",
        _NO_PARTNER,
    )
    ita: float | None = measured(
        "degrees", "individual typology angle of two cheek patches: an estimate of skin tone", _NO_CHEEKS
    )
    phash: int | None = measured("64 bits", "perceptual hash of the crop", _FRAME_ROW)
    frame_phash: int | None = measured("64 bits", "perceptual hash of the whole frame", _NO_BOX)
    aligned_phash: int | None = measured(
        "64 bits",
        "perceptual hash of the face, aligned by its landmarks: the same in a cropped or framed copy",
        _UNALIGNED,
    )
    aligned_phash_mirrored: int | None = measured(
        "64 bits", "aligned_phash of the frame with left and right exchanged: that of a mirrored copy", _UNALIGNED
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Keep, or every gate that failed with the first one's value and limit."""

    reasons: tuple[str, ...] = ()
    measured: float | None = None
    limit: float | None = None

    @property
    def keep(self) -> bool:
        return not self.reasons

    @property
    def reason(self) -> str | None:
        return self.reasons[0] if self.reasons else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """A stored crop: its row (without the columns that the tar determines), encoded picture and mask, if any."""

    row: Mapping[str, Any]
    picture: bytes
    mask: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rejection:
    """A rejected face or frame: its row and, for some, a small picture."""

    row: Mapping[str, Any]
    picture: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """The result of one video: its row, its samples and its rejections."""

    video: Mapping[str, Any]
    samples: tuple[Sample, ...] = ()
    rejections: tuple[Rejection, ...] = ()
