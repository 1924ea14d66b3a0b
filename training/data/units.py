"""Units, the things that are drawn together: frames, their views, clips of a track, or pairs of fake and original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import polars as pl
from pydantic import Field, model_validator

from semblance.manifests.config import Config


class ClipConfig(Config):
    """A clip: ``frames`` sampled faces of one track in order; a new clip starts every ``step`` faces.

    ``gap``: the number of source frames between neighbours; None accepts any gap. ``by: person`` joins the tracks of a
    person in time order, across cuts.
    """

    frames: int = Field(default=8, ge=2, le=256)
    step: int | None = Field(default=None, ge=1)  # None: the length of a clip, so that clips do not overlap
    gap: int | None = Field(default=None, ge=1)
    by: Literal["track", "person"] = "track"


class UnitConfig(Config):
    """What is drawn together: single ``frames``, ``clips`` of one track, or ``pairs``.

    A pair is a fake and its original's crop at the same frame and position. ``views``: how often each of the ``frames``
    is in its unit, every time augmented by another key.
    """

    mode: Literal["frames", "clips", "pairs"] = "frames"
    clip: ClipConfig = ClipConfig()
    views: int = Field(default=1, ge=1, le=16)

    @model_validator(mode="after")
    def _views_are_of_frames(self) -> UnitConfig:
        if self.views > 1 and self.mode != "frames":
            raise ValueError(f"views is {self.views}, but mode is {self.mode}: only single frames have several views")
        return self


def unite(rows: pl.DataFrame, config: UnitConfig) -> pl.DataFrame:
    """The rows that are in some unit, with the new columns ``unit`` and ``member`` (position in it), sorted by both.

    A row may be in several units (overlapping clips, the original of several fakes) or in none. All units have the
    same number of rows.
    """
    return _UNITS[config.mode](rows, config)


def summarise(pictures: pl.DataFrame) -> pl.DataFrame:
    """One row per unit: dataset, method, target, weight, shard, place and ``paired``.

    ``place`` is the tar offset at which the unit's last picture starts. ``paired``: the unit holds a real and a fake
    picture; its method is that of the fake, and its target is fake.
    """
    return pictures.group_by("unit", maintain_order=True).agg(
        pl.col("dataset").first(),
        pl.col("method").last(),
        pl.col("target").max(),
        pl.col("weight").mean(),
        pl.col("shard").first(),
        pl.col("tar_offset").max().alias("place"),
        (pl.col("target").n_unique() > 1).alias("paired"),
    )


def cover(pictures: pl.DataFrame, frames: int) -> pl.DataFrame:
    """Clips of ``frames`` pictures of one person in time order that hold every picture, each in one clip or in two.

    ``pictures`` has sample_id, video_id, person, track, frame_index and, for several builds, source and dataset. The
    clips of a person follow each other. The last one starts earlier, so that it ends at the person's last picture. A
    person with n pictures, fewer than ``frames``, has one clip, whose member i is picture floor(i n / frames): it is
    slower, and shows every picture. Returns the rows as ``unite`` does, with ``unit`` and ``member``.
    """
    whose = [name for name in ("dataset", "video_id", "source", "person") if name in pictures.columns]
    rows = pictures.drop("unit", "member", strict=False).sort(*whose, "frame_index", "track", "sample_id")
    rows = rows.with_row_index("row")
    persons = rows.group_by(whose, maintain_order=True).agg(pl.col("row").first().cast(pl.Int64), pl.len().alias("n"))
    persons = persons.select("row", pl.col("n").cast(pl.Int64))
    clips = persons.with_columns(clip=pl.int_ranges(0, (pl.col("n") + frames - 1) // frames)).explode("clip")
    clips = clips.with_columns(unit=pl.int_range(pl.len(), dtype=pl.Int32))
    members = clips.join(pl.DataFrame({"member": pl.int_range(frames, eager=True, dtype=pl.Int16)}), how="cross")
    place = pl.min_horizontal(pl.col("clip") * frames, pl.col("n") - frames) + pl.col("member")
    slower = pl.col("member").cast(pl.Int64) * pl.col("n") // frames
    members = members.select(
        *("unit", "member"), row=(pl.col("row") + pl.when(pl.col("n") < frames).then(slower).otherwise(place))
    )
    found = members.join(rows.with_columns(pl.col("row").cast(pl.Int64)), on="row", how="left", maintain_order="left")
    return found.select(*rows.columns[1:], "unit", "member")


def of_pictures(names: Sequence[Any], columns: Mapping[str, Any]) -> pl.DataFrame:
    """The values of a batch of units as rows of their pictures: ``sample_id`` and the ``columns``.

    ``names``: the P pictures of the batch, those of a unit adjacent. ``columns``: U values each. A picture that a unit
    repeats is one row of it. A picture of several units has several rows, of which ``mean`` makes one.
    """
    units = len(next(iter(columns.values())))
    size = len(names) // max(units, 1)
    held = [(name, unit) for unit in range(units) for name in dict.fromkeys(names[unit * size : (unit + 1) * size])]
    rows = [unit for _, unit in held]
    table = pl.DataFrame({name: values[rows] for name, values in columns.items()})
    return table.insert_column(0, pl.Series("sample_id", [name for name, _ in held]))


def mean(rows: pl.DataFrame) -> pl.DataFrame:
    """One row for each picture of clips: the mean of its rows."""
    return rows.group_by("sample_id", maintain_order=True).agg(pl.all().mean())


def _frames(rows: pl.DataFrame, config: UnitConfig) -> pl.DataFrame:
    rows = rows.with_columns(unit=pl.int_range(pl.len(), dtype=pl.Int32), member=pl.lit(0, pl.Int16))
    if config.views == 1:
        return rows
    views = pl.int_ranges(0, pl.lit(config.views), dtype=pl.Int16)
    return rows.with_columns(member=views).explode("member")


def _clips(rows: pl.DataFrame, unit: UnitConfig) -> pl.DataFrame:
    """Windows over the rows of each track (or person), which is cut where neighbours are not ``gap`` frames apart."""
    clip = unit.clip
    track = ["source", "video_id", clip.by]
    rows = rows.sort("dataset", "video_id", "source", clip.by, "frame_index", "track", "sample_id")
    run = pl.lit(0)
    if clip.gap is not None:
        run = (pl.col("frame_index").diff() != clip.gap).fill_null(False).cum_sum().over(track)
    rows = rows.with_columns(run=run)
    rows = rows.with_columns(place=pl.int_range(pl.len()).over([*track, "run"]), row=pl.int_range(pl.len()))
    length = pl.len().over([*track, "run"])
    step = clip.step or clip.frames
    starts = rows.filter((pl.col("place") % step == 0) & (pl.col("place") + clip.frames <= length))["row"]
    numbers = pl.DataFrame({"unit": pl.int_range(starts.len(), eager=True, dtype=pl.Int32), "row": starts})
    members = numbers.join(pl.DataFrame({"member": pl.int_range(clip.frames, eager=True, dtype=pl.Int16)}), how="cross")
    members = members.with_columns(row=pl.col("row") + pl.col("member"))
    return members.join(rows, on="row", how="left", maintain_order="left").drop("run", "place", "row")


def _pairs(rows: pl.DataFrame, _: UnitConfig) -> pl.DataFrame:
    """Guided fakes with their original's crop of the same square at the same frame; the real picture comes first."""
    key = ["source", "family_id", "compression", "frame_index", "track", "crop_x0", "crop_y0", "crop_side"]
    real = rows.filter(pl.col("label") == 0).unique(key, keep="first", maintain_order=True)
    fake = rows.filter((pl.col("target") == 1) & (pl.col("guide") == "original"))
    fake = fake.with_columns(unit=pl.int_range(pl.len(), dtype=pl.Int32))
    partner = fake.select("unit", *key).join(real, on=key, how="inner", nulls_equal=True, maintain_order="left")
    both = pl.concat(
        [
            partner.with_columns(member=pl.lit(0, pl.Int16)),
            fake.join(partner.select("unit"), on="unit", how="semi").with_columns(member=pl.lit(1, pl.Int16)),
        ],
        how="diagonal_relaxed",
    ).sort("unit", "member")
    return both.with_columns(unit=pl.col("unit").rank("dense").cast(pl.Int32) - 1)


_UNITS: Final = {"frames": _frames, "clips": _clips, "pairs": _pairs}
