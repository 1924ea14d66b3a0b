"""Label noise: flag videos whose label is doubtful; shards stay unchanged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from semblance.manifests import build_files, scan, storage, tables
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import Box
from semblance.manifests.user_tables import read_user_table
from semblance.quality import codec, measures
from semblance.quality.checks import remedies
from semblance.shards import read

UNCHANGED: Final = "unchanged"  # a fake of which no person's median change_peak exceeds the recipe's limit
EQUALS_REAL: Final = "equals_real"  # a fake whose pictures are those of a real video
EQUALS_FAKE: Final = "equals_fake"  # a real video of another family than the fake whose pictures it has
FLAGS: Final = (EQUALS_REAL, EQUALS_FAKE, UNCHANGED)
FILE: Final = "manifests/flags/label-noise.parquet"
SAME: Final = 0.5  # share of the shorter video's compared pictures that must be equal
LEAST: Final = 2  # pictures that two videos must share
_ALIKE: Final = 2.0  # of 255, mean difference of two pictures that are one, encoded twice (mere c40 gives 3-5)
_BOX: Final = ("crop_x0", "crop_y0", "crop_side", "box_x0", "box_y0", "box_x1", "box_y1")
_FACE: Final = (
    *("video_id", "label", "family_id", "method", "target_id", "donor_id", "compression"),
    *("track", "person", "face_label_by", "guide", "change_peak"),
)
_MOST: Final = 4000  # pairs of pictures compared on pixels
_DEFAULT_PEAK: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The rows of ``manifests/flags`` and how much was compared."""

    rows: tuple[dict[str, Any], ...]
    fakes: int  # with a known change_peak
    refused: Mapping[str, int]  # fakes without it, not judged, by reason
    bare: int  # fakes without a stored crop: nothing to judge
    compared: int  # pairs of pictures compared on pixels
    pairs: pl.DataFrame  # real and fake videos with the same pictures: columns real, fake, same_family, share

    @property
    def why_refused(self) -> str:
        """``fps 2 (another frame rate than the original)``; empty if all were compared."""
        return ", ".join(f"{name} {count} ({remedies.REFUSED[name]})" for name, count in self.refused.items())


def peak_limit(out: str) -> float:
    """The recipe's ``guide.change_peak``."""
    guide = build_files.description(out).get("recipe", {}).get("guide", {})
    return float(guide.get("change_peak", _DEFAULT_PEAK))


def judge(out: str) -> Judged:
    """Find label noise in the build ``out``; ``write`` stores the flags."""
    limit = peak_limit(out)
    unchanged, fakes, refused = _unchanged(_seen(out), limit)
    pairs, compared = _equal(out, scan(out), limit)
    rows = unchanged + _equal_rows(pairs)
    planned = scan(out, "videos").filter(pl.col("label") == 1).select(pl.len()).collect().item()
    bare = planned - fakes - sum(refused.values())
    return Judged(rows=tuple(rows), fakes=fakes, refused=refused, bare=bare, compared=compared, pairs=pairs)


def lines(judged: Judged, limit: float) -> Iterator[str]:
    """What was flagged, with examples, and what was not judged; ``limit``: that of change_peak."""
    for flag in FLAGS:
        names = [row["video_id"] for row in judged.rows if row["flag"] == flag]
        examples = f": {', '.join(names[:3])}{' and more' if len(names) > 3 else ''}" if names else ""
        yield f"{flag}: {_counted(len(names), 'video')}{examples}"
    were = "was" if judged.fakes == 1 else "were"
    line = f"{_counted(judged.fakes, 'fake')} with crops {were} compared with the original"
    if judged.refused:
        line += f", {sum(judged.refused.values())} not: {judged.why_refused}"
    yield line
    if judged.bare:
        yield f"{_counted(judged.bare, 'fake')} {'has' if judged.bare == 1 else 'have'} no stored crop: not judged"
    yield (
        f"`change_peak` (limit {limit:g}) is unreliable after strong compression: inspect the videos before you drop "
        "them"
    )


def write(out: str, judged: Judged) -> None:
    """Replace the flags of an earlier run; the file has no rows if no label is doubtful."""
    tables.write_rows(storage.join(out, FILE), judged.rows, "flags")


def _row(video_id: str, flag: str, value: float | None, limit: float | None, by: str) -> dict[str, Any]:
    return {"sample_id": None, "video_id": video_id, "flag": flag, "value": value, "limit": limit, "by": by}


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _seen(out: str) -> pl.LazyFrame:
    """All faces seen of the fakes that have a stored crop: a rejected one may be the altered one."""
    fakes = scan(out, flags=False).filter(pl.col("label") == 1)
    gone = scan(out, "rejects").filter((pl.col("unit") == "face") & ~pl.col("reasons").list.contains("doubtful"))
    seen = pl.concat([fakes.filter(pl.col("verdict") == "keep").select(_FACE), gone.select(_FACE)])
    return seen.join(fakes.select("video_id").unique(), on="video_id", how="semi").filter(pl.col("label") == 1)


def _unchanged(faces: pl.LazyFrame, limit: float) -> tuple[list[dict[str, Any]], int, dict[str, int]]:
    """Fakes that never exceed the limit, at any compression: rows, the number of fakes judged, and why others were not.

    Medians are over a person, in older builds over a track. A face that stands clear of the untouched ones beside it is
    altered, even below the limit, and so is one under the dataset's mask: rules ``change`` and ``mask`` label them.
    """
    fake = ["family_id", "method", "target_id", "donor_id"]
    tracks = (
        faces.filter(pl.col("label") == 1)
        .group_by("video_id", pl.coalesce("person", "track"), "compression", *fake)
        .agg(
            pl.col("change_peak").median(),
            clear=pl.col("face_label_by").is_in(["change", "mask"]).any(),
            guide=pl.col("guide").drop_nulls().first(),
        )
        .group_by("video_id", "compression", *fake)
        .agg(pl.col("change_peak").max(), pl.col("clear").any(), pl.col("guide").drop_nulls().sort().first())
        .with_columns(versions=pl.col("compression").n_unique().over(fake), videos=pl.len().over(fake))
        .with_columns(everywhere=pl.col("change_peak").max().over(fake))
        .sort("video_id")
        .collect()
    )
    known = tracks.drop_nulls("change_peak")
    identified = pl.all_horizontal(pl.col("method", "donor_id").is_not_null()) & (
        pl.col("videos") == pl.col("versions")
    )
    best = pl.when(identified).then("everywhere").otherwise("change_peak")
    low = known.filter((best <= limit) & ~pl.col("clear").fill_null(value=False)).select("video_id", "change_peak")
    rows = [_row(name, UNCHANGED, value, limit, "quality flag") for name, value in low.iter_rows()]
    why = pl.col("guide").fill_null(remedies.UNGUIDED).replace({"original": remedies.MOMENT})
    refused = tracks.filter(pl.col("change_peak").is_null()).select(why)["guide"].value_counts().sort("guide")
    return rows, known.height, dict(refused.iter_rows())


def _equal(out: str, samples: pl.LazyFrame, limit: float) -> tuple[pl.DataFrame, int]:
    """Pairs of a real and a fake video whose pictures are equal: columns real, fake, same_family, share.

    Candidates have equal bytes, or equal hashes of crop and frame; those are then compared on pixels, by the measure
    and the ``limit`` that distinguish a forgery from mere re-encoding. Faces of a fake that are known to be untouched
    (``face_label`` null) do not count: they should equal the original's.
    """
    place = ["sample_id", "video_id", "family_id", "shard", "tar_offset", "tar_bytes", "sha256", "phash", "frame_phash"]
    place += _BOX
    reals = samples.filter(pl.col("label") == 0).select(place)
    fakes = samples.filter((pl.col("label") == 1) & (pl.col("face_label") == 1)).select(place)
    bytes_ = reals.join(fakes, on="sha256", suffix="_fake").with_columns(same=pl.lit(True))
    hashes = reals.join(fakes, on=["phash", "frame_phash"], suffix="_fake").filter(
        pl.col("sha256") != pl.col("sha256_fake")
    )
    found = hashes.sort("sample_id", "sample_id_fake").collect()
    counts = found.group_by("video_id", "video_id_fake").len().filter(pl.col("len") >= LEAST)
    found = found.join(counts, on=["video_id", "video_id_fake"], maintain_order="left").head(_MOST)
    same = [_one_picture(out, row, limit) for row in found.iter_rows(named=True)]
    keys = ["video_id", "video_id_fake", "family_id", "family_id_fake", "sample_id", "sample_id_fake"]
    alike = found.filter(pl.Series(same, dtype=pl.Boolean)).select(keys)
    both = pl.concat([bytes_.select(keys).collect(), alike]).unique()
    sizes = samples.group_by("video_id").agg(pictures=pl.len(), altered=(pl.col("face_label") == 1).sum()).collect()
    pairs = (
        both.group_by("video_id", "video_id_fake", "family_id", "family_id_fake")
        .agg(shared=pl.min_horizontal(pl.col("sample_id").n_unique(), pl.col("sample_id_fake").n_unique()))
        .join(sizes.select("video_id", "pictures"), on="video_id")
        .join(sizes.select(video_id_fake="video_id", altered="altered"), on="video_id_fake")
        .with_columns(share=pl.col("shared") / pl.min_horizontal("pictures", "altered"))
        .filter((pl.col("share") > SAME) & (pl.col("shared") >= LEAST))
        .sort("video_id", "video_id_fake")
    )
    columns = {"real": "video_id", "fake": "video_id_fake", "share": "share"}
    return pairs.select(same_family=pl.col("family_id") == pl.col("family_id_fake"), **columns), found.height


def _one_picture(out: str, row: dict[str, Any], limit: float) -> bool:
    """Whether two pictures are encodings of the same one: they differ little, and no more in the face than elsewhere
    (``change_peak``, because faint forgeries change neither the hashes nor the mean).
    """
    real = codec.decode(read.fetch(out, row))
    names = ("shard", "tar_offset", "tar_bytes", *_BOX)
    of_fake = {name: row[f"{name}_fake"] for name in names}
    fake = codec.decode(read.fetch(out, of_fake))
    if real.shape != fake.shape:
        return False
    difference = measures.absolute_difference(real, fake)
    peak = measures.change_peak(difference, _in_crop(of_fake, fake.shape[0]))
    return float(difference.mean()) <= _ALIKE and peak is not None and peak <= limit


def _in_crop(row: dict[str, Any], size: int) -> Box:
    """The face box in the pixels of its picture of ``size`` px; the whole picture if the crop's position is unknown."""
    if row["crop_side"] is None:
        return 0, 0, size, size
    scale = size / row["crop_side"]
    x0, y0, x1, y1 = ((row[f"box_{one}"] - row[f"crop_{one[0]}0"]) * scale for one in ("x0", "y0", "x1", "y1"))
    return x0, y0, x1, y1


def _equal_rows(pairs: pl.DataFrame) -> list[dict[str, Any]]:
    """Flags for the fake, and for the real video too if it is not its original, since either label may be wrong."""
    best: dict[tuple[str, str], float] = {}
    for row in pairs.iter_rows(named=True):
        keys = [(row["fake"], EQUALS_REAL)] + ([] if row["same_family"] else [(row["real"], EQUALS_FAKE)])
        for key in keys:
            best[key] = max(best.get(key, 0.0), row["share"])
    return [_row(name, flag, share, SAME, "quality flag") for (name, flag), share in sorted(best.items())]


def from_list(out: str, source: str, flag: str) -> tuple[list[dict[str, Any]], int]:
    """Flags for the videos that a third party's table names, and how many of its rows match no video of the build.

    The column of ids, paths or file names is detected: the one that matches most videos. If a column is named like
    the flag, only its true rows count. Raises SemblanceError if the table cannot be read, matches no video, or uses
    a file name that several videos share.
    """
    if not re.fullmatch(r"[a-z0-9_]{1,40}", flag):
        raise UsageError(f"{flag!r} is not a valid flag: use 1 to 40 lower-case letters, digits and '_'.")
    frame = read_user_table(source, "The list")
    if flag in frame.columns:
        frame = frame.filter(pl.col(flag).str.to_lowercase().is_in(["true", "1", "yes"]))
    videos = scan(out, "videos").select("video_id", "path").collect()
    names = videos.with_columns(name=pl.col("path").str.split("/").list.last())
    names = names.with_columns(stem=pl.col("name").str.replace(r"\.[^.]*$", ""))
    best: tuple[int, str, str] = (0, "", "")
    for column in frame.columns:
        for key in ("video_id", "path", "name", "stem"):
            hits = frame.filter(pl.col(column).is_in(names[key].implode())).height
            best = max(best, (hits, column, key), key=lambda one: one[0])
    hits, column, key = best
    if not hits:
        raise SemblanceError(
            f"No column of {source} identifies videos of {out}; it needs video ids, paths or file names."
        )
    listed = set(frame[column].drop_nulls())
    named = names.filter(pl.col(key).is_in(listed))
    if twice := sorted(named.filter(pl.col(key).is_duplicated())[key]):
        raise SemblanceError(
            f"{source} lists {twice[0]}, a name that several videos of {out} share; use video_id or path instead."
        )
    by = source.rsplit("/", 1)[-1]
    return [_row(name, flag, None, None, by) for name in sorted(named["video_id"])], len(listed) - named.height


def write_list(out: str, rows: list[dict[str, Any]], flag: str) -> None:
    """Write the flags of one list, replacing those of an earlier list of the same name."""
    tables.write_rows(storage.join(out, f"manifests/flags/list-{flag}.parquet"), rows, "flags")
