"""Columns made from others: put together as words, or hashed into an order."""

from __future__ import annotations

from functools import reduce

import polars as pl

from semblance.manifests.records import digest


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


def seeded_order(seed: object, column: str) -> pl.Expr:
    """The first 64 bits of ``digest(seed, value)`` of each value: an order by hash that every version of Polars gives,
    unlike ``pl.Expr.hash``.
    """
    return pl.col(column).map_elements(lambda value: int(digest(seed, value)[:16], 16), return_dtype=pl.UInt64)
