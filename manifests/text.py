"""Columns put together as words."""

from __future__ import annotations

from functools import reduce

import polars as pl


def worded(template: str, *columns: str | pl.Expr) -> pl.Expr:
    """``template`` with each ``{}`` replaced by a column's value as text; null where one of them is null.

    What ``pl.format`` does, by ``+``: that one panics on a filtered frame of several chunks (polars 2.1.0).
    """
    first, *others = template.split("{}")
    if len(others) != len(columns):
        raise ValueError(f"{template!r} has {len(others)} places for {len(columns)} columns")
    parts: list[pl.Expr] = [pl.lit(first)]
    for column, text in zip(columns, others, strict=True):
        expression = pl.col(column) if isinstance(column, str) else column
        parts += [expression.cast(pl.String), pl.lit(text)]
    return reduce(lambda one, other: one + other, parts)
