"""The distributions and the split as self-contained SVG."""

from __future__ import annotations

import math
from typing import Any, Final

from markupsafe import Markup, escape

from semblance.quality.report.statistics import Distribution

WIDTH: Final = 600
HEIGHT: Final = 150
_CELL: Final = 11
_COLUMNS: Final = 16
_FEW: Final = 100  # families, drawn twice as large


def number(value: float) -> str:
    """A short number for an axis."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def distribution(one: Distribution, of: str = "faces") -> Markup:
    """Real and fake on one axis, each as a share of its own; limits have class ``limit``, words name ``of``."""
    bins = len(one.real)
    wide = WIDTH / bins
    paths = []
    for kind, counts in (("real", one.real), ("fake", one.fake)):
        total = sum(counts)
        if not total:
            continue
        top = max(max(one.real) / max(sum(one.real), 1), max(one.fake) / max(sum(one.fake), 1), 1e-9)
        steps = [f"M0 {HEIGHT}"]
        for place, count in enumerate(counts):
            y = HEIGHT - 4 - (HEIGHT - 14) * (count / total) / top if count else HEIGHT
            steps.append(f"L{place * wide:.1f} {y:.1f} L{(place + 1) * wide:.1f} {y:.1f}")
        paths.append(f'<path class="{kind}" d="{" ".join(steps)} L{WIDTH} {HEIGHT} Z"/>')
    ends = {0: ' class="first"', bins: ' class="last"'}
    ticks = [
        f'<span{ends.get(place, "")} style="left: {100 * place / bins:.1f}%">{number(one.edges[place])}</span>'
        for place in _ticks(one, bins)
    ]
    lines = []
    for side, limit in (("low", one.low), ("high", one.high)):
        if limit is not None:
            x = one.edges.index(limit) * wide
            lines.append(f'<line class="limit {side}" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT}"/>')
    said = escape(
        f"{one.title}: distribution of {sum(one.real):,} real and {sum(one.fake):,} fake {of} from "
        f"{number(one.edges[0])} to {number(one.edges[-1])} {one.unit}"
    )
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}" '
        f'preserveAspectRatio="none">{"".join(paths)}<line class="axis" x1="0" x2="{WIDTH}" y1="{HEIGHT}" '
        f'y2="{HEIGHT}"/>{"".join(lines)}</svg><div class="ticks" aria-hidden="true">{"".join(ticks)}</div>'
    )


def _ticks(one: Distribution, bins: int) -> list[int]:
    """Edges to name: the limits, then both ends and the fifths of the axis where they stand clear."""
    named = {one.edges.index(limit) for limit in (one.low, one.high) if limit is not None}
    for place in (0, bins, *(round(part * bins / 5) for part in range(1, 5))):
        if all(abs(place - other) > bins / 8 for other in named):
            named.add(place)
    return sorted(named)


def split(families: dict[str, Any], *, names: bool) -> Markup:
    """One square per family, by split, darker with more fakes; lines join families that share a person or recording."""
    places: dict[tuple[str, str], tuple[float, float]] = {}
    squares, heads = [], []
    tallest, left = 0, 0.0
    for split_name, total, rows in families["splits"]:
        columns = min(_COLUMNS, max(6, math.ceil(math.sqrt(len(rows)))))
        heads.append(f'<text class="head" x="{left:.0f}" y="14">{escape(split_name)} {total:,}</text>')
        for place, (name, videos, fakes) in enumerate(rows):
            x, y = left + place % columns * _CELL, 24 + place // columns * _CELL
            places[(split_name, name)] = (x + _CELL / 2 - 1, y + _CELL / 2 - 1)
            tallest = max(tallest, y + _CELL)
            depth = min(fakes, 8) / 8
            said = f"<title>{escape(name)}: {videos} videos, {fakes} fakes</title>" if names else ""
            squares.append(
                f'<rect class="family" x="{x:.0f}" y="{y:.0f}" width="{_CELL - 2}" height="{_CELL - 2}" '
                f'fill-opacity="{0.25 + 0.75 * depth:.2f}">{said}</rect>'
            )
        left += columns * _CELL + 50
    lines = []
    for first, second, crossing in families["lines"]:
        (x1, y1), (x2, y2) = places[first], places[second]
        kind = "crossing" if crossing else "joined"
        bend = 12 if y1 == y2 else 0
        middle = f"{(x1 + x2) / 2:.1f} {(y1 + y2) / 2 - bend:.1f}"
        lines.append(f'<path class="{kind}" d="M{x1:.1f} {y1:.1f} Q{middle} {x2:.1f} {y2:.1f}"/>')
    totals = ", ".join(f"{total} in {name}" for name, total, _ in families["splits"])
    said = escape(f"Families of the split: {totals}")
    wide = max(left - 50, 200)
    kind, size = ("split twice", wide * 2) if len(squares) < _FEW else ("split", wide)
    return Markup(
        f'<svg class="{kind}" viewBox="0 0 {wide:.0f} {tallest + 4:.0f}" width="{size:.0f}" role="img" '
        f'aria-label="{said}">{"".join(heads)}{"".join(squares)}{"".join(lines)}</svg>'
    )
