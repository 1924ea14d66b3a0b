"""``training continual``: chains of runs over tasks, by build and by method, with figures that evaluations confirm."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from lightning.pytorch import Callback
from typer.testing import CliRunner

from semblance.manifests.errors import UsageError
from semblance.training.cli import app
from semblance.training.evaluation import evaluate
from semblance.training.protocols import continual, forgetting
from semblance.training.regimes.continual_config import ContinualConfig
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir
from tests.conftest import once
from tests.training import builds
from tests.training.protocols import small

NAMES = ("ffpp", "celebdf", "dfdc")
FEW = ("regime.kind=continual", "regime.memory.size=10", "regime.memory.batch=4", "regime.ewc.samples=6")


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    methods = {"ffpp": ("Deepfakes", "FaceSwap"), "celebdf": ("swap",), "dfdc": (None,)}

    def make(folder: Path) -> None:
        for name in NAMES:
            plan = builds.Plan(dataset=name, families=4, methods=methods[name], compressions=(None,), frames=2)
            builds.make(folder / name, plan)

    folder = once(tmp_path_factory, "three-datasets", make)
    return [folder / name for name in NAMES]


@pytest.fixture(scope="module")
def done(outs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tasks by three methods through the command; tests only read it."""

    def make(to: Path) -> None:
        more = [word for one in FEW for word in ("--set", one)]
        words = ["continual", *small.words(outs, to, "--methods", "ewc+replay", *more)]
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        (to / "said.txt").write_text(result.output)

    return once(tmp_path_factory, "continual", make)


def test_every_run_starts_from_the_one_before(done: Path) -> None:
    names = sorted(path.name for path in (done / "runs").iterdir())
    assert names == [
        "ewc_replay-2-celebdf-seed0",
        "ewc_replay-3-dfdc-seed0",
        "first-ffpp-seed0",
        "joint-2-celebdf-seed0",
        "joint-3-dfdc-seed0",
        "sequential-2-celebdf-seed0",
        "sequential-3-dfdc-seed0",
    ]
    learned = {}
    for name in names:
        run = RunDir(done / "runs" / name)
        recipe = run.recipe()
        learned[name] = [Path(out).name for out in run.builds("train")]
        if name.startswith(("first", "joint")):
            assert (recipe.regime.sources, recipe.model.pretrained) == ((), "none")
            continue
        before = Path(recipe.model.pretrained)
        assert recipe.regime.sources == (str(before),)
        assert before.name == ("first-ffpp-seed0" if "-2-" in name else name.replace("-3-dfdc", "-2-celebdf"))
        state = checkpoint.load(run.best)["regime"]["_extra_state"]
        assert bool(state["fisher"]) == bool(state["drawn"]) == name.startswith("ewc")
    assert learned["joint-3-dfdc-seed0"] == list(NAMES)
    assert learned["sequential-3-dfdc-seed0"] == ["dfdc"]


def test_figures_are_those_of_evaluations_by_hand(outs: list[Path], done: Path) -> None:
    written = json.loads((done / forgetting.RECORD).read_text())
    assert [one["name"] for one in written["tasks"]] == list(NAMES)
    assert len(written["methods"]) == 3 * 2
    chains = {
        method: ["first-ffpp", *(f"{method.replace('+', '_')}-{place}-{NAMES[place - 1]}" for place in (2, 3))]
        for method in ("sequential", "joint", "ewc+replay")
    }
    folders = [str(path) for path in (done / "runs").iterdir()]
    by_hand = {}
    for name, out in zip(NAMES, outs, strict=True):
        result = evaluate.evaluate([str(out)], folders, evaluate.Options(draws=0), say=lambda _: None)
        for row in result.rows:
            if row.level == "video" and row.method is None:
                by_hand[row.model, name] = row.figures
    for one in written["methods"]:
        (seed,) = one["seeds"]
        matrix = [
            [by_hand[f"{slug}-seed0", name][one["figure"]].value for name in NAMES] for slug in chains[one["method"]]
        ]
        assert seed["matrix"] == matrix
        lost = [max(line[task] for line in matrix[:2]) - matrix[2][task] for task in (0, 1)]  # type: ignore[type-var]
        assert seed["forgetting"] == pytest.approx(sum(lost) / 2)
        assert seed["average"] == pytest.approx(sum(matrix[2]) / 3)  # type: ignore[arg-type]
    with (done / forgetting.TABLE).open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * 2 * 3
    last = next(one for one in lines if (one["method"], one["figure"], one["after"]) == ("joint", "AUC", "dfdc"))
    first = next(one for one in written["methods"] if (one["method"], one["figure"]) == ("joint", "auc"))
    assert float(last["average"]) == pytest.approx(first["seeds"][0]["average"], abs=6e-4)
    said = (done / "said.txt").read_text()
    assert "average balanced accuracy" in said
    assert "7 runs: ffpp alone, sequential up to celebdf" in said
    assert (done / "benchmark.html").is_file()


class Stop(Callback):
    """Interrupts the third run in its second step."""

    def __init__(self) -> None:
        self.runs = 0

    def on_train_start(self, *_: object) -> None:
        self.runs += 1

    def on_train_batch_start(self, trainer: object, module: object, batch: object, place: int) -> None:
        del trainer, module, batch
        if self.runs == 3 and place == 1:
            raise KeyboardInterrupt


def test_methods_of_one_build_are_tasks_and_an_interrupted_chain_goes_on(outs: list[Path], tmp_path: Path) -> None:
    """Two seeds, whose chains never meet; the same as without an interruption."""
    made = continual.make([str(outs[0])], small.recipe(*FEW), [0, 1], ["lwf"], by_method=True)
    assert [task.name for task in made.tasks] == ["Deepfakes", "FaceSwap"]
    assert [chain.method for chain in made.chains] == ["sequential", "joint", "lwf"]
    with pytest.raises(KeyboardInterrupt):
        small.carried_out(made.plan, tmp_path / "to", callbacks=[Stop()])
    said: list[str] = []
    result = small.carried_out(made.plan, tmp_path / "to", said)
    assert sum("was finished before" in line for line in said) == 2
    lines = {(one.method, one.figure): one for one in forgetting.lines(made, result)}
    assert all(len(one.matrices) == 2 for one in lines.values())
    assert all(
        value is not None for one in lines.values() for matrix in one.matrices for row in matrix for value in row
    )
    methods = {}
    for path in (tmp_path / "to" / "runs").iterdir():
        record = json.loads((path / "datasets.json").read_text())
        methods[path.name] = {
            name for one in record if one["role"] == "train" for name in one["methods"] if name != "pristine"
        }
        if path.name.startswith(("lwf", "sequential")):
            assert RunDir(path).recipe().model.pretrained.endswith(path.name[-5:])
    assert methods["first-Deepfakes-seed0"] == {"Deepfakes"}
    assert methods["lwf-2-FaceSwap-seed1"] == {"FaceSwap"}
    assert methods["joint-2-FaceSwap-seed0"] == {"Deepfakes", "FaceSwap"}
    rows = forgetting.overview(forgetting.lines(made, result))
    assert [row[0] for row in rows] == ["method", "sequential", "joint", "lwf"]
    assert all("+-" in cell for row in rows[1:] for cell in row[1:])


def test_what_is_no_chain_is_refused(outs: list[Path]) -> None:
    named = [str(out) for out in outs]
    recipe = small.recipe(*FEW)
    for given, methods, by_method, settings, words in (
        (named, ["dream"], False, (), "Unknown method 'dream'; --methods accepts sequential, joint, ewc"),
        (named[:1], [], False, (), "two or more tasks"),
        (named[1:2], [], True, (), "two or more tasks"),
        (named[:2], [], True, (), "takes one build, not 2"),
        (named, [], False, ("regime.after=a", "model.pretrained=a"), "set by this command"),
    ):
        one = small.recipe(*FEW, *settings) if settings else recipe
        with pytest.raises(UsageError, match=words):
            continual.make(given, one, [0], methods, by_method=by_method)
    plain = continual.make(named[:2], small.recipe(), [0], ["ewc+replay"])
    regime = plain.plan.variants[-1].recipe.regime
    assert isinstance(regime, ContinualConfig)
    assert (regime.ewc.weight, regime.memory.replay, regime.lwf.weight) == (400, True, 0)
