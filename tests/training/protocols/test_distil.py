"""Distillation in stages: operations of the students, the threshold, and the table beside evaluations by hand."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training import models, recipes
from semblance.training.cli import app
from semblance.training.ensemble import fit as ensembles
from semblance.training.evaluation import cost, evaluate
from semblance.training.export import latency
from semblance.training.inference.predictor import load
from semblance.training.protocols import distil, students
from semblance.training.protocols.distil import Trained, Wish
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir
from tests.conftest import once
from tests.training import builds, clip_runs, untrained
from tests.training.protocols import small

SETTINGS = (
    "model.arch=mobilenetv3_small_100",
    "model.pretrained=none",
    "data.batch_size=8",
    "data.draws=16",
    "augment.size=32",
    "epochs=1",
    "early_stop=null",
    "schedule.warmup_epochs=0",
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "to-distil", lambda out: builds.make(out, builds.Plan(families=4, frames=2)))


@pytest.fixture(scope="module")
def teacher(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("teacher")
    members = [str(untrained.make(made / f"member{seed}", [out], seed=seed, gain=9)) for seed in (0, 1)]
    ensembles.combine([str(out)], members, made / "ensemble", say=lambda _: None)
    return made / "ensemble"


def wish(out: Path, teacher: Path, **more: object) -> Wish:
    values: dict[str, object] = {"stages": (1.0, 0.5), "threshold": 0.0, **more}
    recipe = recipes.load("distil_mobilenet", SETTINGS)
    return Wish(outs=(str(out),), teacher=str(teacher), recipe=recipe, **values)  # type: ignore[arg-type]


def trained(asked: Wish, to: Path, said: list[str] | None = None) -> Trained:
    lines = [] if said is None else said
    return distil.train_stages(asked, to, small.options(), lines.append)


# --- the students


@pytest.mark.parametrize("name", ["distil_mobilenet", "distil_resnet"])
def test_stages_have_their_share_of_operations_within_a_tenth(out: Path, name: str) -> None:
    """Counted once more on the built models themselves."""
    recipe = recipes.load(name)
    made = students.make([str(out)], recipe, "teacher", (1.0, 0.5, 0.25), chain=False, runs="runs")
    assert [student.share for student in made] == [1.0, 0.5, 0.25]
    counted = []
    for student in made:
        model = models.build(student.planned.recipe.model, pretrained=False).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.rand(1, 3, recipe.augment.size, recipe.augment.size))
        counted.append(counter.get_total_flops() / 1e9)
        assert student.gflop == pytest.approx(counted[-1])
        assert counted[-1] / counted[0] == pytest.approx(student.share, rel=0.1)
        assert student.has == pytest.approx(counted[-1] / counted[0])
    assert made[0].planned.recipe.model == recipe.model
    assert [student.planned.recipe.model.pretrained for student in made[1:]] == ["none", "none"]
    assert [student.width for student in made] == sorted((student.width for student in made), reverse=True)
    assert all(recipes.readings(student.planned.recipe) == recipes.readings(recipe) for student in made)


def test_what_cannot_be_a_stage_is_refused(out: Path, teacher: Path, tmp_path: Path) -> None:
    recipe = recipes.load("distil_mobilenet", SETTINGS)
    for given, stages, words in (
        (recipe, (), r"--stages needs shares"),
        (recipe, (2.0, 1.0), r"--stages needs shares"),
        (recipe, (0.5, 0.5), r"--stages must descend"),
        (recipe, (1.0, 0.01), r"No width of this model has 0\.01 of its operations within 10%"),
        (small.recipe(), (1.0,), r"learns by regime supervised; choose one with regime\.kind distil"),
        (
            recipes.load("efficientnet_b4_small", ["regime.kind=distil", "augment.size=32"]),
            (1.0, 0.5),
            r"efficientnet has no width",
        ),
    ):
        with pytest.raises(UsageError, match=words):
            students.make([str(out)], given, "teacher", stages, chain=False, runs="runs")
    clips = clip_runs.make(tmp_path / "clips", untrained.make(tmp_path / "frame", [out]))
    with pytest.raises(UsageError, match=r"clips scores clips of 3 pictures, and students learn from single pictures"):
        trained(wish(out, clips), tmp_path / "to")
    with pytest.raises(UsageError, match="nowhere is not a trained run"):
        trained(wish(out, Path("nowhere")), tmp_path / "to")
    named = shutil.copytree(teacher, tmp_path / "stage-1")
    with pytest.raises(UsageError, match=r"has the name of a stage \(stage-1\)"):
        trained(wish(out, named), tmp_path / "to")
    assert not (tmp_path / "to").exists()


# --- the stages


@pytest.fixture(scope="module")
def done(out: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Two stages by the command; tests only read it."""
    to = tmp_path_factory.mktemp("distilled") / "to"
    words = ["--data", str(out), "--teacher", f"{teacher}/", "--to", str(to), "--threshold", "0", "--draws", "20"]
    words += ["--stages", "1.0,0.5"]
    words += ["--accelerator", "cpu", "--workers", "0", "--tracking", "none", "--date", "2026-01-01 00:00 UTC"]
    torch.set_num_threads(1)
    set_ = [word for one in SETTINGS for word in ("--set", one)]
    result = CliRunner().invoke(app, ["distil", *words, *set_], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return to, result.output


def test_the_table_is_that_of_evaluations_by_hand(out: Path, teacher: Path, done: tuple[Path, str]) -> None:
    to, said = done
    found = json.loads((to / "distil.json").read_text())
    names = ["ensemble", "stage-1", "stage-0.5"]
    assert [line["name"] for line in found["lines"]] == names
    assert found["stopped"] is None
    folders = [str(teacher), *(str(to / "runs" / name) for name in names[1:])]
    for split in ("val", "test"):
        by_hand = evaluate.evaluate([str(out)], folders, evaluate.Options(split=split, draws=0), say=lambda _: None)
        auc = {
            row.model: row.figures["auc"].value or 0.0
            for row in by_hand.rows
            if row.level == "video" and row.method is None
        }
        for line in found["lines"]:
            kept = line[split]
            assert kept["auc"] == pytest.approx(auc[line["name"]])
            assert kept["teacher"] == pytest.approx(auc["ensemble"])
            assert kept["share"] == pytest.approx(auc[line["name"]] / auc["ensemble"])
            assert kept["change"]["value"] == pytest.approx(auc[line["name"]] - auc["ensemble"])
    for line, place in zip(found["lines"], folders, strict=True):
        one = load(place)
        heads = sum(2e-9 * member.trained.model.embedding_dim for member in one.members)  # which ``measure`` has twice
        assert line["gflop"] + heads == pytest.approx(cost.measure(one).gflop)
        weights = [weight for member in one.members for weight in member.trained.model.parameters()]
        assert line["parameters"] == sum(weight.numel() for weight in weights)
        assert set(line["latency"]) == {"torch", "openvino"}
        assert all(value > 0 for ms in line["latency"].values() for value in ms.values())
        assert (to / "export" / f"{line['name']}.xml").is_file()
    with (to / "distil.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == names
    assert [float(row["test kept"]) for row in rows] == [line["test"]["share"] for line in found["lines"]]
    lines = said.splitlines()
    heading = next(number for number, line in enumerate(lines) if line.startswith("model  "))
    assert [line.split()[0] for line in lines[heading + 1 : heading + 4]] == names


def test_every_stage_learns_from_the_teacher(teacher: Path, done: tuple[Path, str]) -> None:
    to, _ = done
    for name in ("stage-1", "stage-0.5"):
        run = RunDir(to / "runs" / name)
        assert run.recipe().regime.sources == (str(teacher),)
        assert "soft" in json.loads(run.steps.read_text().splitlines()[0])


def test_a_finished_stage_is_kept_and_another_teacher_is_refused(out: Path, teacher: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(teacher, tmp_path / "teacher")
    to, said = tmp_path / "to", list[str]()
    first = trained(wish(out, mine, stages=(1.0,)), to)
    best = (to / "runs" / "stage-1" / "checkpoints" / "best.ckpt").read_bytes()
    again = trained(wish(out, mine), to, said)
    assert any("stage 1 of 2 was finished before" in line for line in said)
    assert (to / "runs" / "stage-1" / "checkpoints" / "best.ckpt").read_bytes() == best
    assert list(again.val.scores) == ["teacher", "stage-1", "stage-0.5"]
    assert again.val.scores["stage-1"].equals(first.val.scores["stage-1"])
    listed = mine / "ensemble.json"
    record = json.loads(listed.read_text())
    record["members"][0]["weight"], record["members"][1]["weight"] = 0.9, 0.1
    listed.write_text(json.dumps(record))
    with pytest.raises(SemblanceError, match=r"ensemble\.json has changed since"):
        trained(wish(out, mine), to)
    longer = replace(wish(out, mine), recipe=recipes.load("distil_mobilenet", (*SETTINGS, "epochs=2")))
    with pytest.raises(SemblanceError, match=r"has another recipe \(epochs: 1 -> 2"):
        trained(longer, to)


def test_a_stage_below_the_threshold_ends_it_and_a_chain_passes_on(out: Path, teacher: Path, tmp_path: Path) -> None:
    said: list[str] = []
    found = trained(wish(out, teacher, threshold=99.0), tmp_path / "high", said)
    assert [student.name for student, _ in found.students] == ["stage-1"]
    assert found.stopped is not None
    assert found.stopped.endswith("less than 99, so stage-0.5 was not begun.")
    assert not (tmp_path / "high" / "runs" / "stage-0.5").exists()
    chained = trained(wish(out, teacher, chain=True), tmp_path / "chain")
    assert chained.stopped is None
    runs = tmp_path / "chain" / "runs"
    assert RunDir(runs / "stage-1").recipe().regime.sources == (str(teacher),)
    assert RunDir(runs / "stage-0.5").recipe().regime.sources == (str(runs / "stage-1"),)
    sources = checkpoint.load(RunDir(runs / "stage-0.5").best)["sources"]
    assert list(sources) == [str(runs / "stage-1")]


def test_latencies_are_of_files_that_answer_alike(teacher: Path, done: tuple[Path, str]) -> None:
    to, _ = done
    one = load(teacher)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 40, 3), np.uint8) for _ in range(3)]
    before = torch.get_num_threads()
    found = latency.measure(one, {"openvino": to / "export" / "ensemble.xml"}, images, batch=4)
    assert torch.get_num_threads() == before
    assert set(found) == {"torch", "openvino"}
    pictures = {32: latency._bytes(images, 32, 4)}
    assert pictures[32].shape == (4, 3, 32, 32)
    assert np.array_equal(pictures[32][3], pictures[32][0])
    np.testing.assert_allclose(latency._torch(one, pictures)[:3], one.logits(images), atol=1e-5)
