"""The students of a distillation: widths that have the wanted shares of the first one's operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from semblance.manifests import config
from semblance.manifests.errors import UsageError
from semblance.training.evaluation.cost import gflop
from semblance.training.models import AnyModelConfig
from semblance.training.protocols import plan
from semblance.training.protocols.plan import Planned, Variant
from semblance.training.recipes import NAMED, TrainingRecipe
from semblance.training.regimes.distil import DistilConfig

TOLERANCE: Final = 0.1  # of the wanted operations
_STEP: Final = 0.01  # of widths
_LEAST: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """A stage. ``share``: the wanted operations over those of the recipe's model, and ``has``: its own."""

    share: float
    has: float
    gflop: float  # of one picture
    width: float
    planned: Planned

    @property
    def name(self) -> str:
        return name(self.share)


def name(share: float) -> str:
    """The folder of a stage's run, and what tables call it."""
    return f"stage-{share:g}"


def make(
    outs: Sequence[str], recipe: TrainingRecipe, teacher: str, stages: Sequence[float], *, chain: bool, runs: str
) -> tuple[Student, ...]:
    """A student for each stage: the recipe's model at the width whose operations are nearest to the wanted share.

    Narrower ones begin with random weights. ``chain``: the student before is the teacher of the next; else ``teacher``
    is that of all. ``runs``: the folder of the runs as the recipes name it. Raises UsageError for a recipe of another
    regime, for stages that do not descend, and for a share that no width of the model has.
    """
    if not isinstance(recipe.regime, DistilConfig):
        raise UsageError(
            f"The recipe {recipe.name} learns by regime {recipe.regime.kind}; choose one with regime.kind distil, such "
            "as distil_mobilenet."
        )
    _check(stages)
    outs = plan.checked_outs(outs)
    whole = gflop(recipe.model, recipe.augment.size)
    found: list[Student] = []
    for share in stages:
        model = scaled(recipe.model, share, whole, recipe.augment.size)
        learns_from = f"{runs}/{found[-1].name}" if chain and found else teacher
        regime = recipe.regime.model_copy(update={"teacher": learns_from})
        named = {"name": f"{recipe.name} {share:g}", "base": recipe.name if recipe.name in NAMED else recipe.base}
        own = recipe.model_copy(update={"model": model, "regime": regime, **named})
        variant = Variant(row=name(share), slug=name(share), outs=outs, recipe=own)
        planned = Planned(folder=f"runs/{name(share)}", variant=variant, recipe=own)
        cost = gflop(model, recipe.augment.size)
        width = float(getattr(model, "width", 1.0))
        found.append(Student(share=share, has=cost / whole, gflop=cost, width=width, planned=planned))
    return tuple(found)


def scaled(model: AnyModelConfig, share: float, whole: float, size: int) -> Any:
    """``model`` at the width whose operations are nearest to ``share`` of ``whole`` GFLOP; as it is for a share of 1.

    Raises UsageError if the model has no width, or if none is within 10 %.
    """
    if share == 1:
        return model
    if not hasattr(model, "width"):
        raise UsageError(
            f"model.kind {model.kind} has no width, so it has no stage {share:g}; use --stages 1, or another model."
        )

    def at(steps: int) -> float:
        return gflop(_narrow(model, steps), size)

    low, high = round(_LEAST / _STEP), round(model.width / _STEP)
    while high - low > 1:  # operations grow with the width, but for single steps of rounded channels
        middle = (low + high) // 2
        low, high = (middle, high) if at(middle) < share * whole else (low, middle)
    costs = {steps: at(steps) for steps in (low, high)}
    best = min(costs, key=lambda steps: abs(costs[steps] - share * whole))
    off = costs[best] / (share * whole) - 1
    if abs(off) > TOLERANCE:
        raise UsageError(
            f"No width of this model has {share:g} of its operations within {TOLERANCE:.0%}: width {best * _STEP:g} "
            f"has {costs[best] / whole:.2f}; choose other --stages."
        )
    return _narrow(model, best)


def _narrow(model: AnyModelConfig, steps: int) -> AnyModelConfig:
    values = model.model_dump(mode="json") | {"width": round(steps * _STEP, 4), "pretrained": "none"}
    return config.parse(type(model), values, "--stages")


def _check(stages: Sequence[float]) -> None:
    if not stages or not all(0 < share <= 1 for share in stages):
        raise UsageError("--stages needs shares of the first student's operations, such as 1.0,0.5,0.25.")
    if any(one <= other for one, other in pairwise(stages)):
        raise UsageError("--stages must descend, such as 1.0,0.5,0.25: each stage is smaller than the one before.")
