"""Probing self-supervision: what a run's weights are worth as a start, beside random ones with the same budget.

Two ways: a linear probe on features that stay as they are, and fine-tuning of the whole model by one recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from semblance.manifests.config import canonical_json
from semblance.manifests.errors import UsageError
from semblance.training.benchmark import draws as shared_draws
from semblance.training.benchmark import summaries
from semblance.training.benchmark.columns import Measured
from semblance.training.benchmark.result import Benchmark
from semblance.training.benchmark.suite import Asked, Column
from semblance.training.benchmark.systems import System
from semblance.training.evaluation.seeds import shared, spread
from semblance.training.metrics import aggregate
from semblance.training.protocols import linear, plan
from semblance.training.protocols.plan import Plan, Variant
from semblance.training.protocols.probe_table import Fitted, Line
from semblance.training.recipes.base import TrainingRecipe
from semblance.training.runs.folder import RunDir, read_json

RANDOM: Final = "random weights"
FINE_TUNED: Final = "fine-tuned"
LINEAR: Final = "linear"
SPLITS: Final = ("test", "val")
Scores = dict[str, dict[int, dict[str, pl.DataFrame]]]  # by start, seed and column, pictures with their logit


def make(
    outs: Sequence[str], runs: Sequence[str], recipe: TrainingRecipe, seeds: Sequence[int], *, split: str = "test"
) -> Plan:
    """A variant for random weights, one for each other start of the runs, and one for the runs of each recipe.

    Runs that differ by their seed alone are one variant: its first repetition starts from the first of them, and so on,
    and again from the first where there are more repetitions than runs. The recipe's model and picture size become
    those of the runs. Raises UsageError for runs of several models or sizes, runs that learned from labels, and a
    recipe that does not learn from them.
    """
    outs, seeds = plan.checked_outs(outs), plan.checked_seeds(seeds)
    if split not in SPLITS:
        raise UsageError(f"Unknown split {split!r}; a probe is judged on {' or '.join(SPLITS)}.")
    if recipe.regime.kind != "supervised":
        raise UsageError(
            f"A probe learns from labels, and the recipe {recipe.name} has the regime {recipe.regime.kind}."
        )
    if len(set(runs)) < len(runs) or not runs:
        raise UsageError("Name each self-supervised run once with --run.")
    found = {run: _checked(run) for run in runs}
    first = found[runs[0]]
    for run, one in found.items():
        if _shape(one) != _shape(first):
            raise UsageError(
                f"{run} has another model or picture size than {runs[0]}, so they have no start in common; probe them "
                "apart."
            )
    base = _with(recipe, first, "none")
    variants = [Variant(row=RANDOM, slug="random", outs=outs, recipe=base)]
    starts = sorted({one.model.pretrained for one in found.values()} - {"none"})
    groups = _groups(found)
    slugs = plan.slugs([*starts, *(name for name, _ in groups)])
    for given, slug in zip(starts, slugs, strict=False):
        variants.append(
            Variant(row=f"from {given}", slug=f"from_{slug}", outs=outs, recipe=_with(recipe, first, given))
        )
    for (name, members), slug in zip(groups, slugs[len(starts) :], strict=True):
        of_seed = {seed: members[place % len(members)] for place, seed in enumerate(seeds)}
        variants.append(
            Variant(
                row=f"from {name}",
                slug=f"from_{slug}",
                outs=outs,
                recipe=_with(recipe, first, members[0]),
                starts=of_seed,
            )
        )
    called = plan.names(outs)
    return Plan(
        command="probe",
        title=f"{recipe.name} from self-supervised weights",
        variants=tuple(variants),
        seeds=seeds,
        columns=tuple(
            Column(name=called[out], data=out, split=split, split_column=recipe.data.split_column) for out in outs
        ),
        asked=Asked(consistency=None, gain=None, ensemble_gain=None, robustness=None, latency=None),
        notes=tuple(_notes(groups, len(seeds))),
        baseline=RANDOM,
    )


def _checked(run: str) -> TrainingRecipe:
    recipe = RunDir(run).recipe()
    if recipe.regime.labelled:
        raise UsageError(
            f"{run} learned from labels (regime {recipe.regime.kind}), so a probe says nothing new of it; use "
            "`training evaluate`."
        )
    return recipe


def _shape(recipe: TrainingRecipe) -> tuple[Any, int]:
    return recipe.model.model_dump(mode="json", exclude={"pretrained"}), recipe.augment.size


def _with(recipe: TrainingRecipe, run: TrainingRecipe, pretrained: str) -> TrainingRecipe:
    """The recipe for the model and pictures of a run, from the weights ``pretrained``."""
    return recipe.model_copy(
        update={
            "name": f"{recipe.name} (probe)",
            "base": recipe.name,
            "model": run.model.model_copy(update={"pretrained": pretrained}),
            "augment": recipe.augment.model_copy(update={"size": run.augment.size}),
        }
    )


def _groups(found: Mapping[str, TrainingRecipe]) -> list[tuple[str, list[str]]]:
    """The runs of each recipe and builds by a name, in order of their seeds."""
    alike: dict[str, list[tuple[int, str]]] = {}
    for run, recipe in found.items():
        builds = [one["fingerprint"] for one in read_json(Path(run) / "datasets.json") if one["role"] == "train"]
        key = canonical_json({"recipe": recipe.model_dump(mode="json", exclude={"seed"}), "builds": builds})
        alike.setdefault(key, []).append((recipe.seed, run))
    groups: list[tuple[str, list[str]]] = []
    for members in alike.values():
        folders = [Path(run).resolve().name for _, run in members]
        called = (shared(folders) or "runs") if len(members) > 1 else folders[0]
        name, number = called, 2
        while name in (taken for taken, _ in groups):
            name, number = f"{called} {number}", number + 1
        groups.append((name, [run for _, run in sorted(members)]))
    return groups


def _notes(groups: Sequence[tuple[str, list[str]]], seeds: int) -> list[str]:
    few = [(name, f"{len(runs)} run{'s' if len(runs) > 1 else ''}") for name, runs in groups if len(runs) < seeds]
    return [
        f"{seeds} repetitions start from {count} of {name}, so their spread says little of self-supervision's own"
        for name, count in few
    ]


def probed(
    made: Plan, result: Benchmark, say: Callable[[str], None] = print, *, draws: int
) -> tuple[list[Line], list[Fitted]]:
    """Fit the linear probes, and compare both ways. ``result``: the benchmark of the fine-tuned runs."""
    probes, fitted = _probes(made, result, say)
    measured = [_beside(one, probes) for one in result.measured]
    areas = shared_draws.areas(measured, draws=draws, seed=result.suite.seed)
    tuned = {system.name: system for system in result.systems}
    lines = []
    for way in (LINEAR, FINE_TUNED):
        systems = {one.row: _linear(made, one.row) if way == LINEAR else tuned[one.row] for one in made.variants}
        for one in measured:
            for row, system in systems.items():
                values = [float(value) for value in areas.of(system, one.column.name)[:, 0]]
                gain = None
                if row != RANDOM:
                    gain = summaries.compare(system, systems[RANDOM], (one.column.name,), None, areas).points
                line = Line(
                    way=way,
                    start=row,
                    column=one.column.name,
                    seeds=len(values),
                    auc=sum(values) / len(values),
                    over=spread(values),
                    gain=gain,
                )
                lines.append(line)
    return lines, fitted


def _probes(made: Plan, result: Benchmark, say: Callable[[str], None]) -> tuple[Scores, list[Fitted]]:
    """Every repetition of every start, fitted and asked for the pictures of all columns."""
    fitted: list[Fitted] = []
    probes: Scores = {}
    for variant in made.variants:
        for seed in made.seeds:
            config = variant.of(seed)
            before = next((one for one in probes.get(variant.row, ()) if _same_start(variant, one, seed)), None)
            if before is None:
                say(f"linear probe {variant.row}, seed {seed}")
                probe = _fit(variant, config)
                scored = {one.column.name: probe.logits(one.result.selection) for one in result.measured}
                fitted.append(Fitted(start=variant.row, seed=seed, strength=probe.strength, val_auc=probe.val_auc))
            else:
                scored = probes[variant.row][before]
            probes.setdefault(variant.row, {})[seed] = scored
    return probes, fitted


def _same_start(variant: Variant, one: int, other: int) -> bool:
    """Whether two repetitions have the same features: random weights are others for every seed."""
    starts = [variant.of(seed).model.pretrained for seed in (one, other)]
    return starts[0] == starts[1] != "none"


def _fit(variant: Variant, recipe: TrainingRecipe) -> linear.Probe:
    size = recipe.augment.size
    if recipe.model.pretrained == "none":
        train = linear.selected(variant.outs, recipe.data)
        model = linear.untrained(recipe.model, recipe.seed, train, size)
    else:
        model = linear.trained(recipe.model)
    return linear.fit(model, variant.outs, recipe.data, size)


def _linear(made: Plan, row: str) -> System:
    """The linear probes of a row as a row of their own."""
    return System(name=row, runs=tuple(_name(row, seed) for seed in made.seeds), seeds=made.seeds)


def _name(row: str, seed: int) -> str:
    return f"{LINEAR} {row} {seed}"


def _beside(one: Measured, probes: Scores) -> Measured:
    """The column with the scores of the linear probes beside those of the fine-tuned runs."""
    logits = dict(one.logits)
    for row, by_seed in probes.items():
        for seed, by_column in by_seed.items():
            videos = aggregate.videos(by_column[one.column.name])
            logits[_name(row, seed)] = one.videos.join(videos, on="video_id", how="left", maintain_order="left")
    return replace(one, logits=logits)
