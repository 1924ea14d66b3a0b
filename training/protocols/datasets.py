"""Cross-dataset: a recipe trained on each of several builds, and judged on the test split of all of them."""

from __future__ import annotations

from collections.abc import Sequence

from semblance.manifests.errors import UsageError
from semblance.training.benchmark.suite import Asked, Column
from semblance.training.protocols import plan
from semblance.training.protocols.plan import Plan, Variant
from semblance.training.recipes.base import TrainingRecipe


def make(outs: Sequence[str], recipe: TrainingRecipe, seeds: Sequence[int], *, leave_one: bool = False) -> Plan:
    """One variant for each build; with ``leave_one`` also one for all builds but each.

    Raises UsageError for fewer than two builds, or than three with ``leave_one``.
    """
    outs = plan.checked_outs(outs)
    least = 3 if leave_one else 2
    if len(outs) < least:
        why = ", since all but one of two is the other" if leave_one else ""
        raise UsageError(f"This needs {least} or more builds, each with --data{why}.")
    called = plan.names(outs)
    slugs = dict(zip(outs, plan.slugs(list(called.values())), strict=True))
    variants = [Variant(row=called[out], slug=f"on-{slugs[out]}", outs=(out,), recipe=recipe) for out in outs]
    if leave_one:
        for out in outs:
            others = tuple(one for one in outs if one != out)
            slug = f"without-{slugs[out]}"
            variants.append(Variant(row=f"without {called[out]}", slug=slug, outs=others, recipe=recipe))
    column = recipe.data.split_column
    return Plan(
        command="cross-dataset",
        title=f"{recipe.name}, trained on each dataset",
        variants=tuple(variants),
        seeds=plan.checked_seeds(seeds),
        columns=tuple(Column(name=called[out], data=out, split_column=column) for out in outs),
        asked=Asked(gain=None, ensemble_gain=None, robustness=None, latency=None),
    )
