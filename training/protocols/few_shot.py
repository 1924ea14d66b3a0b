"""Few-shot: MAML and plain training on sources, adapted to targets by the same few pictures in the same steps.

D: draws, N: videos of a target's query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from semblance.manifests import storage
from semblance.manifests.config import readable_json
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.ids import digest
from semblance.quality.statistics import bootstrap
from semblance.quality.statistics.bootstrap import Estimate
from semblance.quality.statistics.roc import auc
from semblance.training.benchmark.suite import Asked, Column
from semblance.training.data import isolation
from semblance.training.evaluation import predictions
from semblance.training.evaluation.report.matrices import csv_text
from semblance.training.evaluation.report.page import aligned
from semblance.training.evaluation.results import LEAST_GROUPS
from semblance.training.inference import predictor
from semblance.training.metrics.classification import Floats
from semblance.training.protocols import adaptation, plan
from semblance.training.protocols.adaptation import Scored, Target
from semblance.training.protocols.plan import Plan, Variant
from semblance.training.recipes.base import TrainingRecipe
from semblance.training.regimes.maml import MamlConfig
from semblance.training.regimes.supervised import SupervisedConfig

MAML: Final = "maml"
PLAIN: Final = "plain"
NAME: Final = "few-shot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What is asked of the adaptation: ``shots`` of each class, ``steps`` on them, and the splits of the targets."""

    shots: tuple[int, ...] = (1, 5, 10)
    steps: int = 5
    support: tuple[str, ...] = ("train", "val")
    query: str = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A target at some shots (0: before any step): AUC by video and frame of each seed, and MAML minus plain.

    ``difference``: of the means over seeds of the AUC by video, with the middle 95 % of draws over seeds and, where
    ``groups`` says so, of people or families of the query too.
    """

    target: str
    shots: int
    maml: tuple[float, ...]
    plain: tuple[float, ...]
    maml_frame: tuple[float | None, ...]
    plain_frame: tuple[float | None, ...]
    difference: Estimate
    groups: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FewShot:
    """The protocol before anything is trained: its runs, and the targets of which these see nothing."""

    plan: Plan
    targets: tuple[Target, ...]
    asking: Asking
    config: MamlConfig


def make(
    outs: Sequence[str],
    targets: Sequence[str],
    recipe: TrainingRecipe,
    seeds: Sequence[int],
    asking: Asking | None = None,
    *,
    allow_leaks: bool = False,
) -> FewShot:
    """Two variants, the recipe's MAML and supervised learning with all else the same, and a column for each target.

    Raises UsageError for a recipe without MAML or a target that is a source, SemblanceError if a target has too few
    pictures, or if what may support an adaptation leaks into what judges it.
    """
    asking = asking or Asking()
    if not isinstance(recipe.regime, MamlConfig):
        raise UsageError(
            f"The recipe {recipe.name} has the regime {recipe.regime.kind}, and few-shot compares maml with it; use "
            "maml_resnet50, or --set regime.kind=maml."
        )
    if not asking.shots or min(asking.shots) < 1 or asking.steps < 1:
        raise UsageError("--shots needs one or more numbers from 1 on, such as 1,5,10, and --steps one from 1 on.")
    sources, named = plan.checked_outs(outs), plan.checked_outs(targets)
    if not sources or not named:
        raise UsageError("Name at least one source with --data and one target with --target.")
    if both := sorted(set(sources) & set(named)):
        raise UsageError(f"{both[0]} is a source and a target; adapt to builds that training has not seen.")
    called = plan.names(named)
    column = recipe.data.split_column
    found = []
    for out in named:
        one = adaptation.target(out, called[out], support=asking.support, asked=asking.query, column=column)
        adaptation.check(one, asking.shots)
        if (leaks := adaptation.leaked(one, column)) and not allow_leaks:
            raise SemblanceError(
                f"{leaks[0]}{isolation.more(len(leaks))}, so results would be too good; use another split column, or "
                "pass --allow-leaks."
            )
        found.append(one)
    plain = recipe.model_copy(update={"name": f"{recipe.name} {PLAIN}", "regime": SupervisedConfig()})
    made = Plan(
        command=NAME,
        title=f"{recipe.name} and plain training, before adaptation",
        variants=tuple(
            Variant(row=row, slug=row, outs=sources, recipe=one) for row, one in ((MAML, recipe), (PLAIN, plain))
        ),
        seeds=plan.checked_seeds(seeds),
        columns=tuple(Column(name=called[out], data=out, split=asking.query, split_column=column) for out in named),
        asked=Asked(consistency=None, gain=None, ensemble_gain=None, robustness=None, latency=None),
        notes=(
            "both rows are trained on as many pictures in as many steps; a step of MAML costs more, by "
            f"{recipe.regime.steps} passes forward and back over every support and, in second order, their derivative",
        ),
    )
    return FewShot(plan=made, targets=tuple(found), asking=asking, config=recipe.regime)


def adapt(made: FewShot, to: str | Path, say: Callable[[str], None] = print, *, draws: int) -> list[Line]:
    """Adapt every run in ``to`` to every target, and score its query: a line for each target and number of shots."""
    found: list[Line] = []
    for one in made.targets:
        scored: dict[tuple[str, int, int], Scored] = {}
        for seed in made.plan.seeds:
            runs = {row: predictor.load(Path(to) / f"runs/{row}-seed{seed}").members[0] for row in (MAML, PLAIN)}
            size = runs[MAML].size
            taken = adaptation.order(one.pool, seed, one.name)
            models = {f"{row} 0": run for row, run in runs.items()}
            for shots in made.asking.shots:
                samples = [name for label in adaptation.CLASSES for name in taken[label][:shots]]
                support = adaptation.read(one, samples, size)
                for row, run in runs.items():
                    models[f"{row} {shots}"] = adaptation.adapted(run, support, made.config, made.asking.steps)
            for key, value in adaptation.scores(models, one).items():
                row, _, shots_ = key.partition(" ")
                scored[row, int(shots_), seed] = value
            say(f"adapted to {one.name}: seed {seed}")
        found += [_line(one, shots, made.plan.seeds, scored, draws) for shots in (0, *made.asking.shots)]
    return found


def _line(
    one: Target, shots: int, seeds: Sequence[int], scored: dict[tuple[str, int, int], Scored], draws: int
) -> Line:
    rows = {row: [scored[row, shots, seed] for seed in seeds] for row in (MAML, PLAIN)}
    groups = predictions.groups(one.videos)
    label_N = one.videos["label"].to_numpy()
    enough = min(groups.filter(one.videos["label"] == label).n_unique() for label in (0, 1)) >= LEAST_GROUPS

    def differences(weight_DN: Floats | None) -> dict[str, Floats]:
        pairs = zip(rows[MAML], rows[PLAIN], strict=True)
        return {
            str(place): auc(label_N, ours.logit_N, weight_DN) - auc(label_N, theirs.logit_N, weight_DN)
            for place, (ours, theirs) in enumerate(pairs)
        }

    exact = np.concatenate(list(differences(None).values()))
    number = int(digest("few-shot", one.name)[:15], 16)
    drawn_SD = np.tile(exact[:, None], draws)
    if enough and draws:
        by_seed = bootstrap.drawn(differences, groups.to_numpy(), draws=draws, seed=number)
        drawn_SD = np.stack(list(by_seed.values()))
    even = np.full(len(seeds), 1 / len(seeds))
    weight_DS = np.random.default_rng(number).multinomial(len(seeds), even, size=draws) / len(seeds)
    spread = len(seeds) > 1 or enough
    return Line(
        target=one.name,
        shots=shots,
        maml=tuple(value.auc_video for value in rows[MAML]),
        plain=tuple(value.auc_video for value in rows[PLAIN]),
        maml_frame=tuple(value.auc_frame for value in rows[MAML]),
        plain_frame=tuple(value.auc_frame for value in rows[PLAIN]),
        difference=bootstrap.summarised(
            float(exact.mean()), (weight_DS * drawn_SD.T).sum(1) if spread else np.zeros(0)
        ),
        groups=enough,
    )


def table(found: Sequence[Line]) -> list[list[Any]]:
    """A heading and the lines: for a terminal, and as few-shot.csv."""
    heading = ["target", "shots", "maml", "sd", "plain", "sd", "maml - plain", "low", "high", "interval over"]
    return [heading, *(_cells(one) for one in found)]


def _cells(one: Line) -> list[str]:
    over = "-" if one.difference.low is None else "seeds and groups" if one.groups else "seeds"
    figures = (*_spread(one.maml), *_spread(one.plain))
    estimate = one.difference
    signed = ["-" if value is None else f"{value:+.3f}" for value in (estimate.value, estimate.low, estimate.high)]
    return [one.target, str(one.shots), *figures, *signed, over]


def _spread(values: Sequence[float]) -> tuple[str, str]:
    mean = f"{np.mean(values):.3f}"
    return mean, f"{np.std(values, ddof=1):.3f}" if len(values) > 1 else "-"


def write(made: FewShot, found: Sequence[Line], to: str | Path) -> str:
    """Write few-shot.txt, .csv and .json into ``to``, and return the text."""
    lines = table(found)
    text = aligned(lines)
    record = {
        "seeds": list(made.plan.seeds),
        "asking": asdict(made.asking),
        "rate": made.config.rate,
        "adapt": made.config.adapt,
        "targets": [
            {
                "name": one.name,
                "support": {"pictures": one.pool["sample_id"].n_unique(), "families": one.pool["family_id"].n_unique()},
                "query": {
                    "real_videos": int((one.videos["label"] == 0).sum()),
                    "fake_videos": int((one.videos["label"] == 1).sum()),
                    "families": one.videos["family_id"].n_unique(),
                },
            }
            for one in made.targets
        ],
        "lines": [asdict(one) for one in found],
    }
    for name, body in (
        (f"{NAME}.txt", text + "\n"),
        (f"{NAME}.csv", csv_text(lines)),
        (f"{NAME}.json", readable_json(record)),
    ):
        storage.write_bytes(str(Path(to) / name), body.encode())
    return text
