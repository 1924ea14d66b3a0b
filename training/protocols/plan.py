"""What a protocol trains and judges: variants of one recipe with several seeds, and columns for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from semblance.manifests import build_files
from semblance.manifests.errors import UsageError
from semblance.training.benchmark.suite import Asked, Column
from semblance.training.recipes.base import TrainingRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One row of the page: a recipe on some builds. ``slug`` names its runs' folders.

    ``starts``: by seed, the run whose weights that repetition starts from, where it is not the recipe's own.
    ``after``: the slug of a variant before this one, from whose run of the same seed each of its runs starts; the
    recipe's regime is then one that names that run under ``after``.
    """

    row: str
    slug: str
    outs: tuple[str, ...]
    recipe: TrainingRecipe
    starts: Mapping[int, str] = field(default_factory=dict)
    after: str | None = None

    def of(self, seed: int) -> TrainingRecipe:
        """The recipe of the repetition with this seed."""
        start = {"pretrained": self.starts.get(seed, self.recipe.model.pretrained)}
        return self.recipe.model_copy(update={"seed": seed, "model": self.recipe.model.model_copy(update=start)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One training of a variant: ``folder`` below the protocol's, and the recipe with its seed."""

    folder: str
    variant: Variant
    recipe: TrainingRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A protocol before anything is trained.

    ``command``: the one that makes it. ``notes``: what it leaves out. ``baseline``: the row that others are to exceed.
    ``together``: variants that are not trained, but whose data are checked, since runs that start from others learn
    from all of them.
    """

    command: str
    title: str
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    columns: tuple[Column, ...]
    asked: Asked
    notes: tuple[str, ...] = ()
    baseline: str | None = None
    together: tuple[Variant, ...] = ()

    def runs(self, to: Path) -> Iterator[Planned]:
        """All trainings, seed by seed, so that every variant has a run before any has two. ``to``: their folder."""
        for seed in self.seeds:
            for variant in self.variants:
                recipe = variant.of(seed)
                if variant.after is not None:
                    recipe = following(recipe, str(to.absolute() / place(variant.after, seed)))
                yield Planned(folder=place(variant.slug, seed), variant=variant, recipe=recipe)


def place(slug: str, seed: int) -> str:
    """The folder of a run below the protocol's."""
    return f"runs/{slug}-seed{seed}"


def following(recipe: TrainingRecipe, run: str) -> TrainingRecipe:
    """The recipe of a run that starts from another ``run``, by its model's and its regime's settings."""
    model = recipe.model.model_copy(update={"pretrained": run})
    return recipe.model_copy(update={"model": model, "regime": recipe.regime.model_copy(update={"after": run})})


def checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds, each once. Raises UsageError if there is none, or a negative one."""
    if not seeds or min(seeds) < 0:
        raise UsageError("--seeds needs one or more numbers from 0 on, such as 0,1,2.")
    return tuple(dict.fromkeys(seeds))


def checked_outs(outs: Sequence[str]) -> tuple[str, ...]:
    """The builds. Raises UsageError if one is named twice, SemblanceError if one is not finished."""
    found = tuple(out.rstrip("/") for out in outs)
    if len(set(found)) < len(found):
        raise UsageError(f"The same build is named twice: {', '.join(found)}.")
    for out in found:
        build_files.finished(out)
    return found


def names(outs: Sequence[str]) -> dict[str, str]:
    """What a page calls each build: by its dataset, or by its folder where several builds have the same dataset."""
    datasets = {out: str(build_files.finished(out)["dataset"]) for out in outs}
    shared = {out for out in outs if list(datasets.values()).count(datasets[out]) > 1}
    called = {out: out.rpartition("/")[2] if out in shared else datasets[out] for out in outs}
    for name in called.values():
        if list(called.values()).count(name) > 1:
            raise UsageError(f"Two builds would be called {name!r} on the page; rename the folder of one.")
    return called


def slugs(named: Sequence[str]) -> list[str]:
    """Names of folders, one for each of ``named``: equal on no file system, and without ``-``, which ends them."""
    found: list[str] = []
    for name in named:
        plain = re.sub(r"[^A-Za-z0-9.]+", "_", name).strip("._") or "x"
        slug, number = plain, 2
        while slug.lower() in (one.lower() for one in found):
            slug, number = f"{plain}_{number}", number + 1
        found.append(slug)
    return found
