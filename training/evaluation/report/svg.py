"""Line plots as plain SVG, so that a page is self-contained. Colours are those of the page's style."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final

from markupsafe import Markup

from semblance.training.evaluation.report.blocks import Key

Points = Sequence[tuple[float, float]]
COLOURS: Final = 7  # .s0 to .s6 of evaluation.css
DASHES: Final = ("", "6 3", "2 2", "8 3 2 3")
_WIDTH, _HEIGHT, _LEFT, _TOP = 340, 260, 46, 10
_STEP: Final = 0.7  # px between the points that are drawn
_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis from ``low`` to ``high``, which may be smaller. A logarithmic one puts what is below at its low end."""

    title: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high end."""
        if self.log:
            value = max(value, self.low)
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        if self.log:
            first, last = round(math.log10(self.low)), round(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)]
        return [self.low + (self.high - self.low) * part / 4 for part in range(5)]


def keys(names: Sequence[str]) -> list[Key]:
    """A colour and a pattern of dashes for each name."""
    return [
        Key(name=name, colour=number % COLOURS, dashes=DASHES[number // COLOURS % len(DASHES)])
        for number, name in enumerate(names)
    ]


def plot(
    title: str,
    x: Axis,
    y: Axis,
    lines: Mapping[str, Points],
    legend: Sequence[Key],
    *,
    diagonal: bool = False,
    dots: bool = False,
    steps: bool = False,
    said: str = "",
) -> Markup:
    """One line per name; ``legend`` has a key for each. ``steps``: y stays until the next x. ``said``: in words."""
    look = {key.name: key for key in legend}
    width, height = _LEFT + _WIDTH + 16, _TOP + _HEIGHT + 36
    words = escape(f"{title}: {y.title} over {x.title}. {said}".strip(), quote=True)
    parts = [
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{words}">',
        f"<title>{escape(title)}</title>",
        f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}"/>',
        *_axes(x, y),
    ]
    if diagonal:
        chance = [(part / 200, part / 200) for part in range(201)] if x.log else [(x.low, y.low), (x.high, y.high)]
        parts.append(f'<path class="chance" d="{_path([_place(x, y, *point) for point in chance])}"/>')
    for name, points in lines.items():
        key = look[name]
        places = thinned([_place(x, y, *point) for point in (stepped(points) if steps else points)])
        dash = f' stroke-dasharray="{key.dashes}"' if key.dashes else ""
        parts.append(
            f'<g><title>{escape(name)}</title><path class="line s{key.colour}"{dash} d="{_path(places)}"/></g>'
        )
        if dots:
            parts += [f'<circle class="s{key.colour}" cx="{a:.1f}" cy="{b:.1f}" r="2.5"/>' for a, b in places]
    return Markup("".join([*parts, "</svg>"]))  # every name is escaped above


def _axes(x: Axis, y: Axis) -> list[str]:
    parts = []
    for tick in x.ticks():
        left = _LEFT + x.share(tick) * _WIDTH
        parts.append(f'<line class="grid" x1="{left:.1f}" x2="{left:.1f}" y1="{_TOP}" y2="{_TOP + _HEIGHT}"/>')
        parts.append(f'<text x="{left:.1f}" y="{_TOP + _HEIGHT + 14}" text-anchor="middle">{tick:.3g}</text>')
    for tick in y.ticks():
        top = _TOP + (1 - y.share(tick)) * _HEIGHT
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{top:.1f}" y2="{top:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{top + 4:.1f}" text-anchor="end">{tick:.3g}</text>')
    middle = _LEFT + _WIDTH / 2
    parts.append(f'<text x="{middle}" y="{_TOP + _HEIGHT + 31}" text-anchor="middle">{escape(x.title)}</text>')
    turned = f'transform="translate(11 {_TOP + _HEIGHT / 2}) rotate(-90)"'
    return [*parts, f'<text {turned} text-anchor="middle">{escape(y.title)}</text>']


def _place(x: Axis, y: Axis, across: float, up: float) -> tuple[float, float]:
    """A point in px, kept inside the frame."""
    left, top = min(max(x.share(across), 0.0), 1.0), 1 - min(max(y.share(up), 0.0), 1.0)
    return _LEFT + left * _WIDTH, _TOP + top * _HEIGHT


def _path(places: Points) -> str:
    return "M" + " ".join(f"{left:.1f} {top:.1f}" for left, top in places)


def stepped(points: Points) -> list[tuple[float, float]]:
    """The points of a curve that keeps its y until the next x is reached."""
    found = list(points[:1])
    for (_, before), (across, up) in pairwise(points):
        found += [(across, before), (across, up)]
    return found


def thinned(places: Points) -> list[tuple[float, float]]:
    """The places in px, without those that are nearer than 0.7 px to the one before; both ends stay."""
    kept = list(places[:1])
    for place in places[1:]:
        if abs(place[0] - kept[-1][0]) + abs(place[1] - kept[-1][1]) >= _STEP - _TINY:
            kept.append(place)
    return [*kept, places[-1]] if places and kept[-1] != places[-1] else kept
