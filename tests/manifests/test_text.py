"""Formatted columns and seeded order, also on filtered frames of several chunks."""

from __future__ import annotations

import polars as pl
import pytest

from semblance.manifests.ids import digest
from semblance.manifests.text import format_columns, seeded_order


def test_it_equals_python_formatting() -> None:
    names = [f"a name that is long enough {number}" for number in range(6)]
    pieces = pl.concat([pl.Series("b", names[:3]), pl.Series("b", names[3:])], rechunk=False)
    frame = pl.DataFrame({"a": pl.Series(names), "b": pieces, "n": pl.Series([0, 1, None, 3, 4, 5])})
    late = frame.filter(pl.col("a") > names[1])
    assert late.n_chunks("all") == [1, 2, 1]
    found = late.select(format_columns("{} and {}: {}!", "a", pl.col("b"), pl.col("n") * 2)).to_series().to_list()
    assert found == [
        f"{row['a']} and {row['b']}: {row['n'] * 2}!" if row["n"] is not None else None
        for row in late.iter_rows(named=True)
    ]
    assert pl.select(format_columns("no columns")).item() == "no columns"


def test_places_and_columns_agree() -> None:
    with pytest.raises(ValueError, match="2 places for 1 columns"):
        format_columns("{} {}", "a")


def test_a_seeded_order_is_that_of_the_digest_in_any_version() -> None:
    """Of the values alone: in any order of rows, lazily, in chunks; known numbers guard against another hash."""
    names = [f"clip-{number}" for number in range(50)]
    expected = sorted(names, key=lambda name: digest("draw", name))
    for frame in (pl.DataFrame({"id": names}), pl.DataFrame({"id": names[::-1]})):
        assert frame.sort(seeded_order("draw", "id"))["id"].to_list() == expected
        assert frame.lazy().sort(seeded_order("draw", "id")).collect()["id"].to_list() == expected
    known = pl.DataFrame({"id": ["a", None]}).select(seeded_order(0, "id")).to_series()
    assert known.to_list() == [int(digest(0, "a")[:16], 16), None]
    assert digest(0, "a").startswith("251d18b6d42bee65")
