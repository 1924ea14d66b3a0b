"""The shortcut audit: does acquisition metadata alone predict the label?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

import polars as pl

from semblance.manifests import build_files, scan
from semblance.quality.checks import separability
from semblance.quality.checks.separability import Separability
from semblance.quality.measures import registry

Verdict = Literal["even", "shortcut", "too few to tell", "nothing known", "baseline"]

ALARM: Final = 0.6  # for the lower 95 % bound
_WORDS: Final[Mapping[str, str]] = MappingProxyType({"even": "no shortcut", "too few to tell": "too few families"})

# Measures of the frame away from every face.
OUTSIDE: Final = registry.with_role("acquisition")
_OF_CROPS: Final = registry.with_role("face")
# What the container and the sampled frames say of the picture's form.
_PICTURE: Final = (
    *("mirrored", "pixel_aspect", "pixel_format", "interlaced", "video_streams"),
    *("audio_codec", "audio_rate", "audio_bit_rate"),
    *("colour_range", "colour_matrix", "colour_transfer", "colour_primaries", "colour_guessed"),
    *("qp_mean", "qp_spread"),
)
# How a video was recorded, stored and framed. If these predict the label, collection leaked it.
ACQUISITION: Final = (
    "width",
    "height",
    "fps",
    "duration_s",
    "bit_rate",
    "bits_per_pixel",
    "codec",
    "encoder",
    "gop",
    "rotation",
    "has_audio",
    *_PICTURE,
    "compression",
    "box_x",
    "box_y",
    "box_side",
    "box_share",
    "resampling",
    *OUTSIDE,
)
# Statistics of the crop, face included: they may be evidence of the forgery, so they are a baseline and raise no alarm.
FACE: Final = (*_OF_CROPS, "encoded_bytes", "bytes_per_pixel")
# Columns that exist because of the label, or identify it: hidden from every classifier, as are null patterns
# (see ``separability``).
BARRED: Final = (
    *registry.with_role("label", "identity"),
    "guide",
    "method",
    "face_label",
    "face_label_by",
    "person",
    "mask",
    "sha256",
    "path",
    "part",
    "created",
)
REMEDY: Final = (
    "encode reals and fakes the same way, or keep a subset matched on these columns: `quality match OUT --to "
    "keep.parquet`, then `shards repack OUT --split PROTOCOL --keep keep.parquet --to OUT2`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One of the two figures of one comparison, and what it means."""

    kind: Literal["acquisition", "face"]
    verdict: Verdict
    found: Separability

    @property
    def words(self) -> str:
        """The verdict as it is shown to people."""
        return _WORDS.get(self.verdict, self.verdict)

    @property
    def text(self) -> str:
        """``0.55 [0.48, 0.61] no shortcut``; the verdict alone where there is no figure."""
        found = self.found
        return f"{'' if found.auc is None else f'{found.auc:.2f} [{found.low:.2f}, {found.high:.2f}] '}{self.words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Reals against the fakes of one method (None: all) of one compression (None: all)."""

    method: str | None
    compression: str | None
    acquisition: Figure
    face: Figure

    @property
    def name(self) -> str:
        return comparison_name(self.method, self.compression)


def comparison_name(method: str | None, compression: str | None) -> str:
    """``all fakes``, a method, or either within a compression."""
    what = "all fakes" if method is None else method
    return what if compression is None else f"{what}, {compression}"


def video_table(samples: pl.LazyFrame, videos: pl.LazyFrame, size: int | None = None) -> pl.DataFrame:
    """One row per video with kept crops: ids, label, method, and the columns of both figures.

    Measures are medians over the kept crops; box_x, box_y, box_side are shares of the frame's size; ``resampling`` is
    the side of the crop in its frame over ``size``, that of the stored picture: above 1 it was reduced (None: unknown).
    """
    wide, high = pl.col("box_x1") - pl.col("box_x0"), pl.col("box_y1") - pl.col("box_y0")
    crops = (
        samples.filter(pl.col("verdict") == "keep")
        .select(
            "video_id",
            *_OF_CROPS,
            *OUTSIDE,
            "encoded_bytes",
            bytes_per_pixel=pl.col("encoded_bytes") / pl.col("crop_side").cast(pl.Float64).pow(2),
            box_x=(pl.col("box_x0") + pl.col("box_x1")) / 2,
            box_y=(pl.col("box_y0") + pl.col("box_y1")) / 2,
            box_side=pl.max_horizontal(wide, high),
            resampling=pl.col("crop_side") / pl.lit(size, pl.Float64),
        )
        .group_by("video_id")
        .agg(pl.all().median())
    )
    rate = pl.col("bit_rate") / (pl.col("width") * pl.col("height") * pl.col("fps"))
    own = ("width", "height", "fps", "duration_s", "bit_rate", "codec", "encoder", "gop", "rotation", "has_audio")
    known = videos.filter(pl.col("label").is_not_null()).select(
        "video_id", "dataset", "label", "family_id", "method", "compression", *own, *_PICTURE, bits_per_pixel=rate
    )
    return (
        known.join(crops, on="video_id")
        .with_columns(
            pl.col("has_audio", "mirrored", "interlaced").cast(pl.Int8),
            box_x=pl.col("box_x") / pl.col("width"),
            box_y=pl.col("box_y") / pl.col("height"),
            box_share=pl.col("box_side") / pl.min_horizontal("width", "height"),
            # That a file tags nothing, or is silent, is known of it: a value, not a gap.
            audio_codec=pl.when(pl.col("has_audio").not_()).then(pl.lit("none")).otherwise("audio_codec"),
            audio_rate=pl.when(pl.col("has_audio").not_()).then(0).otherwise("audio_rate"),
            audio_bit_rate=pl.when(pl.col("has_audio").not_()).then(0).otherwise("audio_bit_rate"),
            colour_guessed=pl.col("colour_guessed").list.join("+"),
            **{
                name: pl.when(pl.col("colour_guessed").is_not_null()).then(pl.col(name).fill_null("none"))
                for name in ("colour_matrix", "colour_transfer", "colour_primaries")
            },
        )
        .sort("video_id")
        .collect()
    )


def audit(out: str, seed: int = 0) -> list[Comparison]:
    """The audit of the build ``out``; raises SemblanceError if ``out`` is not a build."""
    return compare(table_of(out), seed)


def table_of(out: str) -> pl.DataFrame:
    """The ``video_table`` of the build ``out``; raises SemblanceError if ``out`` is not a build."""
    size = build_files.description(out).get("recipe", {}).get("crop", {}).get("size")
    return video_table(scan(out, flags=False), scan(out, "videos"), size)


def compare(table: pl.DataFrame, seed: int = 0) -> list[Comparison]:
    """Both figures of every comparison of a ``video_table``: all fakes, each method, and each within a compression."""
    return [
        Comparison(
            method=method,
            compression=compression,
            acquisition=_figure("acquisition", part, seed),
            face=_figure("face", part, seed),
        )
        for method, compression, part in parts(table)
    ]


def parts(table: pl.DataFrame) -> Iterator[tuple[str | None, str | None, pl.DataFrame]]:
    """Method, compression (None: all) and rows of every comparison of a table with label, method and compression."""
    reals, fakes = table.filter(label=0), table.filter(label=1)
    methods: list[str | None] = [None]
    named = sorted(fakes["method"].drop_nulls().unique())
    methods += named if len(named) > 1 else []
    compressions = sorted(table["compression"].drop_nulls().unique())
    for method in methods:
        own = fakes if method is None else fakes.filter(method=method)
        yield method, None, pl.concat([reals, own])
    for compression in compressions if len(compressions) > 1 else []:
        for method in methods[1:] or [None]:
            own = fakes if method is None else fakes.filter(method=method)
            part = pl.concat([reals, own]).filter(compression=compression)
            if part["label"].n_unique() == 2:
                yield method, compression, part


def _figure(kind: Literal["acquisition", "face"], part: pl.DataFrame, seed: int) -> Figure:
    found = separability.measure(part, list(ACQUISITION if kind == "acquisition" else FACE), seed)
    return Figure(kind=kind, verdict=_verdict(kind, found), found=found)


def _verdict(kind: str, found: Separability) -> Verdict:
    if found.families < separability.LEAST_FAMILIES:
        return "too few to tell"
    if found.auc is None or found.low is None:
        return "nothing known"
    if kind == "face":
        return "baseline"
    return "shortcut" if found.low > ALARM else "even"


def warnings(comparisons: list[Comparison]) -> list[str]:
    """One sentence per set of columns that reveals the label: comparisons (largest first), columns and remedy."""
    found: dict[tuple[str, ...], list[Comparison]] = {}
    for one in comparisons:
        if one.acquisition.verdict == "shortcut":
            found.setdefault(tuple(sorted(separator.column for separator in _best_columns(one))), []).append(one)
    sentences = []
    for same in found.values():
        first = same[0]
        ways = ", ".join(
            f"{column.column} (AUC {column.auc:.2f}: real {column.real}, fake {column.fake})"
            for column in _best_columns(first)
        )
        also = f", also {', '.join(one.name for one in same[1:])}" if len(same) > 1 else ""
        figure = first.acquisition.found
        sentences.append(
            f"Shortcut, {first.name}: acquisition alone separates fakes from reals (AUC {figure.auc:.2f}, 95 % "
            f"{figure.low:.2f}-{figure.high:.2f}), by {ways}{also}; {REMEDY}."
        )
    return sentences


def _best_columns(comparison: Comparison) -> list[separability.Separator]:
    """The columns to name: at most three that predict the label alone, else the three best ones."""
    giveaways = comparison.acquisition.found.giveaways
    return ([separator for separator in giveaways if separator.auc > ALARM] or list(giveaways))[:3]


def to_json(comparisons: list[Comparison]) -> list[dict[str, Any]]:
    """The audit as JSON: one mapping per comparison, without the scores of single videos."""
    return [
        {
            "method": one.method,
            "compression": one.compression,
            "acquisition": _figure_json(one.acquisition),
            "face": _figure_json(one.face),
        }
        for one in comparisons
    ]


def _figure_json(figure: Figure) -> Mapping[str, Any]:
    found = {name: value for name, value in asdict(figure.found).items() if name not in ("ids", "scores")}
    return {"verdict": figure.verdict} | found
