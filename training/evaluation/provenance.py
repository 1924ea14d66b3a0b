"""What an evaluation was made from: builds, external detectors, and runs with their recipes and epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from semblance.manifests.config import differences
from semblance.training import recipes
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.external import External
from semblance.training.evaluation.external.function import Function
from semblance.training.guard.seen import LEARNED
from semblance.training.inference.member import Member
from semblance.training.inference.predictor import Predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """An evaluated build: ``protocol`` is the one that its active split follows, None if it does not say."""

    out: str
    dataset: str
    fingerprint: str | None
    protocol: str | None
    synthetic: bool
    pictures: int
    videos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A build that a model was trained on."""

    out: str
    dataset: str
    fingerprint: str
    split_column: str
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of a run: ``epoch`` is that of its checkpoint, from 1; ``sha256`` is the checkpoint's.

    ``changes``: what its recipe changes of the recipe of that name, or of its base.
    """

    name: str
    weight: float
    recipe: str
    changes: tuple[str, ...]
    seed: int
    epoch: int
    epochs: int
    step: int
    sha256: str
    trained: tuple[Trained, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """An external detector: a function with the SHA-256 of its source file, or a service's address.

    ``file`` and ``sha256`` are None for a service, and for a module without a source file. The file says nothing about
    what it imports, nor about weights that it loads.
    """

    name: str
    kind: Literal["function", "service"]
    source: str
    file: str | None
    sha256: str | None


def external(one: External) -> Outside:
    """What is known about an external detector."""
    source = one.source
    if isinstance(source, Function):
        return Outside(name=one.name, kind="function", source=source.text, file=source.file, sha256=source.sha256)
    return Outside(name=one.name, kind="service", source=source.address, file=None, sha256=None)


def builds(result: Evaluation) -> list[Build]:
    """The evaluated builds, in order."""
    found = []
    for place, out in enumerate(result.outs):
        described = result.described[out]
        rows = result.selection.pictures.filter(result.selection.pictures["source"] == place)
        found.append(
            Build(
                out=out,
                dataset=str(described.get("dataset", "unknown")),
                fingerprint=described.get("fingerprint"),
                protocol=described.get("split"),
                synthetic=bool(described.get("synthetic", False)),
                pictures=rows["sample_id"].n_unique(),
                videos=rows["video_id"].n_unique(),
            )
        )
    return found


def models(predictor: Predictor) -> list[Model]:
    """The members of a run with their weights."""
    return [_model(member, weight) for member, weight in zip(predictor.members, predictor.weights, strict=True)]


def _model(member: Member, weight: float) -> Model:
    trained = member.trained
    recipe = trained.recipe
    return Model(
        name=member.name,
        weight=weight,
        recipe=recipe.name,
        changes=tuple(_changes(recipe)),
        seed=recipe.seed,
        epoch=trained.epoch + 1,
        epochs=recipe.epochs,
        step=trained.step,
        sha256=member.key,
        trained=tuple(_trained(trained.datasets)),
    )


def _changes(recipe: recipes.TrainingRecipe) -> Sequence[str]:
    """What a recipe changes of its base; of a named one, what an older version changed under that name."""
    named = recipes.NAMED.get(recipe.name)
    if named is None:
        return recipes.changes(recipe)
    hidden = {"name", "base", "seed"}
    return differences(*(one.model_dump(mode="json", exclude=hidden) for one in (named, recipe)))


def _trained(records: Sequence[Mapping[str, Any]]) -> list[Trained]:
    return [
        Trained(
            out=str(record["out"]),
            dataset=str(record["dataset"]),
            fingerprint=str(record["fingerprint"]),
            split_column=str(record["split_column"]),
            methods=tuple(record.get("methods", ())),
        )
        for record in records
        if record["role"] in LEARNED
    ]
