"""Manifests of millions of rows: asked and audited within bounded memory, nothing planted overlooked."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from semblance import manifests
from tests.conftest import BIN, measured
from tests.quality import big_build


def _audited(out: Path, tmp_path: Path) -> tuple[float, dict[str, object], pl.DataFrame]:
    """Peak memory in GiB of an audit in a process of its own, its figures, and the leaks."""
    table, figures = tmp_path / "leaks.parquet", tmp_path / "audit.json"
    words = [BIN / "quality", "audit", out, "--confirm", "300", "--to", table, "--json", figures]
    code, _, memory = measured(words, tmp_path / "said.txt")
    assert code == 1
    return memory / 2**30, json.loads(figures.read_text()), pl.read_parquet(table)


@pytest.mark.parametrize(
    ("rows", "most"),
    [
        pytest.param(300_000, 1.25, id="300k"),
        pytest.param(10_000_000, 8, id="10M", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_a_large_manifest(rows: int, most: float, tmp_path: Path) -> None:
    out = tmp_path / "out"
    big = big_build.write(out, rows, scenes=0.02)
    asked = (
        manifests.scan(str(out))
        .filter(pl.col("split") == "test")
        .group_by("method")
        .agg(pl.len(), pl.col("blur").mean(), pl.col("flags").list.len().max().alias("flags"))
        .collect()
    )
    assert set(asked["method"]) == set(big_build.METHODS)
    assert asked["len"].n_unique() == 1
    assert asked["flags"].max() == 0
    peak, figures, leaks = _audited(out, tmp_path)
    assert peak < most
    counts = pl.DataFrame(figures["builds"][0]["coverage"])  # type: ignore[index]
    assert counts["crops"].sum() == big.rows
    broken = leaks.filter("breaks")
    near = broken.filter(pl.col("kind") == "near_duplicate")
    assert {tuple(pair.split("+")) for pair in near["id"]} == big.copies
    assert broken.filter(pl.col("kind") != "near_duplicate").select("kind", "id").rows() == [("person", "person000000")]


@pytest.mark.slow
def test_a_page_of_four_million_crops(tmp_path: Path) -> None:
    out = tmp_path / "out"
    big = big_build.write(out, 4_000_000, scenes=0.02)
    code, _, memory = measured([BIN / "quality", "report", out], tmp_path / "said.txt")
    page = out / "report/index.html"
    assert page.stat().st_size < 15_000_000
    assert f"{big.rows:,}" in page.read_text(), "a count lacks crops"
    assert memory < 6 * 2**30
    said = json.loads((out / "report/report.json").read_text())
    assert {tuple(sorted((row["video"], row["other"]))) for row in said["copies"]} == big.copies
    assert any(one["what"].startswith("1 person in more than one of") for one in said["findings"])
    assert {one["acquisition"]["verdict"] for one in said["shortcuts"]} == {"even"}
    assert code == 0
