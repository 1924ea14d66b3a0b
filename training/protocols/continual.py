"""Continual learning: tasks one after another, each run starting from the one before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from semblance.manifests.errors import UsageError
from semblance.training import recipes
from semblance.training.benchmark.suite import Asked, Column
from semblance.training.protocols import left_out, plan
from semblance.training.protocols.plan import Plan, Variant
from semblance.training.recipes.base import TrainingRecipe
from semblance.training.regimes.continual_config import ContinualConfig

Method = Literal["sequential", "joint", "ewc", "replay", "ewc+replay", "lwf"]
METHODS: Final[tuple[Method, ...]] = ("sequential", "joint", "ewc", "replay", "ewc+replay", "lwf")
REFERENCES: Final[tuple[Method, ...]] = ("sequential", "joint")  # always trained: the others are read beside them
EWC: Final = 400.0  # the plan's weight
LWF: Final = 1.0  # as strong as the new labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A build, or the fakes of one ``method`` of it with its reals. ``name``: its column."""

    name: str
    out: str
    method: str | None = None

    def column(self, split_column: str) -> Column:
        named = () if self.method is None else (self.method,)
        return Column(name=self.name, data=self.out, split_column=split_column, method=named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The variant after each task, by method: ``rows[k]`` names the row of the page after task k."""

    method: Method
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Continual:
    """The plan of all runs, the tasks in order, and which rows make up the chain of each method."""

    plan: Plan
    tasks: tuple[Task, ...]
    chains: tuple[Chain, ...]


def make(
    outs: Sequence[str],
    recipe: TrainingRecipe,
    seeds: Sequence[int],
    methods: Sequence[str] = METHODS,
    *,
    by_method: bool = False,
) -> Continual:
    """A chain of runs for each method over the builds in the given order, or over the methods of one build.

    ``joint`` learns all tasks so far together and from the start, after each task. All methods share the run of the
    first task. ``sequential`` and ``joint`` are always among them. Raises UsageError for an unknown method, fewer than
    two tasks, or a recipe of another regime.
    """
    outs = plan.checked_outs(outs)
    chosen = _methods(methods)
    regime = _regime(recipe)
    column = recipe.data.split_column
    tasks = _by_method(outs, column) if by_method else _builds(outs)
    if len(tasks) < 2:
        raise UsageError(
            "Continual learning needs two or more tasks; name builds with --data in the order of learning, or one "
            "build with --by method."
        )
    recipe = recipe.model_copy(update={"regime": regime})
    slugs = plan.slugs([task.name for task in tasks])
    first = Variant(
        row=f"{tasks[0].name} alone",
        slug=f"first-{slugs[0]}",
        outs=_outs(tasks[:1]),
        recipe=_learning(recipe, tasks[:1], _means(regime, "sequential"), f"{tasks[0].name} alone"),
    )
    variants, chains = [first], []
    for method in chosen:
        rows, before = [first.row], first.slug
        for number in range(1, len(tasks)):
            learned = tasks[: number + 1] if method == "joint" else tasks[number : number + 1]
            row = f"{method} up to {tasks[number].name}"
            variant = Variant(
                row=row,
                slug=f"{method.replace('+', '_')}-{number + 1}-{slugs[number]}",
                outs=_outs(learned),
                recipe=_learning(recipe, learned, _means(regime, method), row),
                after=None if method == "joint" else before,
            )
            variants.append(variant)
            rows.append(variant.row)
            before = variant.slug
        chains.append(Chain(method=method, rows=tuple(rows)))
    together = Variant(
        row="all tasks",
        slug="all",
        outs=_outs(tasks),
        recipe=_learning(recipe, tasks, _means(regime, "joint"), "all tasks"),
    )
    made = Plan(
        command="continual",
        title=f"{recipe.name}, one task after another",
        variants=tuple(variants),
        seeds=plan.checked_seeds(seeds),
        columns=tuple(task.column(column) for task in tasks),
        asked=Asked(consistency=None, gain=None, ensemble_gain=None, robustness=None, latency=None),
        together=(together,),
    )
    return Continual(plan=made, tasks=tuple(tasks), chains=tuple(chains))


def _methods(given: Sequence[str]) -> tuple[Method, ...]:
    known: Mapping[str, Method] = {name: name for name in METHODS}
    if unknown := [name for name in given if name not in known]:
        raise UsageError(f"Unknown method {unknown[0]!r}; --methods accepts {', '.join(METHODS)}.")
    return tuple(dict.fromkeys((*REFERENCES, *(known[name] for name in given))))


def _regime(recipe: TrainingRecipe) -> ContinualConfig:
    """The recipe's own settings of continual learning, or the plan's for a recipe that only learns from labels."""
    if recipe.regime.kind == "supervised":
        return ContinualConfig()
    if not isinstance(recipe.regime, ContinualConfig):
        raise UsageError(f"The recipe {recipe.name} has the regime {recipe.regime.kind}; name one of regime continual.")
    if recipe.regime.after is not None:
        raise UsageError("regime.after is set by this command, run by run; leave it out.")
    return recipe.regime


def _means(regime: ContinualConfig, method: Method) -> ContinualConfig:
    """The settings with the means of one method alone; those that the recipe leaves out have the plan's strength."""
    ewc = (regime.ewc.weight or EWC) if "ewc" in method else 0.0
    lwf = (regime.lwf.weight or LWF) if method == "lwf" else 0.0
    return regime.model_copy(
        update={
            "ewc": regime.ewc.model_copy(update={"weight": ewc}),
            "memory": regime.memory.model_copy(update={"replay": "replay" in method}),
            "lwf": regime.lwf.model_copy(update={"weight": lwf}),
        }
    )


def _builds(outs: Sequence[str]) -> list[Task]:
    called = plan.names(outs)
    return [Task(name=called[out], out=out) for out in outs]


def _by_method(outs: Sequence[str], column: str) -> list[Task]:
    if len(outs) != 1:
        raise UsageError(f"--by method takes one build, not {len(outs)}; leave it out to take builds as tasks.")
    found = left_out.methods_of(outs[0], column)
    return [Task(name=method, out=outs[0], method=method) for method in sorted(found.train & found.test)]


def _outs(tasks: Sequence[Task]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(task.out for task in tasks))


def _learning(recipe: TrainingRecipe, tasks: Sequence[Task], regime: ContinualConfig, row: str) -> TrainingRecipe:
    """The recipe of a row, on these tasks alone: where tasks are methods, with a condition that keeps others out.

    Several tasks together get the draws of each, as many as a chain gets for all of them.
    """
    named = [task.method for task in tasks if task.method is not None]
    data = recipe.data
    if named:
        methods = ", ".join("'" + name.replace("'", "''") + "'" for name in named)
        condition = f"(label = 0 OR method IN ({methods}))"
        query = condition if data.query is None else f"({data.query}) AND {condition}"
        data = data.model_copy(update={"query": query})
    if data.draws is not None:
        data = data.model_copy(update={"draws": data.draws * len(tasks)})
    base = recipe.name if recipe.name in recipes.NAMED else recipe.base
    return recipe.model_copy(update={"name": f"{recipe.name}, {row}", "base": base, "regime": regime, "data": data})
