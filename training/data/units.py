"""Units, the things that are drawn together: single frames, clips of a track, or pairs of a fake and its original."""

from __future__ import annotations

from typing import Final, Literal

import polars as pl
from pydantic import Field

from semblance.manifests.config import Config


class ClipConfig(Config):
    """A clip: ``frames`` sampled faces of one track in order; a new clip starts every ``step`` faces.

    ``gap``: the number of source frames between neighbours; None accepts any gap.
    """

    frames: int = Field(default=8, ge=2, le=256)
    step: int | None = Field(default=None, ge=1)  # None: the length of a clip, so that clips do not overlap
    gap: int | None = Field(default=None, ge=1)


class UnitConfig(Config):
    """What is drawn together: single ``frames``, ``clips`` of one track, or ``pairs``.

    A pair is a fake and its original's crop at the same frame and position.
    """

    mode: Literal["frames", "clips", "pairs"] = "frames"
    clip: ClipConfig = ClipConfig()


def unite(rows: pl.DataFrame, config: UnitConfig) -> pl.DataFrame:
    """The rows that are in some unit, with the new columns ``unit`` and ``member`` (position in it), sorted by both.

    A row may be in several units (overlapping clips, the original of several fakes) or in none. All units have the
    same number of rows.
    """
    return _UNITS[config.mode](rows, config)


def summarise(pictures: pl.DataFrame) -> pl.DataFrame:
    """One row per unit: dataset, method, target, weight, shard, place and ``paired``.

    ``place`` is the tar offset at which the unit's last picture starts. ``paired``: the unit holds a real and a fake
    picture; its method is that of the fake.
    """
    return pictures.group_by("unit", maintain_order=True).agg(
        pl.col("dataset").first(),
        pl.col("method").last(),
        pl.col("target").last(),
        pl.col("weight").mean(),
        pl.col("shard").first(),
        pl.col("tar_offset").max().alias("place"),
        (pl.col("target").n_unique() > 1).alias("paired"),
    )


def _frames(rows: pl.DataFrame, _: UnitConfig) -> pl.DataFrame:
    return rows.with_columns(unit=pl.int_range(pl.len(), dtype=pl.Int32), member=pl.lit(0, pl.Int16))


def _clips(rows: pl.DataFrame, unit: UnitConfig) -> pl.DataFrame:
    """Windows over the rows of each track, which is cut where neighbours are not ``gap`` frames apart."""
    clip = unit.clip
    track = ["source", "video_id", "track"]
    rows = rows.sort("dataset", "video_id", "track", "frame_index", "source")
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
