"""Columns under attack and certified: their figures are those of the evaluations, and count in no figure of AUC."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from jsonschema import Draft202012Validator

from semblance.manifests.errors import UsageError
from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.benchmark import asked, benchmark, page, record, robust
from semblance.training.benchmark import suite as suites
from semblance.training.benchmark.result import Benchmark
from semblance.training.benchmark.robust import Robust
from semblance.training.benchmark.suite import Suite
from tests.conftest import REPOSITORY
from tests.training import builds, untrained

PUBLISHED = json.loads((REPOSITORY / "docs/benchmark.schema.json").read_text("utf-8"))
VENDOR = "def bright(crops):\n    return [float(crop.mean()) / 255 for crop in crops]\n"
DATE = "2026-11-30 09:00 UTC"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build with enough test families for intervals."""
    return builds.make(tmp_path_factory.mktemp("many") / "ffpp", builds.Plan(families=22, frames=2))


@pytest.fixture(scope="module")
def folder(many: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    for seed in (0, 1):
        untrained.make(folder / "runs" / f"net-seed{seed}", [many], f"seed={seed}", seed=seed, gain=9)
    untrained.make(folder / "runs" / "other", [many], "epochs=7", seed=5, gain=9)
    (folder / "vendor.py").write_text(VENDOR)
    (folder / "suite.yaml").write_text(
        f"""
draws: 60
rows:
  - {{name: net, runs: runs/net-seed*}}
  - {{name: other, runs: runs/other}}
  - {{name: a vendor, external: "vendor.py:bright"}}
columns:
  - {{name: pgd, data: {many}, kind: adversarial, attack: {{name: pgd, strength: 0.01, pictures: 48}}}}
  - {{name: all, data: {many}}}
  - {{name: part, data: {many}, method: Deepfakes, attack: {{name: fgsm, pictures: 40}}}}
  - {{name: smooth, data: {many}, certify: {{radius: 0.05, samples: 15, pictures: 24}}}}
""",
        "utf-8",
    )
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> Benchmark:
    return benchmark.run(suites.read(folder / "suite.yaml"), folder / "page", lambda _: None, date=DATE)


def cells(result: Benchmark, column: str, row: str) -> dict[str, Robust]:
    (one,) = (one for one in result.hardened if one.column.name == column)
    return {cell.level: cell for cell in one.cells if cell.row == row}


def test_cells_are_the_figures_of_evaluations(result: Benchmark, folder: Path) -> None:
    assert [one.column.name for one in result.measured] == ["all"]
    assert [one.column.name for one in result.hardened] == ["pgd", "part", "smooth"]
    for one in result.hardened[:2]:
        told = json.loads((folder / "page" / one.folder / "evaluation.json").read_text())
        rows = {(row["model"], row["level"]): row for row in told["attacks"]}
        for level, cell in cells(result, one.column.name, "other").items():
            figure = rows["other", level]["robust"]
            assert (cell.figure.value, cell.figure.low, cell.figure.high) == tuple(
                figure[end] for end in ("value", "low", "high")
            )
            assert cell.figure.low is not None
            assert cell.clean.value == rows["other", level]["clean"]["value"]
        for level, cell in cells(result, one.column.name, "net").items():
            both = [rows[f"net-seed{seed}", level]["robust"] for seed in (0, 1)]
            assert cell.figure.value == pytest.approx(sum(part["value"] for part in both) / 2)
            assert cell.figure.low == min(part["low"] for part in both)
            assert cell.figure.high == max(part["high"] for part in both)
            assert cell.over is not None
    told = json.loads((folder / "page" / result.hardened[2].folder / "evaluation.json").read_text())
    points = next(one["points"] for one in told["certificates"] if one["model"] == "other")
    (point,) = (point for point in points if point["radius"] == 0.05)
    (cell,) = cells(result, "smooth", "other").values()
    assert (cell.level, cell.figure.value) == ("frame", point["balanced"]["value"])


def test_only_videos_of_the_column_are_attacked(result: Benchmark) -> None:
    one = next(one for one in result.hardened if one.column.name == "part")
    assert set(one.videos["method"].drop_nulls()) == {"Deepfakes", "pristine"}
    cell = cells(result, "part", "other")["video"]
    assert 0 < cell.fakes <= one.videos.filter(pl.col("label") == 1).height


def test_they_count_in_no_figure_of_auc(result: Benchmark) -> None:
    assert {cell.column for cell in result.cells} == {"all"}
    for one in (*result.consistencies, *result.gains):
        assert not {"pgd", "part", "smooth"} & set(getattr(one, "columns", ())) & set(getattr(one, "unseen", ()))


def test_a_detector_without_gradients_is_told_why(result: Benchmark) -> None:
    (cell,) = cells(result, "pgd", "a vendor").values()
    assert cell.figure.value is None
    assert cell.reason is not None
    assert "external" in cell.reason
    told = [one for one in result.answers if one.row == "a vendor" and "attack" in one.asked]
    assert {one.verdict for one in told} == {"not measured"}


def test_the_page_and_the_record_hold_them(result: Benchmark, folder: Path) -> None:
    text = page.markdown(result)
    assert "## Under attack and certified" in text
    assert "it never covers the plan's L-infinity 0.03" in text
    assert page.summary(result)[0] == ["row", "all", "pgd", "part", "smooth", "consistency"]
    written = json.loads((folder / "page" / "benchmark.json").read_text())
    Draft202012Validator(PUBLISHED).validate(written)
    assert json.loads(record.as_json(record.make(result)))["hard"] == written["hard"]
    assert [one["attack"] for one in written["columns"]] == [None, "pgd at 0.01", "fgsm at 0.03", None]
    assert [one["kind"] for one in written["hard"][:2]] == ["adversarial"] * 2
    table = pl.read_csv(folder / "page" / "tables" / "hard.csv")
    assert table.height == len(written["hard"])


def test_the_aim_is_met_only_by_the_lower_end_of_the_worse_level(result: Benchmark) -> None:
    one = result.hardened[0]
    frame, video = (cell for cell in one.cells if cell.row == "other")

    def verdict(first: tuple[float, float, float], second: tuple[float, float, float]) -> tuple[str, str]:
        pairs = ((frame, first), (video, second))
        made = [replace(cell, figure=Estimate(value=v, low=low, high=high)) for cell, (v, low, high) in pairs]
        (answer,) = asked._robust(result.suite, [replace(one, cells=tuple(made))])
        return answer.verdict, answer.data.rpartition(" ")[2]

    assert verdict((0.9, 0.81, 0.95), (0.95, 0.9, 1.0)) == ("met", "frame")
    assert verdict((0.9, 0.80, 0.95), (0.95, 0.9, 1.0)) == ("not shown", "frame")
    assert verdict((0.9, 0.81, 0.95), (0.5, 0.4, 0.6)) == ("not met", "video")
    (without,) = asked._robust(result.suite, [])
    assert (without.verdict, without.note) == ("not measured", "no column has attack or certify")


def test_over_seeds_the_interval_is_the_widest() -> None:
    some = [Estimate(value=0.6, low=0.5, high=0.7), Estimate(value=0.8, low=0.75, high=0.85)]
    assert robust.widest(some) == Estimate(value=0.7, low=0.5, high=0.85)
    assert robust.widest([some[0], Estimate(value=0.8)]) == Estimate(value=0.7)
    assert robust.widest([some[0], Estimate(value=None)]) == Estimate(value=None)


COLUMN = {"name": "c", "data": "d"}


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ({"attack": {"name": "deepfool"}}, "the attack 'deepfool' is not known; known are"),
        ({"attack": {"name": "pgd", "strength": 2}}, "less than or equal to 1"),
        ({"attack": {"name": "pgd"}, "kind": "seen"}, "has attack, so its kind is adversarial, not seen"),
        ({"kind": "adversarial"}, "is adversarial, so it needs attack: with its settings"),
        ({"kind": "certified"}, "is certified, so it needs certify: with its settings"),
        ({"certify": {"radius": 1.0}}, "so many samples certify at most a radius of 0.800, not 1"),
        ({"certify": {"radius": 0.1, "samples": 5}}, "samples 5 can certify nothing at alpha 0.001"),
        ({"attack": {"name": "pgd"}, "certify": {"radius": 0.1}}, "several of degrade, attack and certify"),
        ({"attack": {"name": "pgd"}}, "all columns have attack or certify"),
    ],
)
def test_a_fault_is_one_sentence(column: dict[str, object], sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "suite.yaml"
    file.write_text(json.dumps({"rows": [{"name": "a", "runs": "r"}], "columns": [COLUMN | column]}))
    with pytest.raises(UsageError) as caught:
        suites.read(file)
    assert sentence in str(caught.value)


def test_rows_without_gradients_alone_are_refused(many: Path, folder: Path, tmp_path: Path) -> None:
    suite = Suite.model_validate(
        {
            "rows": [{"name": "a vendor", "external": f"{folder}/vendor.py:bright"}],
            "columns": [
                {"name": "all", "data": str(many)},
                {"name": "pgd", "data": str(many), "attack": {"name": "pgd"}},
            ],
        }
    )
    with pytest.raises(UsageError, match=r"Column pgd: attack has nothing to judge: a_vendor is external"):
        benchmark.run(suite, tmp_path / "page", lambda _: None)
    assert not (tmp_path / "page").exists()
