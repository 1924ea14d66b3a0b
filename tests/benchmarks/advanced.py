"""Regimes beside supervised learning: ``python -m tests.benchmarks.advanced FOLDER`` writes ``ADVANCED.md`` beside it.

The networks and recipes of ``make demo-advanced`` learn on the sample collections, with several seeds. FOLDER keeps
builds, runs and costs: the same command again goes on. It takes about an hour of two cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

from tests.benchmarks import recipes
from tests.benchmarks.measure import BIN, ONE_THREAD

TABLE = Path(__file__).with_name("ADVANCED.md")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "demo-advanced"
SEEDS: Final = range(5)
PROBE_SEEDS: Final = "0,1,2"
EPOCHS: Final = "epochs=4"
PARALLEL: Final = 2  # commands at a time, of one thread each
QUERY: Final = recipes.TRAINED_ON
REALS: Final = f"label = 0 AND {QUERY}"
LEARNERS: Final = ("simclr", "rotation")  # one of contrast, one pretext task; of the probe's own network
LADDER: Final = {"1/255": 1 / 255, "2/255": 2 / 255, "4/255": 4 / 255, "0.03": 0.03}
HARD: Final = ("plain", "adversarial", "noise")
QUIET: Final = ("--tracking", "none", "--accelerator", "cpu", "--workers", "0")


def cost(folder: Path, name: str, *arguments: str) -> None:
    """One of our commands with one thread, whose CPU seconds are kept under ``name``, unless that is there already."""
    file = folder / "cpu" / f"{name}.json"
    if file.exists():
        return
    program, *rest = arguments
    file.parent.mkdir(parents=True, exist_ok=True)
    with (folder / "cpu" / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            [str(BIN / program), *rest], cwd=folder, env=os.environ | ONE_THREAD, stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{name} failed; {file.with_suffix('.log')} says why")
    file.write_text(json.dumps(usage.ru_utime + usage.ru_stime))


def spent(folder: Path, name: str) -> float:
    """The CPU seconds that are kept under a name."""
    return float(json.loads((folder / "cpu" / f"{name}.json").read_text()))


def fit(folder: Path, recipe: str, seed: int, *settings: str, run: str | None = None) -> None:
    """A run of an example's recipe on FF++; one that was cut off begins anew."""
    name = f"{run or recipe}-seed{seed}"
    if not (folder / "cpu" / f"{name}.json").exists():
        subprocess.run(["rm", "-rf", str(folder / "runs" / name)], check=True)
    changed = [part for one in (f"seed={seed}", *settings) for part in ("--set", one)]
    of = ("--data", "out/ffpp", "--recipe", str(EXAMPLES / f"{recipe}.yaml"), "--run", f"runs/{name}")
    cost(folder, name, "training", "fit", *of, *QUIET, *changed)


def together(calls: Sequence[tuple[Any, ...]]) -> None:
    """Calls of (function, arguments), some at a time."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        for done in [pool.submit(*call) for call in calls]:
            done.result()


def spread(values: Sequence[float | None], digits: int = 3) -> str:
    """The mean and the deviation over seeds."""
    known = [one for one in values if one is not None]
    if not known or len(known) < len(values):
        return "-"
    return f"{fmean(known):.{digits}f}" + (f" ± {stdev(known):.{digits}f}" if len(known) > 1 else "")


def line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def heading(*cells: str) -> list[str]:
    return [line(*cells), "|---" * len(cells) + "|"]


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


# --- attacks and certificates


def hard(folder: Path) -> Iterator[str]:
    """Supervised, adversarial and noise-trained runs, clean and under attack, and what of them is certified."""
    longer = (EPOCHS, f"data.query={QUERY}", "regime.ramp_epochs=2")
    for seed in SEEDS:
        together([(fit, folder, name, seed, *longer[: 3 if name == "adversarial" else 2]) for name in HARD])
    asked = ("--attacks", "fgsm,pgd", "--attack-pictures", "96", "--certify", "--samples", "300")
    calls = []
    for seed in SEEDS:
        runs = [part for name in HARD for part in ("--run", f"runs/{name}-seed{seed}")]
        more = ("--certify-pictures", "16", "--allow-leaks", "--no-pictures", "--draws", "200")
        to = ("--to", f"pages/hard-{seed}")
        calls.append(
            (cost, folder, f"hard-{seed}", "training", "evaluate", "--data", "out/ffpp", *runs, *asked, *more, *to)
        )
    together(calls)
    records = [read(folder / "pages" / f"hard-{seed}" / "evaluation.json") for seed in SEEDS]
    yield from heading("trained by", "clean", *(f"PGD {name}" for name in LADDER), "FGSM 0.03", "CPU s a run")
    for name in HARD:
        found = [_struck(record, f"{name}-seed{seed}") for seed, record in zip(SEEDS, records, strict=True)]
        cells = [spread([one[key] for one in found]) for key in ("clean", *LADDER, "fgsm")]
        yield line(name, *cells, spread([spent(folder, f"{name}-seed{seed}") for seed in SEEDS], 0))
    yield ""
    yield from heading("trained by", "clean", *(f"radius {0.1 * step:.1f}" for step in range(5)))
    for name in HARD:
        points = [_certified(record, f"{name}-seed{seed}") for seed, record in zip(SEEDS, records, strict=True)]
        yield line(name, *(spread([one[place] for one in points]) for place in range(6)))


def _struck(record: Mapping[str, Any], model: str) -> dict[str, float | None]:
    own = [one for one in record["attacks"] if one["model"] == model and one["level"] == "frame"]
    at = {(one["attack"], round(one["strength"], 5)): one["robust"]["value"] for one in own}
    figures = {name: at["pgd", round(strength, 5)] for name, strength in LADDER.items()}
    return {"clean": own[0]["clean"]["value"], **figures, "fgsm": at["fgsm", 0.03]}


def _certified(record: Mapping[str, Any], model: str) -> list[float | None]:
    own = next(one for one in record["certificates"] if one["model"] == model)
    return [own["clean"]["value"], *(point["balanced"]["value"] for point in own["points"][:5])]


# --- learning without labels


def probes(folder: Path) -> Iterator[str]:
    """Weights that were learned without labels as a start, beside random ones."""
    more = dict.fromkeys(LEARNERS, (EPOCHS, f"data.query={REALS}"))
    together([(fit, folder, name, 0, *settings) for name, settings in more.items()])
    calls = []
    for name in LEARNERS:
        of = ("--data", "out/ffpp", "--run", f"runs/{name}-seed0", "--recipe", str(EXAMPLES / "plain.yaml"))
        few = ("--seeds", PROBE_SEEDS, "--set", f"data.query={QUERY}", "--allow-leaks", "--no-pictures")
        calls.append(
            (cost, folder, f"probe-{name}", "training", "probe", *of, *few, *QUIET, "--to", f"pages/probe-{name}")
        )
    together(calls)
    yield from heading("learned by", "probe", "random weights", "these weights", "gain", "val, its own task", "CPU s")
    for name in LEARNERS:
        found = read(folder / "pages" / f"probe-{name}" / "probe.json")
        epochs = (folder / "runs" / f"{name}-seed0" / "metrics" / "epochs.jsonl").read_text().splitlines()
        best = min(map(json.loads, epochs), key=lambda row: row["val/loss"])
        own = f"accuracy {best['val/accuracy']:.2f}" if "val/accuracy" in best else f"loss {best['val/loss']:.2f}"
        for way in ("linear", "fine-tuned"):
            random, learned = (one for one in found["lines"] if one["way"] == way)
            gain = f"{learned['gain']['value']:+.3f}"
            yield line(name, way, _auc(random), _auc(learned), gain, own, f"{spent(folder, f'{name}-seed0'):.0f}")


def _auc(found: Mapping[str, Any]) -> str:
    return f"{found['auc']:.3f}" + (f" ± {found['over']['sd']:.3f}" if found["over"] else "")


# --- distillation


def students(folder: Path) -> Iterator[str]:
    """A student of the plain run of its seed, and the same student without a teacher."""
    longer = (EPOCHS, f"data.query={QUERY}")
    calls: list[tuple[Any, ...]] = []
    for seed in SEEDS:
        calls.append((_student, folder, seed, (*longer, f"regime.teacher=runs/plain-seed{seed}"), "distilled"))
        calls.append((_student, folder, seed, (*longer, "regime.kind=supervised"), "alone"))
    together(calls)
    runs = [
        part
        for seed in SEEDS
        for name in ("distilled", "alone", "plain")
        for part in ("--run", f"runs/{name}-seed{seed}")
    ]
    more = ("--allow-leaks", "--no-pictures", "--draws", "200", "--cost", "--to", "pages/students")
    cost(folder, "students", "training", "evaluate", "--data", "out/ffpp", *runs, *more)
    record = read(folder / "pages" / "students" / "evaluation.json")
    gflop = {one["model"]: one["gflop"] for one in record["costs"]}
    yield from heading("model", "AUC by video", "AUC by frame", "GFLOP", "CPU s a run")
    titles = {"plain": "teacher (ResNet)", "distilled": "MobileNet, distilled", "alone": "MobileNet, labels alone"}
    for name, title in titles.items():
        video, frame = (
            spread([_area(record, f"{name}-seed{seed}", level) for seed in SEEDS]) for level in ("video", "frame")
        )
        seconds = spread([spent(folder, f"{name}-seed{seed}") for seed in SEEDS], 0)
        yield line(title, video, frame, f"{gflop[f'{name}-seed0']:.3f}", seconds)


def _student(folder: Path, seed: int, settings: Sequence[str], run: str) -> None:
    fit(folder, "distil", seed, *settings, run=run)


def _area(record: Mapping[str, Any], model: str, level: str) -> float | None:
    rows = (one for one in record["rows"] if one["model"] == model and one["level"] == level and _whole(one))
    area: float | None = next(rows)["figures"]["auc"]["value"]
    return area


def _whole(row: Mapping[str, Any]) -> bool:
    """Whether a row is of all that was judged."""
    return all(row.get(name) is None for name in ("method", "compression"))


# --- few examples, and one task after another


def few_shot(folder: Path) -> Iterator[str]:
    """MAML beside plain training, adapted to other collections."""
    targets = ("--target", "out/celebdf", "--target", "out/dfdc")
    few = (
        "--shots",
        "1,5,10",
        "--seeds",
        ",".join(map(str, SEEDS)),
        "--set",
        f"data.query={QUERY}",
        "--set",
        EPOCHS,
    )
    of = ("--data", "out/ffpp", *targets, "--recipe", str(EXAMPLES / "maml.yaml"), *few, "--allow-leaks")
    cost(folder, "few-shot", "training", "few-shot", *of, "--no-pictures", *QUIET, "--to", "pages/few-shot")
    yield from heading("target", "shots", "MAML", "plain", "difference (95 %)")
    for one in read(folder / "pages" / "few-shot" / "few-shot.json")["lines"]:
        yield line(
            one["target"], one["shots"], spread(one["maml"]), spread(one["plain"]), recipes.interval(one["difference"])
        )


def chains(folder: Path) -> Iterator[str]:
    """Three collections one after another."""
    of = [part for name in ("ffpp", "celebdf", "dfdc") for part in ("--data", f"out/{name}")]
    few = ("--recipe", str(EXAMPLES / "continual.yaml"), "--seeds", "0,1", "--set", EPOCHS, "--allow-leaks")
    cost(folder, "continual", "training", "continual", *of, *few, "--no-pictures", *QUIET, "--to", "pages/continual")
    heads = [f"{what} {name}" for name in ("balanced accuracy", "AUC") for what in ("average", "forgetting")]
    yield from heading("method", *heads)
    record = read(folder / "pages" / "continual" / "continual.json")
    for method in dict.fromkeys(one["method"] for one in record["methods"]):
        lines = {one["figure"]: one["seeds"] for one in record["methods"] if one["method"] == method}
        cells = [spread([seed[what] for seed in lines[name]]) for name in lines for what in ("average", "forgetting")]
        yield line(method, *cells)


PARTS: Final = {
    "Attacks and certificates": (
        hard,
        "Balanced accuracy by frame on FF++, five seeds; certificates of 16 faces, 300 copies.",
    ),
    "Distillation": (students, "FF++, five seeds; each student learns from the teacher of its seed."),
    "Few examples": (few_shot, "AUC by video on other collections after five steps, five seeds; FF++ is the source."),
    "One task after another": (
        chains,
        "FF++, then Celeb-DF, then DFDC; two seeds; by video, means over tasks at the end.",
    ),
    "Learning without labels": (
        probes,
        "AUC by video on FF++ from weights learned on its real faces, one run each; probes of three seeds.",
    ),
}


def main(arguments: Sequence[str]) -> None:
    folder = Path(arguments[0]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    repository = Path(__file__).resolve().parents[2]
    recipes.build(Path(os.environ.get("SEMBLANCE_SHARED", repository.parent / "shared")).resolve(), folder)
    text = [_INTRODUCTION]
    for title, (part, what) in PARTS.items():
        text += [f"## {title}", "", what, "", *part(folder), ""]
        TABLE.write_text("\n".join(text), "utf-8")


_INTRODUCTION: Final = """# Regimes beside supervised learning

Made by `python -m tests.benchmarks.advanced`: the small networks of `make demo-advanced` on the sample collections, one
thread each. So few people and steps show that a regime works and what it costs, not what it gains at full size. Several
seeds tell how much of a difference is chance. ± is the deviation over seeds. The collections share people, which the
family split does not keep apart, so figures across collections are too good; they compare rows, no more.
At this size all detectors are close to chance, where 0.5 is a constant answer. So no gain is shown, of robustness,
weights, teachers or few examples; joint training and replay forget less, within the deviations.
"""

if __name__ == "__main__":
    main(sys.argv[1:])
