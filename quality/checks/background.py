"""The background classifier: can the label be read from the picture without the face?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from semblance.manifests import scan
from semblance.quality.checks import linear, separability, shortcuts, video_features
from semblance.quality.checks.linear import Told
from semblance.quality.checks.picture_features import Numbers, Region

Verdict = Literal["even", "shortcut", "too few to tell", "nothing known"]

MOST: Final = 1500  # videos looked at, whole families by hash: at most 6,000 stored crops, about a minute of CPU time
PAIRED: Final = 0.5  # share of fakes whose original is there too: their background is the original's
_COLUMNS: Final = ("video_id", "label", "family_id", "method", "compression")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Reals against the fakes of one method (None: all) of one compression (None: all).

    ``without`` is what blocks away from the face tell, ``whole`` what the same statistics of all of the crop tell.
    ``paired``: most fakes are beside their original, so what differs away from the face is how it was encoded.
    """

    method: str | None
    compression: str | None
    without: Told
    whole: Told
    paired: bool

    @property
    def name(self) -> str:
        return shortcuts.comparison_name(self.method, self.compression)

    @property
    def verdict(self) -> Verdict:
        if self.without.families < separability.LEAST_FAMILIES:
            return "too few to tell"
        if self.without.auc is None or self.without.low is None:
            return "nothing known"
        return "shortcut" if self.without.low > shortcuts.ALARM else "even"

    @property
    def words(self) -> str:
        """The verdict as it is shown to people."""
        return {"even": "no shortcut", "too few to tell": "too few families"}.get(self.verdict, self.verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """Every comparison, the largest first; ``videos`` were looked at, ``unreadable`` pictures not."""

    comparisons: tuple[Comparison, ...] = ()
    videos: int = 0
    unreadable: int = 0


def audit(out: str, seed: int = 0) -> Background:
    """Look at the stored crops of at most ``MOST`` videos; raises SemblanceError if ``out`` is not a build."""
    videos = scan(out, "videos").filter(pl.col("label").is_not_null() & (pl.col("crops_kept") > 0))
    table = separability.bounded(videos.select(_COLUMNS).collect().sort("video_id"), seed, MOST)
    if table["family_id"].n_unique() < separability.LEAST_FAMILIES:  # before a picture is read
        return Background(comparisons=compare(table.head(0), {}, seed))
    regions: tuple[Region, ...] = ("outside", "whole")
    seen = video_features.of_videos(out, table["video_id"].to_list(), regions, seed=seed)
    return Background(
        comparisons=compare(table, seen.values, seed), videos=len(seen.values), unreadable=seen.unreadable
    )


def compare(
    table: pl.DataFrame, values: Mapping[str, Mapping[Region, Numbers]], seed: int = 0
) -> tuple[Comparison, ...]:
    """The comparisons of ``table``, whose columns are ``_COLUMNS``, by the statistics of each video."""
    known = table.filter(pl.col("video_id").is_in(list(values))).sort("video_id")
    return tuple(
        Comparison(
            method=method,
            compression=compression,
            without=_told(part, values, "outside", seed),
            whole=_told(part, values, "whole", seed),
            paired=_paired(part),
        )
        for method, compression, part in shortcuts.parts(known)
    )


def _told(part: pl.DataFrame, values: Mapping[str, Mapping[Region, Numbers]], region: Region, seed: int) -> Told:
    rows = part.sort("video_id")
    stacked = np.stack([values[name][region] for name in rows["video_id"]]) if rows.height else np.zeros((0, 1))
    return linear.told(stacked, rows["label"].cast(pl.Int64).to_numpy(), rows["family_id"].to_list(), seed)


def _paired(part: pl.DataFrame) -> bool:
    reals = part.filter(label=0)["family_id"].unique().implode()
    share = part.filter(label=1).select(pl.col("family_id").is_in(reals).mean()).item()
    return share is not None and share >= PAIRED


def warnings(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """One sentence for all comparisons whose background gives the label away: figures, what it may be, and remedy."""
    named = [one for one in comparisons if one.verdict == "shortcut"]
    if not named:
        return
    first = named[0]
    also = f", also {', '.join(one.name for one in named[1:])}" if len(named) > 1 else ""
    if first.paired:
        why = "fakes show their originals' background, so it is told by traces of compression or resampling"
        remedy = (
            "encode reals and fakes the same way from sources of one quality, or train with degraded pictures (the "
            "recipe's augmentation), and look at `quality shortcuts OUT` too"
        )
    else:
        why = "light, place, camera or encoding differ by label"
        remedy = (
            "take reals and fakes from the same recordings or keep a subset matched on acquisition (`quality match OUT "
            "--to keep.parquet`), or cut closer to the face (`--set crop.margin=1`)"
        )
    yield (
        f"the label can be read from the picture without the face ({first.name}: {_figure(first.without)}, with the "
        f"face {_figure(first.whole)}{also}): {why}; {remedy}."
    )


def _figure(told: Told) -> str:
    return "unknown" if told.auc is None else f"AUC {told.auc:.2f}, 95 % {told.low:.2f}-{told.high:.2f}"


def lines(found: Background) -> Iterator[str]:
    """The figures as text, one line a comparison, and the warnings."""
    for one in found.comparisons:
        figures = f": {_figure(one.without)}; with the face {_figure(one.whole)}" if one.without.auc is not None else ""
        yield f"without the face, {one.name}: {one.words}{figures}"
    yield from (f"warning: {sentence}" for sentence in warnings(found.comparisons))


def to_json(found: Background) -> dict[str, Any]:
    """The comparisons as JSON, without the scores of single videos."""
    rows = [
        {"method": one.method, "compression": one.compression, "verdict": one.verdict, "paired": one.paired}
        | {
            key: {name: value for name, value in asdict(told).items() if name != "scores"}
            for key, told in (("without_face", one.without), ("whole_crop", one.whole))
        }
        for one in found.comparisons
    ]
    return {"videos": found.videos, "unreadable": found.unreadable, "comparisons": rows}
