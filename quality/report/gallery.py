"""The faces that a report shows: few, chosen by hash, embedded as small JPEGs within a budget."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import cv2
import numpy as np
import polars as pl

from semblance.manifests import scan
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import ALIGNED_HASHES, SPLITS, Image
from semblance.manifests.text import seeded_order
from semblance.quality import codec
from semblance.quality.measures import registry
from semblance.shards import read

SIDE_PX: Final = 96
BUDGET: Final = 9_000_000  # characters of all pictures of one page
_EACH: Final = 8  # of one group
_GROUPS: Final = 60
_JPEG: Final = codec.EncodingConfig(format="jpg", quality=82)
_COLUMNS: Final = (
    "sample_id",
    "video_id",
    "split",
    "label",
    "face_label",
    "face_label_by",
    "person",
    "method",
    "compression",
    "shard",
    "tar_offset",
    "tar_bytes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A data URI, what it shows in words, and a short caption."""

    uri: str
    alt: str
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Pictures under one title."""

    title: str
    pictures: tuple[Picture, ...]


@dataclass(slots=True)
class Gallery:
    """Reads pictures of the build ``out`` until the budget is spent; what cannot be read is counted."""

    out: str
    left: int = BUDGET
    unreadable: int = 0
    left_out: int = 0
    _known: dict[str, str] = field(default_factory=dict)

    def image(self, row: dict[str, Any]) -> Image | None:
        """The stored picture; None where it cannot be read."""
        try:
            return codec.decode(read.fetch(self.out, row))
        except (OSError, ValueError, SemblanceError, cv2.error):
            self.unreadable += 1
            return None

    def embed(self, image: Image) -> str | None:
        """A small copy as a data URI; None where the budget is spent."""
        small = cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        uri = "data:image/jpeg;base64," + base64.b64encode(codec.encode(np.asarray(small, np.uint8), _JPEG)).decode()
        if len(uri) > self.left:
            self.left_out += 1
            return None
        self.left -= len(uri)
        return uri

    def sheet(self, title: str, rows: Iterable[dict[str, Any]], value: str | None = None) -> Sheet:
        """The rows' pictures; ``value`` names a column that the caption tells."""
        pictures = []
        for row in rows:
            image = self.image(row)
            uri = None if image is None else self.embed(image)
            if uri is not None:
                kind = "real" if row["label"] == 0 else "fake" if row["label"] == 1 else "unlabelled"
                said = row["sample_id"] if value is None or row.get(value) is None else f"{value} {row[value]:.3g}"
                words = ", ".join([said, *whose(row)])
                pictures.append(Picture(uri=uri, alt=f"{kind} face {row['sample_id']}", caption=words))
        return Sheet(title=title, pictures=tuple(pictures))


def whose(row: dict[str, Any]) -> Iterator[str]:
    """Of a face: its person, where known, and of a fake, whether it was altered and what said so."""
    if row["person"] is not None:
        yield f"person {row['person']}"
    if row["label"] == 1:
        by = f" ({row['face_label_by']})" if row["face_label_by"] is not None else ""
        yield "no face label" if row["face_label"] is None else f"{'altered' if row['face_label'] else 'untouched'}{by}"


def some(frame: pl.LazyFrame, keys: list[str], each: int = _EACH) -> list[tuple[str, list[dict[str, Any]]]]:
    """At most ``each`` rows of every group, no two of one video unless there are too few, chosen by hash."""
    chosen = (
        frame.filter(pl.col("tar_offset").is_not_null())
        .select(*_COLUMNS, *[key for key in keys if key not in _COLUMNS])
        .with_columns(draw=seeded_order("gallery", "sample_id"))
        .sort("draw")
        .with_columns(turn=pl.col("draw").cum_count().over("video_id", *keys))
        .sort("turn", "draw")
        .group_by(keys, maintain_order=True)
        .head(each)
        .collect()
    )
    groups = chosen.sort([*keys, "sample_id"]).partition_by(keys, as_dict=True, maintain_order=True)
    found = [
        (", ".join(str(part) for part in key if part is not None), part.to_dicts()) for key, part in groups.items()
    ]
    return found[:_GROUPS]


def kept(album: Gallery) -> list[Sheet]:
    """A sheet a split and method of kept faces."""
    frame = scan(album.out).filter(pl.col("verdict") == "keep")
    frame = frame.with_columns(method=pl.col("method").fill_null("method not published"))
    found = some(frame, ["split", "method"])
    found.sort(key=lambda one: SPLITS.index(one[1][0]["split"]))
    return [album.sheet(title, rows) for title, rows in found]


def rejected(album: Gallery) -> list[Sheet]:
    """A sheet a reason of rejected faces."""
    frame = scan(album.out, "rejects").filter(pl.col("unit") == "face")
    return [album.sheet(title, rows) for title, rows in some(frame, ["reason"])]


def worst(album: Gallery) -> list[Sheet]:
    """A sheet a gate of the kept faces nearest to being rejected: softest, darkest, smallest, ..."""
    sheets = []
    for measure, gate in registry.GATED:
        name = measure.name
        order: dict[str, Any] = {"by": [name, "sample_id"], "descending": [gate.below is None, False]}
        value = pl.sql_expr(measure.expression).alias(name)
        ranked = scan(album.out).filter(pl.col("verdict") == "keep").select(*_COLUMNS, "family_id", value)
        ranked = ranked.drop_nulls(name).sort(**order)
        rows = ranked.group_by("family_id", maintain_order=True).first().head(_EACH).collect()
        if rows.height:
            sheets.append(album.sheet(f"{gate.extreme} ({name})", rows.sort(**order).to_dicts(), name))
    return sheets


def changes(album: Gallery, videos: list[str], title: str) -> list[Sheet]:
    """Original, fake and their difference (eight times as strong) for a frame in the middle of each of these fakes."""
    names = [*_COLUMNS, "frame_index", "track", "family_id"]
    fakes = scan(album.out).filter(pl.col("video_id").is_in(videos)).select(names).collect()
    wanted = fakes["family_id"].unique().implode()
    reals = scan(album.out).filter((pl.col("label") == 0) & pl.col("family_id").is_in(wanted)).select(names).collect()
    sheets = []
    for name in videos:
        rows = fakes.filter(video_id=name).sort("frame_index", "track")
        if rows.is_empty():
            continue
        row = rows.row(rows.height // 2, named=True)
        same = [pl.col(key).eq_missing(pl.lit(row[key])) for key in ("family_id", "frame_index", "track")]
        alike = pl.col("compression").eq_missing(pl.lit(row["compression"]))
        partner = reals.filter(same).sort(alike, "sample_id", descending=[True, False])
        pictures = trio(album, None if partner.is_empty() else partner.row(0, named=True), row)
        sheets.append(Sheet(title=f"{title}: {name}", pictures=pictures))
    return sheets


def equal(album: Gallery, found: Sequence[tuple[str, str]]) -> list[Sheet]:
    """For each real and fake with the same pictures: their most alike frames, and the difference."""
    rows = _rows(album, [name for names in found for name in names])
    return [
        Sheet(title=f"{fake} equals {real}", pictures=trio(album, *_closest(rows[real], rows[fake])))
        for real, fake in found
        if real in rows and fake in rows
    ]


def trio(album: Gallery, first: dict[str, Any] | None, second: dict[str, Any]) -> tuple[Picture, ...]:
    """Two rows' pictures and their difference; only what there is."""
    images = [None if row is None else album.image(row) for row in (first, second)]
    shown: list[tuple[str, str, Image]] = []
    for row, image in zip((first, second), images, strict=True):
        if row is not None and image is not None:
            shown.append(("real" if row["label"] == 0 else "fake", str(row["sample_id"]), image))
    if len(shown) == 2 and shown[0][2].shape == shown[1][2].shape:
        difference = np.abs(shown[0][2].astype(np.int16) - shown[1][2]) * 8
        shown.append(("difference", "difference x 8", np.clip(difference, 0, 255).astype(np.uint8)))
    pictures = []
    for kind, name, image in shown:
        uri = album.embed(image)
        if uri is not None:
            alt = "difference of the two pictures" if kind == "difference" else f"{kind} face {name}"
            pictures.append(Picture(uri=uri, alt=alt, caption=kind if kind != "difference" else name))
    return tuple(pictures)


def clusters(album: Gallery, found: Sequence[Sequence[str]]) -> list[Sheet]:
    """A sheet a cluster of video ids: two with their difference, of more a picture each, of the most alike frames."""
    rows = _rows(album, [name for names in found for name in names])
    sheets = []
    for names in found:
        present = [name for name in names if name in rows]
        if len(present) < 2:
            continue
        where = ", ".join(f"{name} ({rows[name].item(0, 'split')})" for name in names[:_EACH] if name in rows)
        more = f" and {len(names) - _EACH} more" if len(names) > _EACH else ""
        first = _middle(rows[present[0]])
        alike = [_alike(rows[name], first) for name in present[1:_EACH]]
        pictures = (
            trio(album, *_closest(*(rows[name] for name in present)))
            if len(present) == 2
            else album.sheet("", [first, *alike]).pictures
        )
        sheets.append(Sheet(title=f"{len(names)} videos: {where}{more}", pictures=pictures))
    return sheets


def pairs(album: Gallery, other: Gallery, found: Sequence[pl.DataFrame]) -> list[Sheet]:
    """For each cluster of pairs of videos of two builds (columns video, other, split, other_split, shared, how) the
    first pair's most alike frames, side by side.
    """
    sheets = []
    for cluster in found:
        row = cluster.row(0, named=True)
        ours, theirs = (_rows(one, [row[end]]).get(row[end]) for one, end in ((album, "video"), (other, "other")))
        if ours is None or theirs is None:
            continue
        first, second = _closest(ours, theirs)
        shown = [*album.sheet("", [first]).pictures, *other.sheet("", [second]).pictures]
        title = f"{row['video']} ({row['split']}) and {row['other']} ({row['other_split']}): {row['shared']} frames"
        more = f": {row['how']}" if row["how"] else ""
        more += f"; {cluster.height - 1} more such pairs with these" if cluster.height > 1 else ""
        sheets.append(Sheet(title=title + more, pictures=tuple(shown)))
    return sheets


def recordings(album: Gallery, found: pl.DataFrame) -> list[Sheet]:
    """For each pair of videos of one recording (columns video, other, split, other_split, how) its nearest faces, side
    by side, with what was done to the second.
    """
    rows = _rows(album, [*found["video"], *found["other"]])
    sheets = []
    for row in found.iter_rows(named=True):
        both = [rows[row[end]].drop_nulls("aligned_phash") for end in ("video", "other") if row[end] in rows]
        if len(both) < 2 or min(part.height for part in both) < 1:
            continue
        first, second = (album.sheet("", [face]).pictures for face in _same_face(*both))
        what = row["how"] or "the same picture, encoded or coloured anew"
        shown = [replace(picture, caption=what) for picture in second]
        title = f"{row['video']} ({row['split']}) and {row['other']} ({row['other_split']}): {what}"
        sheets.append(Sheet(title=title, pictures=(*first, *shown)))
    return sheets


def _same_face(first: pl.DataFrame, second: pl.DataFrame) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rows of two videos whose aligned faces are nearest, or nearest to the other's mirror image."""
    one = first["aligned_phash"].to_numpy()
    far = np.minimum(*(np.bitwise_count(one[:, None] ^ second[name].to_numpy()[None, :]) for name in ALIGNED_HASHES))
    i, j = np.unravel_index(int(far.argmin()), far.shape)
    return first.row(int(i), named=True), second.row(int(j), named=True)


def _rows(album: Gallery, names: Iterable[str]) -> dict[str, pl.DataFrame]:
    """The stored pictures of these videos."""
    wanted = pl.Series(sorted(set(names)), dtype=pl.String).implode()
    rows = (
        scan(album.out).filter(pl.col("video_id").is_in(wanted)).select(*_COLUMNS, "phash", *ALIGNED_HASHES).collect()
    )
    return {str(name): part.sort("sample_id") for (name,), part in rows.group_by("video_id")}


def _middle(rows: pl.DataFrame) -> dict[str, Any]:
    return rows.row(rows.height // 2, named=True)


def _alike(rows: pl.DataFrame, one: dict[str, Any]) -> dict[str, Any]:
    """The row with the hash nearest to another's."""
    bits = (pl.col("phash") ^ pl.lit(one["phash"], pl.UInt64)).bitwise_count_ones()
    return rows.sort(bits, "sample_id").row(0, named=True)


def _closest(first: pl.DataFrame, second: pl.DataFrame) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rows of two videos with the nearest hashes."""
    pairs = [(one, _alike(second, one)) for one in first.iter_rows(named=True)]
    return min(pairs, key=lambda pair: (pair[0]["phash"] ^ pair[1]["phash"]).bit_count())
