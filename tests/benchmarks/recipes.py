"""Recipes beside plain baselines: ``python -m tests.benchmarks.recipes FOLDER`` writes ``RECIPES.md`` beside it.

The small form of every recipe and the plain baseline of the same network are trained on the same pictures of the
sample collections, with five seeds each, and judged by ``training benchmark``. FOLDER keeps builds and runs: the
same command again goes on. It takes two to three hours of one core.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.benchmarks.measure import BIN, ONE_THREAD

TABLE = Path(__file__).with_name("RECIPES.md")
SEEDS: Final = range(5)
COLLECTIONS: Final = ("ffpp", "celebdf", "dfdc")
BUILD: Final = (
    *("sampling.n=12", "crop.size=160", "gates.blur=null", "gates.brightness=null", "gates.min_face=null"),
    *("split.protocol=family", "split.fractions=[0.5,0.2,0.3]"),
)
TRAINED_ON: Final = "compression = 'c23'"  # of FF++: 360 pictures
COLUMNS: Final = (
    {"name": "FF++ c23", "data": "out/ffpp", "kind": "seen", "compression": "c23"},
    {"name": "FF++ c40", "data": "out/ffpp", "kind": "compressed", "compression": "c40"},
    {"name": "Celeb-DF", "data": "out/celebdf", "kind": "unseen dataset"},
    {"name": "DFDC", "data": "out/dfdc", "kind": "unseen dataset"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A recipe and the plain baseline of its network; ``more``: settings of each, for equal budgets.

    ``frames``: the recipe is a head over the baseline's run of the same seed.
    """

    recipe: str
    baseline: str
    more: Mapping[str, str]
    frames: bool = False


TRIALS: Final = (
    Trial(recipe="resnet50_small", baseline="resnet50_plain_small", more={}),
    Trial(recipe="efficientnet_b4_small", baseline="efficientnet_b4_plain_small", more={}),
    Trial(recipe="f3net_small", baseline="xception_small", more={}),
    Trial(
        recipe="vit_s_norms_small",
        baseline="vit_s_plain_small",
        more={"vit_s_norms_small": "data.draws=180", "vit_s_plain_small": "data.draws=360"},  # pairs, pictures
    ),
    Trial(recipe="temporal_small", baseline="f3net_small", more={}, frames=True),
)


def command(folder: Path, *arguments: str) -> None:
    """One of our commands in ``folder``, with one thread."""
    program, *rest = arguments
    subprocess.run([str(BIN / program), *rest], cwd=folder, check=True, env=os.environ | ONE_THREAD)


def build(shared: Path, folder: Path) -> None:
    """The builds; finished ones are kept."""
    settings = [part for setting in BUILD for part in ("--set", setting)]
    for name in COLLECTIONS:
        source = ("--dataset", name, "--root", str(shared / "data" / name), "--out", f"out/{name}")
        command(folder, "ingest", "build", *source, "--recipe", "deepfakebench", *settings)


def train(folder: Path) -> None:
    """Every run that is not finished."""
    for seed in SEEDS:
        for trial in TRIALS:
            for name in (trial.baseline, trial.recipe):
                wanted = [f"seed={seed}", f"data.query={TRAINED_ON}", "data.mix=null"]
                wanted += [trial.more[name]] if name in trial.more else []
                if trial.frames and name == trial.recipe:
                    wanted.append(f"model.frames_from=runs/{trial.baseline}-seed{seed}")
                settings = [part for setting in wanted for part in ("--set", setting)]
                run = f"runs/{name}-seed{seed}"
                resume = ("--resume",) if (folder / run / "checkpoints" / "last.ckpt").exists() else ()
                where = ("--run", run, "--tracking", "none", "--accelerator", "cpu", "--workers", "0")
                command(folder, "training", "fit", "--data", "out/ffpp", "--recipe", name, *where, *settings, *resume)


def judge(folder: Path, trial: Trial) -> dict[str, Any]:
    """benchmark.json of a recipe beside its baseline."""
    suite = {
        "title": f"{trial.recipe} beside {trial.baseline}",
        "baseline": trial.baseline,
        "rows": [{"name": name, "runs": f"runs/{name}-seed?"} for name in (trial.recipe, trial.baseline)],
        "columns": list(COLUMNS),
        "allow_leaks": True,  # the family split keeps targets apart, not the donors of their fakes
        "asked": {"robustness": None, "latency": None, "ensemble_gain": None},
    }
    (folder / f"{trial.recipe}.yaml").write_text(yaml.safe_dump(suite, sort_keys=False), "utf-8")
    to = f"pages/{trial.recipe}"
    command(folder, "training", "benchmark", f"{trial.recipe}.yaml", "--to", to)
    found: dict[str, Any] = json.loads((folder / to / "benchmark.json").read_text("utf-8"))
    return found


def lines(trial: Trial, record: Mapping[str, Any]) -> Iterator[str]:
    """A line for each column: mean and deviation over seeds of both, and the gain with its interval."""
    for column in COLUMNS:
        name = column["name"]
        cells = {cell["row"]: cell for cell in record["cells"] if cell["column"] == name}
        both = [_auc(cells[row]) for row in (trial.recipe, trial.baseline)]
        gain = next(one["points"] for one in record["gains"] if one["part"] is None and one["columns"] == [name])
        of = cells[trial.recipe]
        yield _line(trial.recipe, trial.baseline, name, f"{of['scored']} ({of['groups']})", *both, interval(gain))


def _auc(cell: Mapping[str, Any]) -> str:
    area = next(one for one in cell["figures"] if one["level"] == "video")
    return f"{area['auc']:.3f} ± {area['sd']:.3f}"


def interval(figure: Mapping[str, Any]) -> str:
    value, low, high = figure["value"], figure["low"], figure["high"]
    return f"{value:+.3f}" + (" (too few groups)" if low is None else f" [{low:+.3f}, {high:+.3f}]")


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> None:
    folder = Path(arguments[0]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    repository = Path(__file__).resolve().parents[2]
    shared = Path(os.environ.get("SEMBLANCE_SHARED", repository.parent / "shared")).resolve()
    build(shared, folder)
    train(folder)
    heading = _line("recipe", "plain baseline", "tested on", "videos (groups)", "AUC", "AUC of the baseline", "gain")
    rows = [line for trial in TRIALS for line in lines(trial, judge(folder, trial))]
    text = "\n".join([_INTRODUCTION, heading, "|---" * 7 + "|", *rows])
    TABLE.write_text(text + "\n", "utf-8")


_INTRODUCTION: Final = f"""# Recipes beside plain baselines

Made by `python -m tests.benchmarks.recipes FOLDER` on the sample collections: small forms from random weights, 112 px,
trained on 360 crops of FF++ c23 (12 of each of 30 videos, 6 families) for 8 epochs, five seeds each. `temporal_small`
is trained for 4 epochs on clips of the same crops, on top of the F3-Net of its seed. *AUC* is by video, mean and
standard deviation over seeds; *groups* are people or families of the class that has fewer. The best epoch is chosen on
2 families of val. Builds: recipe `deepfakebench` with {", ".join(f"`{one}`" for one in BUILD)}.

**What this can show is little.** The collections are small, their forgeries simulated, no pretrained weights can be had
where this was run, and 90 to 180 steps are few. Under ten groups there is no interval, and a difference below two
deviations is noise. The family split keeps targets apart but not donors: people of test were seen as donors in train.
"""

if __name__ == "__main__":
    main(sys.argv[1:])
