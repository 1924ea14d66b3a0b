"""What a run has seen is known wherever builds lie, are copied, renamed, repacked or built again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from semblance.manifests import scan
from semblance.manifests.errors import SemblanceError
from semblance.shards.repack import plan as repack_plan
from semblance.shards.repack import run as repack
from semblance.shards.repack.plan import RepackRequest
from semblance.training.cli import app
from semblance.training.ensemble import fit as ensemble
from semblance.training.evaluation import evaluate, leaks, prepare, thresholds
from semblance.training.evaluation.evaluate import Options
from semblance.training.evaluation.report import page
from semblance.training.guard import seen
from semblance.training.inference import predictor
from semblance.training.inference.predictor import Predictor
from tests.training import builds, untrained
from tests.training.guard import collections
from tests.training.guard.collections import make


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A build; and then, with the same files, copied, repacked, built again otherwise and under other ids.

    The build itself is gone.
    """
    folder = tmp_path_factory.mktemp("outs")
    given = collections.videos()
    out = make(folder / "trained", given, "seed=1")
    repack.run(repack_plan.plan(str(out), RepackRequest(split="family")), str(folder / "repacked"))
    untrained.make(folder / "run", [out])
    shutil.move(out, folder / "elsewhere")
    return {
        "run": folder / "run",
        "same": folder / "elsewhere",
        "repacked": folder / "repacked",
        "again": make(folder / "again", given, "split.protocol=family", "seed=7", "crop.margin=2.2", "crop.size=160"),
        "files": make(folder / "files", collections.renamed(given, "folder"), "split.protocol=family", "seed=3"),
        "foreign": make(folder / "foreign", collections.videos(dataset="dfdc", seed=5), scene="elsewhere"),
    }


@pytest.fixture(scope="module")
def run(outs: dict[str, Path]) -> Predictor:
    return predictor.load(outs["run"])


def kinds(found: leaks.Found) -> set[tuple[str, bool]]:
    return {(leak.kind, leak.refused) for leak in found.leaks}


def test_a_moved_build_is_clean_in_test_and_known_in_train(outs: dict[str, Path], run: Predictor) -> None:
    assert leaks.find([run], [str(outs["same"])], "test", "split") == leaks.Found(leaks=(), unknown=())
    found = leaks.find([run], [str(outs["same"])], "train", "split")
    assert {"video", "family", "person", "recording"} == {kind for kind, refused in kinds(found) if refused}
    rows = scan(str(outs["same"]), "plan").filter(pl.col("split") == "train").collect()
    assert found.leaks[0].count == rows.height
    val = leaks.find([run], [str(outs["same"])], "val", "split")
    assert val.leaks
    assert not val.refused  # everybody knows what val is for, and the page says it
    assert "used to select run" in str(val.leaks[0])
    assert leaks.find([run], [str(outs["foreign"])], "test", "split").leaks == ()


@pytest.mark.parametrize("name", ["repacked", "again"])
def test_another_split_of_the_same_videos_is_known_by_ids(outs: dict[str, Path], run: Predictor, name: str) -> None:
    """Of its test: exactly the videos, families and people that the run was trained or selected on."""
    plan = scan(str(outs[name]), "plan").filter(pl.col("split") == "test").collect().to_dicts()
    before = scan(str(outs["same"]), "plan").collect()
    found = leaks.find([run], [str(outs[name])], "test", "split")
    counted = {leak.kind: leak.count for leak in found.leaks if leak.seen == "trained on by run"}
    rows = before.filter(pl.col("split") == "train").to_dicts()
    for kind in ("video", "family", "person", "recording"):
        assert counted[kind] == len(collections.ids(plan, kind) & collections.ids(rows, kind)) > 0
    assert any(leak.seen == "used to select run" and leak.refused for leak in found.leaks)


def test_copies_under_other_ids_are_known_by_their_content(outs: dict[str, Path], run: Predictor) -> None:
    found = leaks.find([run], [str(outs["files"])], "test", "split")
    assert kinds(found) == {("copy", True)}


def test_no_threshold_is_chosen_on_what_a_run_has_learned(outs: dict[str, Path], run: Predictor) -> None:
    """Its build has moved: val of another split is no substitute, and the build is found by its fingerprint."""
    same, again = (str(outs[name]) for name in ("same", "again"))
    assert thresholds.val_source(run, (again, same), "split")[0] == (same,)
    assert thresholds.val_source(run, (again,), "split")[0] == (again,)
    kept = {leak.kind for leak in leaks.choosing([run], [again], "split") if leak.refused}
    assert kept >= {"video", "family"}
    assert not any(leak.refused for leak in leaks.choosing([run], [same], "split"))
    with pytest.raises(SemblanceError, match=r"val of .*again .* its threshold would be chosen on what it has learned"):
        prepare._leaks([run], [again], "unassigned", "split", False, lambda _: None)
    assert prepare._leaks([run], [again, same], "unassigned", "split", False, lambda _: None).refused == ()


def test_copies_within_a_build_are_left_to_its_audit(tmp_path: Path) -> None:
    """Twice the same file under two ids, in train and test of one build: named, and not refused."""
    given = collections.videos()
    out = make(tmp_path / "out", given, frames=lambda row, _: collections.outcome(row | {"path": row["method"]}))
    run = predictor.load(untrained.make(tmp_path / "run", [out]))
    assert kinds(leaks.find([run], [str(out)], "test", "split")) == {("copy", False)}


def test_a_run_without_a_record_is_not_checked(outs: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(outs["run"], tmp_path / "old")
    file = tmp_path / "old" / "checkpoints" / "best.ckpt"
    state = torch.load(file, weights_only=True)
    del state["seen"]
    torch.save(state, file)
    found = leaks.find([predictor.load(tmp_path / "old")], [str(outs["same"])], "train", "split")
    assert found.leaks == ()
    (reason,) = found.unknown
    assert reason.startswith("old keeps no record of what it was trained on")


def test_crops_cut_otherwise_are_refused_and_named(outs: dict[str, Path], tmp_path: Path) -> None:
    """A run trained at margin 1.3 and 224 px, and a build of margin 2.2 and 160 px: figures came as ever."""
    words = ["evaluate", "--data", str(outs["again"]), "--run", str(outs["run"]), "--to", str(tmp_path / "page")]
    done = CliRunner().invoke(app, [*words, "--allow-leaks"])
    assert done.exit_code == 1
    told = "again are cut otherwise than those of run: crop.margin 2.2 instead of 1.3, crop.size 160 instead of 224"
    assert told in done.output
    assert "--allow-other-crops" in done.output
    assert not (tmp_path / "page").exists()
    with pytest.raises(SemblanceError, match=r"cut otherwise .*--allow-other-crops"):
        ensemble.combine([str(outs["again"])], [str(outs["run"])], tmp_path / "both", allow_leaks=True)


def with_recipe(out: Path, margin: float) -> Path:
    file = out / "dataset.json"
    text = file.read_text().replace('"recipe": {}', f'"recipe": {{"crop": {{"margin": {margin}}}}}')
    file.write_text(text)
    return out


def test_the_page_names_other_crops(tmp_path: Path) -> None:
    one, other = (
        with_recipe(builds.make(tmp_path / name, builds.Plan(families=2, dataset=name)), margin)
        for name, margin in (("ffpp", 1.3), ("dfdc", 2.2))
    )
    run = untrained.make(tmp_path / "run", [one])
    said: list[str] = []
    options = Options(draws=0, allow_other_crops=True)
    result = evaluate.evaluate([str(one), str(other)], [str(run)], options, say=said.append)
    told = f"Crops of {other} are cut otherwise than those of run: crop.margin 2.2 instead of 1.3"
    assert f"warning: {told}" in said
    assert f"{told}." in page.markdown(result)


def test_faces_that_authors_cut_are_named(run: Predictor, tmp_path: Path) -> None:
    given = [replace(one, member=one.path) for one in collections.videos(dataset="wilddeepfake")]
    out = make(tmp_path / "out", given, scene="web")
    (note,) = leaks.find([run], [str(out)], "test", "split").notes
    assert note.endswith("out were cut by the dataset's authors, and those that run was trained on by a recipe.")


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two builds whose val is each other's train, with a run of each."""
    folder = tmp_path_factory.mktemp("halves")
    first = builds.make(folder / "first", builds.Plan(families=4))
    second = shutil.copytree(first, folder / "second")
    for file in (second / "plan.parquet", *second.glob("manifests/*/*.parquet")):
        table = pl.read_parquet(file)
        other = pl.col("split").replace({"train": "val", "val": "train"})
        if "split" in table.columns:
            table.with_columns(split=other).write_parquet(file)
    for name, out in (("one", first), ("two", second)):
        untrained.make(folder / name, [out])
    return {"first": first, "second": second, "one": folder / "one", "two": folder / "two"}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (["two"], r"videos of val of .*first .* were trained on by two"),
        (["one", "two"], r"videos of .* were trained on by"),
    ],
)
def test_an_ensemble_is_not_fitted_on_what_a_member_was_trained_on(
    halves: dict[str, Path], tmp_path: Path, members: Sequence[str], words: str
) -> None:
    runs = [str(halves[name]) for name in members]
    with pytest.raises(SemblanceError, match=words + r".*--allow-leaks"):
        ensemble.combine([str(halves["first"])], runs, tmp_path / "both", say=lambda _: None)
    assert not (tmp_path / "both").exists()
    ensemble.combine([str(halves["first"])], runs, tmp_path / "both", allow_leaks=True, say=lambda _: None)
    notes = leaks.find([predictor.load(tmp_path / "both")], [], "test", "split").notes
    assert any(note.startswith("both: allowed with --allow-leaks: ") for note in notes)


def test_members_do_not_train_on_what_others_are_selected_on(halves: dict[str, Path]) -> None:
    one, two = (predictor.load(halves[name]) for name in ("one", "two"))
    found = {(leak.judged, leak.seen) for leak in leaks.fitting([one, two], [], "split").refused}
    assert found == {
        ("the val of two", "trained on by one"),
        ("the val of one", "trained on by two"),
    }


def test_an_ensemble_keeps_what_it_was_fitted_on(halves: dict[str, Path], tmp_path: Path) -> None:
    """Its val is a member's too; a build that tests it is refused."""
    to = tmp_path / "both"
    ensemble.combine([str(halves["first"])], [str(halves["one"])], to, say=lambda _: None)
    kept = seen.read(to / seen.FILE)
    assert kept is not None
    assert kept.ids["role"].unique().to_list() == ["selected"]
    both = predictor.load(to)
    assert leaks.find([both], [str(halves["first"])], "test", "split").leaks == ()
    assert {leak.seen for leak in leaks.find([both], [str(halves["second"])], "train", "split").refused} == {
        "used to select both"
    }
    (to / seen.FILE).unlink()
    (reason,) = leaks.find([predictor.load(to)], [str(halves["first"])], "test", "split").unknown
    assert "no record of the val" in reason
