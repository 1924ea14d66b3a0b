"""Drift between two builds: population stability index and two-sample tests for each column."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from semblance.manifests import scan
from semblance.manifests.text import seeded_order
from semblance.quality.measures import registry

SMALL: Final = 0.1  # population stability index: below it a column is stable ...
LARGE: Final = 0.2  # ... above it the change is large (Siddiqi 2006)
MOST: Final = 20_000  # rows of each build, chosen by hash, used in the tests
_BINS: Final = 10
_EMPTY: Final = 1e-4  # share that an empty bin counts as

CROPS: Final = (*registry.COMPARED, "crop_side", "encoded_bytes")
CROP_NAMES: Final = ("label", "method", "compression", "guide")
VIDEOS: Final = ("width", "height", "fps", "duration_s", "bit_rate", "gop", "faces_seen", "crops_rejected")
VIDEO_NAMES: Final = ("codec", "encoder", "status", "has_audio", "rotation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One column: ``psi`` (null if a build does not have it), a test's statistic and p-value, and a verdict.

    ``too few``: with so few videos, an index this large occurs by chance at least once in twenty times.
    """

    table: str
    column: str
    kind: Literal["numbers", "names"]
    psi: float | None
    test: Literal["Kolmogorov-Smirnov", "chi-squared"]
    statistic: float | None
    p: float | None
    before: str
    after: str
    verdict: Literal["stable", "moderate", "large", "too few", "unknown"]


def drift(out: str, other: str) -> list[Shift]:
    """Shifts from the build ``out`` to the build ``other``, the largest first."""
    found = []
    videos = tuple(
        scan(one, "videos").filter(pl.col("crops_kept") > 0).select(pl.len()).collect().item() for one in (out, other)
    )
    for table, numbers, names in (("samples", CROPS, CROP_NAMES), ("videos", VIDEOS, VIDEO_NAMES)):
        frames = [
            scan(one, table).select(f"{table[:-1]}_id", *numbers, *names)  # type: ignore[arg-type]
            for one in (out, other)
        ]
        chosen = [_chosen(frame) for frame in frames]
        for name in (*numbers, *names):
            before, after = (frame[name] for frame in chosen)
            found.append(compare(table, name, before, after, numbers=name in numbers, videos=videos))
    return sorted(found, key=lambda one: (-(one.psi if one.psi is not None else -1.0), one.table, one.column))


def _chosen(frame: pl.LazyFrame) -> pl.DataFrame:
    """At most MOST rows by the hash of their id."""
    name = frame.collect_schema().names()[0]
    return frame.with_columns(order=seeded_order("drift", name)).bottom_k(MOST, by="order").drop("order").collect()


def compare(
    table: str,
    column: str,
    before: pl.Series,
    after: pl.Series,
    *,
    numbers: bool,
    videos: tuple[int, int] | None = None,
) -> Shift:
    """The shift of one column. Unknown values are a separate bin of the index and are left out of the test.

    ``videos``: how many each build has, for tables with several rows per video; without it every row counts.
    """
    kind: Literal["numbers", "names"] = "numbers" if numbers else "names"
    test: Literal["Kolmogorov-Smirnov", "chi-squared"] = "Kolmogorov-Smirnov" if numbers else "chi-squared"
    known = [one.drop_nulls() for one in (before, after)]
    fields = {
        "table": table,
        "column": column,
        "kind": kind,
        "test": test,
        "before": _typical(before, numbers),
        "after": _typical(after, numbers),
    }
    if before.is_empty() or after.is_empty() or (known[0].is_empty() and known[1].is_empty()):
        return Shift(psi=None, statistic=None, p=None, verdict="unknown", **fields)  # type: ignore[arg-type]
    counts = _numbers(before, after) if numbers else _names(before, after)
    index = stability(*counts)
    statistic, p = _test(known[0], known[1], counts, numbers)
    verdict = "stable" if index < SMALL else "moderate" if index < LARGE else "large"
    if index >= SMALL and index <= chance(len(counts[0]), *(videos or (len(before), len(after)))):
        verdict = "too few"
    return Shift(psi=index, statistic=statistic, p=p, verdict=verdict, **fields)  # type: ignore[arg-type]


def stability(before: list[int], after: list[int]) -> float:
    """Population stability index: sum over bins of (q - p) ln(q / p), an empty bin counting as 0.0001."""
    shares = [[max(count / sum(counts), _EMPTY) for count in counts] for counts in (before, after)]
    return float(sum((q - p) * math.log(q / p) for p, q in zip(*shares, strict=True)))


def chance(bins: int, before: int, after: int) -> float:
    """The index that two samples of one population stay below nineteen times in twenty: (1 / n + 1 / m) times the 95th
    percentile of chi-squared with ``bins`` - 1 degrees of freedom (Yurdakul 2018).
    """
    from scipy import stats

    return float(stats.chi2.ppf(0.95, max(bins - 1, 1)) * (1 / max(before, 1) + 1 / max(after, 1)))


def _numbers(before: pl.Series, after: pl.Series) -> tuple[list[int], list[int]]:
    """Counts in the tenths of ``before`` (or of ``after`` if that is unknown), and of unknown values.

    A value that makes up a tenth or more gets its own bin: if all clips have 72 frames, 64 falls into another bin.
    """
    base = before.drop_nulls() if before.null_count() < len(before) else after.drop_nulls()
    values = base.cast(pl.Float64).to_numpy()
    tenths = np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1])
    single, times = np.unique(values, return_counts=True)
    common = single[(times > 1) & (times * _BINS >= len(values))]
    edges = np.unique([*tenths, *common, *np.nextafter(common, -np.inf)])
    both = []
    for one in (before, after):
        place = np.searchsorted(edges, one.drop_nulls().cast(pl.Float64).to_numpy(), side="left")
        both.append([*(int(count) for count in np.bincount(place, minlength=len(edges) + 1)), one.null_count()])
    return _shrunk(*both)


def _names(before: pl.Series, after: pl.Series) -> tuple[list[int], list[int]]:
    texts = [one.cast(pl.String).fill_null("(unknown)").to_list() for one in (before, after)]
    names = sorted({*texts[0], *texts[1]})
    counted = [dict.fromkeys(names, 0) for _ in texts]
    for tally, values in zip(counted, texts, strict=True):
        for value in values:
            tally[value] += 1
    return [counted[0][name] for name in names], [counted[1][name] for name in names]


def _shrunk(before: list[int], after: list[int]) -> tuple[list[int], list[int]]:
    """The counts without bins that are empty in both."""
    pairs = [pair for pair in zip(before, after, strict=True) if any(pair)]
    return [first for first, _ in pairs], [second for _, second in pairs]


def _test(
    before: pl.Series, after: pl.Series, counts: tuple[list[int], list[int]], numbers: bool
) -> tuple[float | None, float | None]:
    from scipy import stats

    if numbers:
        if before.is_empty() or after.is_empty():
            return None, None
        method = (
            "exact" if len(before) == len(after) == 1 else "asymp"
        )  # SciPy's asymptote divides by round(n m / (n + m))
        found = stats.ks_2samp(before.cast(pl.Float64).to_numpy(), after.cast(pl.Float64).to_numpy(), method=method)
        return float(found.statistic), float(found.pvalue)
    if len(counts[0]) < 2:
        return 0.0, 1.0
    statistic, p, _, _ = stats.chi2_contingency(np.array(counts))
    return float(statistic), float(p)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _typical(column: pl.Series, numbers: bool) -> str:
    known = column.drop_nulls()
    if known.is_empty():
        return "unknown"
    if numbers:
        low, middle, high = (_short(one) for one in np.quantile(known.cast(pl.Float64).to_numpy(), [0.05, 0.5, 0.95]))
        return middle if low == high else f"{middle} ({low} to {high})"
    counted = known.cast(pl.String).rename("value").value_counts().sort(["count", "value"], descending=[True, False])
    return f"{counted['value'][0]} ({counted['count'][0] / len(column):.0%})"


def to_json(found: list[Shift]) -> list[dict[str, Any]]:
    return [asdict(one) for one in found]
