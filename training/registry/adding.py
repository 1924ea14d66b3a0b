"""A new version: its number by what has changed, its package made beside its place, signed, verified, registered."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import Image
from semblance.training.evaluation.thresholds import Chosen
from semblance.training.export import run as exports
from semblance.training.export.thresholds import of_val
from semblance.training.inference.predictor import Predictor
from semblance.training.registry import contents, package, promotion, signature, versions
from semblance.training.registry.contents import Identity
from semblance.training.registry.mlflow_registry import MLflowRegistry
from semblance.training.registry.records import Semantic, Version
from semblance.training.registry.store import IDENTITY, check_name
from semblance.training.registry.versions import FIRST, STEPS, Needed, Step

_CROPS: Final = exports.CROPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is added as what. ``version`` or ``bump`` (a step from the newest one); a first version needs neither.

    ``graphs``: with OpenVINO's graphs of features.
    """

    model: str
    key: Path
    version: str | None = None
    bump: str | None = None
    evaluation: Path | None = None
    graphs: bool = True
    store: str | None = None


def check_step(version: str | None, bump: str | None) -> None:
    """Raise UsageError for both of a version and a step, and for an unknown step."""
    if version is not None and bump is not None:
        raise UsageError("--version and --bump both say which version it is; give one of them.")
    if version is not None:
        Semantic.parse(version)
    if bump is not None and bump not in STEPS:
        raise UsageError(f"--bump {bump!r} is no step; use {', '.join(reversed(STEPS))}.")


def add(
    registry: MLflowRegistry,
    predictor: Predictor,
    wish: Wish,
    *,
    outs: Sequence[str] = (),
    thresholds: bool = False,
    say: Callable[[str], None],
) -> Version:
    """Package a run, sign and verify the package, and register it.

    ``outs``: builds whose crops OpenVINO's features are checked on, by default those of the run that are still there.
    ``thresholds``: val's are stated too. Raises UsageError for a version that is taken, not later than the newest, or
    too small a step.
    """
    check_name(wish.model)
    check_step(wish.version, wish.bump)
    newest = promotion.newest(registry, wish.model)
    version = _asked(wish, newest)
    if newest is not None:
        versions.check_later(wish.model, newest.version, version)
    images = _crops(predictor, outs, say) if wish.graphs else []
    chosen = _thresholds(predictor, outs, say) if thresholds else None
    with storage.spool() as spool:
        folder = spool / wish.model
        public = signature.public_of(wish.key, spool / "key.pub")
        made = package.write(
            predictor,
            folder,
            model=wish.model,
            version=version,
            evaluation=wish.evaluation,
            thresholds=chosen,
            images=images,
            graphs=wish.graphs,
        )
        if newest is not None:
            least = _needed(newest, contents.identity(made))
            versions.check(wish.model, newest.version, version, least)
            say(f"{wish.model} {version} after {newest.version}: {least.reason}")
        signature.sign(folder, wish.key)
        signature.verify(folder, public)
        return registry.add(version, folder, store=wish.store)


def _asked(wish: Wish, newest: Version | None) -> Semantic:
    if wish.version is not None:
        return Semantic.parse(wish.version)
    if newest is None:
        return FIRST
    if wish.bump is None:
        raise UsageError(
            f"{wish.model} has versions up to {newest.version}; say which one this is with --version or --bump."
        )
    step: Step = next(one for one in STEPS if one == wish.bump)
    return versions.bump(newest.version, step)


def _needed(newest: Version, new: Identity) -> Needed:
    try:
        return versions.needed(Identity.model_validate_json(newest.tags.get(IDENTITY, "")), new)
    except ValidationError as error:
        raise SemblanceError(
            f"The registry does not say what {newest.name} is compared by (tag {IDENTITY}); restore the registry."
        ) from error


def _crops(predictor: Predictor, outs: Sequence[str], say: Callable[[str], None]) -> list[Image]:
    """Crops of the builds; none, and a sentence, if those of the run are not there."""
    try:
        return list(itertools.islice(exports.crops(predictor, outs), _CROPS))
    except SemblanceError as error:
        if outs:
            raise
        say(f"OpenVINO's features are checked on noise alone: {error}")
        return []


def _thresholds(predictor: Predictor, outs: Sequence[str], say: Callable[[str], None]) -> Chosen:
    chosen, notes = of_val(predictor, outs)
    for note in notes:
        say(note)
    return chosen
