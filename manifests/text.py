"""Text: columns formatted into a template, a seeded order by hash, and the natural order of names."""

from __future__ import annotations

import operator
import re
from functools import reduce
from typing import Final

import polars as pl

from semblance.manifests.ids import digest

PICTURES: Final = (".jpg", ".jpeg", ".png")  # suffixes of frames that are files of their own
_DIGITS: Final = re.compile(r"([0-9]+)")


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """A key by which ``frame_2`` is before ``frame_10``; names that differ in zeros alone have an order too.

    >>> sorted(["10.png", "2.png", "a.png", "02.png"], key=natural)
    ['02.png', '2.png', '10.png', 'a.png']
    """
    parts = _DIGITS.split(name)
    return [(int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts)], name


def format_columns(template: str, *columns: str | pl.Expr) -> pl.Expr:
    """``template`` with each ``{}`` replaced by a column's value as text; null if one of the values is null.

    Like ``pl.format``, but built from ``+``: ``pl.format`` panics on a filtered frame of several chunks (polars 2.1.0).
    """
    first, *others = template.split("{}")
    if len(others) != len(columns):
        raise ValueError(f"{template!r} has {len(others)} places for {len(columns)} columns")
    parts: list[pl.Expr] = [pl.lit(first)]
    for column, text in zip(columns, others, strict=True):
        expression = pl.col(column) if isinstance(column, str) else column
        parts += [expression.cast(pl.String), pl.lit(text)]
    return reduce(operator.add, parts)


def seeded_order(seed: object, column: str) -> pl.Expr:
    """The first 64 bits of ``digest(seed, value)`` of each value: an order by hash that is the same in every version of
    Polars, unlike ``pl.Expr.hash``.
    """
    return pl.col(column).map_elements(lambda value: int(digest(seed, value)[:16], 16), return_dtype=pl.UInt64)
