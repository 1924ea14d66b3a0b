"""How large a step a new version must be: by what its answers can be compared with, and whether they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from semblance.manifests.config import canonical_json
from semblance.manifests.errors import UsageError
from semblance.training.registry.contents import Identity
from semblance.training.registry.records import Semantic

Step = Literal["major", "minor", "patch"]
STEPS: Final[tuple[Step, ...]] = ("patch", "minor", "major")  # ascending
FIRST: Final = Semantic(1, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """The least step from one package to the next, and why."""

    step: Step
    reason: str


def needed(old: Identity, new: Identity) -> Needed:
    """``major`` for other labels or crops, ``minor`` for other answers, else ``patch``.

    Crops that are not known on one side are not compared.
    """
    if old.labels != new.labels:
        return Needed(step="major", reason=f"its labels mean {_some(new.labels)} instead of {_some(old.labels)}")
    if old.crops and new.crops and set(map(canonical_json, old.crops)) != set(map(canonical_json, new.crops)):
        return Needed(step="major", reason=f"it was trained on other crops ({_difference(old.crops, new.crops)})")
    parts = [name for name in {**old.answers, **new.answers} if old.answers.get(name) != new.answers.get(name)]
    if parts:
        return Needed(step="minor", reason=f"it answers otherwise ({', '.join(parts)})")
    return Needed(step="patch", reason="it answers alike")


def bump(newest: Semantic, step: Step) -> Semantic:
    """The next version by a step.

    >>> str(bump(Semantic(1, 2, 3), "minor"))
    '1.3.0'
    """
    match step:
        case "major":
            return Semantic(newest.major + 1, 0, 0)
        case "minor":
            return Semantic(newest.major, newest.minor + 1, 0)
        case _:
            return Semantic(newest.major, newest.minor, newest.patch + 1)


def step_between(old: Semantic, new: Semantic) -> Step:
    """The step from one version to a later one.

    >>> step_between(Semantic(1, 2, 3), Semantic(1, 4, 0))
    'minor'
    """
    return "major" if new.major > old.major else "minor" if new.minor > old.minor else "patch"


def check_later(model: str, newest: Semantic, new: Semantic) -> None:
    """Raise UsageError if the new version is not later than the newest."""
    if new <= newest:
        raise UsageError(
            f"{model} {new} is not later than {newest}, its newest version, and versions are never changed; use --bump "
            "instead of --version."
        )


def check(model: str, newest: Semantic, new: Semantic, least: Needed) -> None:
    """Raise UsageError if a later version is too small a step for what has changed."""
    if STEPS.index(step_between(newest, new)) < STEPS.index(least.step):
        raise UsageError(
            f"{model} {new} is too small a step from {newest}, for {least.reason}; use --bump {least.step} (version "
            f"{bump(newest, least.step)})."
        )


def _difference(old: tuple[dict[str, Any], ...], new: tuple[dict[str, Any], ...]) -> str:
    if len(old) == len(new) == 1:
        changed = [key for key in {**old[0], **new[0]} if old[0].get(key) != new[0].get(key)]
        return ", ".join(f"{key} {new[0].get(key)} instead of {old[0].get(key)}" for key in changed)
    return f"{len(new)} ways to cut instead of {len(old)}" if len(old) != len(new) else "cut in other ways"


def _some(labels: tuple[str, ...]) -> str:
    return " / ".join(labels)
