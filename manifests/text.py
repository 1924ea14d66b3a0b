"""Polars expressions for text: columns formatted into a template, and a seeded order by hash."""

from __future__ import annotations

import operator
from functools import reduce

import polars as pl

from semblance.manifests.records import digest


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
