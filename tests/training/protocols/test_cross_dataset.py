"""Cross-dataset: each build against each, with what the runs' own records call seen, and leaks found beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.cli import app
from semblance.training.evaluation import evaluate
from semblance.training.protocols import datasets
from tests.conftest import once
from tests.training import builds
from tests.training.guard import collections
from tests.training.protocols import small

NAMES = ("ffpp", "celebdf", "dfdc")


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    methods = {"ffpp": ("Deepfakes", "FaceSwap"), "celebdf": ("swap",), "dfdc": (None,)}

    def make(folder: Path) -> None:
        for name in NAMES:
            plan = builds.Plan(dataset=name, families=4, methods=methods[name], compressions=(None,), frames=2)
            builds.make(folder / name, plan)

    folder = once(tmp_path_factory, "three-datasets", make)
    return [folder / name for name in NAMES]


def test_the_matrix_is_that_of_evaluations_by_hand(outs: list[Path], tmp_path: Path) -> None:
    """Three builds and all but one of them: six runs, marks by their records, consistency by hand."""
    plan = datasets.make([str(out) for out in outs], small.recipe(), [0], leave_one=True)
    said: list[str] = []
    result = small.carried_out(plan, tmp_path, said)
    assert said[0].startswith("6 runs: ffpp, celebdf, dfdc, without ffpp, without celebdf, without dfdc; seed 0;")
    cells = {(cell.row, cell.column): cell for cell in result.cells}
    assert len(cells) == 6 * 3
    folders = [str(path) for path in (tmp_path / "runs").iterdir()]
    for out, column in zip(outs, NAMES, strict=True):
        by_hand = evaluate.evaluate([str(out)], folders, evaluate.Options(draws=0), say=lambda _: None)
        whole = {one.model: one for one in by_hand.rows if one.level == "video" and one.method is None}
        for variant in plan.variants:
            cell = cells[variant.row, column]
            name = variant.row.removeprefix("without ")
            learned = (column != name) == variant.row.startswith("without ")
            assert cell.mark == ("seen" if learned else "unseen dataset")
            assert cell.figures["video"].value == whole[f"{variant.slug}-seed0"].figures["auc"].value
    ratios = {one.row: one.ratio.value for one in result.consistencies if one.role == "unseen dataset"}
    assert set(ratios) == {variant.row for variant in plan.variants}
    auc = {place: cell.figures["video"].value or 0.0 for place, cell in cells.items()}
    assert ratios["ffpp"] == pytest.approx((auc["ffpp", "celebdf"] + auc["ffpp", "dfdc"]) / 2 / auc["ffpp", "ffpp"])
    suite = yaml.safe_load((tmp_path / "suite.yaml").read_text())
    assert not any(Path(column["data"]).is_absolute() for column in suite["columns"])
    assert (tmp_path / "benchmark.html").is_file()


def test_the_command_prints_the_matrix_and_its_suite_can_be_run_again(outs: list[Path], tmp_path: Path) -> None:
    to = tmp_path / "to"
    done = CliRunner().invoke(app, ["cross-dataset", *small.words(outs[:2], to)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert ["row", "ffpp", "celebdf", "consistency"] in lines
    again = CliRunner().invoke(
        app, ["benchmark", str(to / "suite.yaml"), "--to", str(tmp_path / "again"), "--no-pictures"]
    )
    assert again.exit_code == 0, again.output
    assert [line for line in lines if line[:1] in (["ffpp"], ["celebdf"])] == [
        line.split() for line in again.output.splitlines() if line.split()[:1] in (["ffpp"], ["celebdf"])
    ]


def test_what_builds_share_is_found_before_anything_is_trained(tmp_path: Path) -> None:
    """Videos under the same ids and another split, and copies under other ids in another dataset."""
    given = collections.videos()
    one = collections.make(tmp_path / "one", given)
    other = collections.make(tmp_path / "other", given, "split.protocol=family", "seed=1")
    files = collections.make(
        tmp_path / "files", collections.renamed(given, "folder"), "split.protocol=family", "seed=3"
    )
    for outs, words in (
        ((one, other), r"videos of test of .*other .* trained on by the run one.*--allow-leaks"),
        ((one, files), r"videos of test of .*files .* copies of ones trained on by the run celebdf.*--allow-leaks"),
    ):
        plan = datasets.make([str(out) for out in outs], small.recipe(), [0])
        with pytest.raises(SemblanceError, match=words):
            small.carried_out(plan, tmp_path / "to")
        assert not (tmp_path / "to").exists()


def test_builds_cut_otherwise_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    one = collections.make(tmp_path / "one", collections.videos(), "split.protocol=identity")
    elsewhere = collections.videos(dataset="dfdc", seed=5)
    wide = collections.make(tmp_path / "wide", elsewhere, "crop.margin=2.2", "crop.size=160", scene="elsewhere")
    plan = datasets.make([str(one), str(wide)], small.recipe(), [0])
    with pytest.raises(SemblanceError, match=r"crop\.margin.*--allow-other-crops"):
        small.carried_out(plan, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_plan_needs_builds_to_compare(outs: list[Path]) -> None:
    named = [str(out) for out in outs]
    for given, leave_one, words in (
        (named[:1], False, "2 or more builds"),
        (named[:2], True, "3 or more builds"),
        ([named[0], named[0] + "/"], False, "named twice"),
    ):
        with pytest.raises(UsageError, match=words):
            datasets.make(given, small.recipe(), [0], leave_one=leave_one)
