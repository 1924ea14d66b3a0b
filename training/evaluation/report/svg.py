"""Line plots as plain SVG, so that a page is self-contained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

Points = Sequence[tuple[float, float]]
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito 2008
_WIDTH, _HEIGHT, _LEFT, _TOP = 340, 260, 46, 28
_MOST: Final = 400  # points per line


def plot(
    title: str,
    x_title: str,
    y_title: str,
    lines: Mapping[str, Points],
    *,
    x_range: tuple[float, float] = (0.0, 1.0),
    y_range: tuple[float, float] = (0.0, 1.0),
    diagonal: bool = False,
    dots: bool = False,
) -> str:
    """A figure with a legend and one line per name, in the given order. ``x_range`` may be descending."""

    def place(x: float, y: float) -> str:
        across = (x - x_range[0]) / (x_range[1] - x_range[0])
        up = (y - y_range[0]) / (y_range[1] - y_range[0])
        return f"{_LEFT + across * _WIDTH:.1f},{_TOP + (1 - up) * _HEIGHT:.1f}"

    height = _TOP + _HEIGHT + 44 + 15 * len(lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 16}" height="{height}" role="img" '
        f'aria-label="{escape(title)}" font-family="sans-serif" font-size="11">',
        f'<text x="{_LEFT}" y="16" font-size="13" font-weight="bold">{escape(title)}</text>',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>',
    ]
    for i in range(5):
        x, y = (low + (high - low) * i / 4 for low, high in (x_range, y_range))
        left, top = place(x, y).split(",")
        parts.append(f'<text x="{left}" y="{_TOP + _HEIGHT + 14}" text-anchor="middle">{x:.3g}</text>')
        parts.append(f'<text x="{_LEFT - 5}" y="{float(top) + 4:.1f}" text-anchor="end">{y:.3g}</text>')
    middle = _LEFT + _WIDTH / 2
    parts.append(f'<text x="{middle}" y="{_TOP + _HEIGHT + 29}" text-anchor="middle">{escape(x_title)}</text>')
    turned = f'transform="translate(11 {_TOP + _HEIGHT / 2}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle">{escape(y_title)}</text>')
    if diagonal:
        ends = f"{place(x_range[0], y_range[0])} {place(x_range[1], y_range[1])}"
        parts.append(f'<polyline points="{ends}" fill="none" stroke="#bbb" stroke-dasharray="4 3"/>')
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [place(x, y) for x, y in thinned(points)]
        parts.append(f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        if dots:
            parts += ['<circle cx="{}" cy="{}" r="2.5" fill="{}"/>'.format(*one.split(","), colour) for one in places]
        row = _TOP + _HEIGHT + 46 + 15 * number
        parts.append(f'<rect x="{_LEFT}" y="{row - 8}" width="14" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{_LEFT + 20}" y="{row}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def thinned(points: Points) -> Points:
    """At most 400 of the points, including the first and the last."""
    if len(points) <= _MOST:
        return points
    return [points[i * (len(points) - 1) // (_MOST - 1)] for i in range(_MOST)]
