"""The splits of a run: what it learns from and is validated on, selected and checked before training starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semblance.manifests import build_files
from semblance.manifests.errors import SemblanceError
from semblance.training.data import query, sampling, shards
from semblance.training.data.loader import DataConfig
from semblance.training.data.query import Selection
from semblance.training.guard.seen import Seen


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingData:
    """The splits of a run's builds.

    ``train``: the units of all builds together. ``val``: the val split of each build, by its name; it includes faces
    without a label, as whole videos are scored. ``others``: the val split of builds that are only reported on.
    ``datasets``: the run folder's record of every build. ``seen``: what the run keeps of all this, and ``warnings``:
    what it shares although no split promises otherwise, or what was allowed (``isolation.isolate``).
    """

    train: Selection
    val: dict[str, Selection]
    others: dict[str, Selection]
    datasets: tuple[dict[str, Any], ...]
    seen: Seen | None = None
    warnings: tuple[str, ...] = ()


def gather(outs: Sequence[str], others: Sequence[str], config: DataConfig, *, labelled: bool = True) -> TrainingData:
    """Select all splits and check them. Without labels one class will do, and val is cut into units as train is.

    Raises UsageError for an invalid query. Raises SemblanceError for a split that is empty or has one class only, and
    for a shard that is missing or cut short.
    """
    train = query.select(outs, "train", config, config, weight=config.weight)
    if labelled:
        query.check_classes(train)
    sampling.draw(train.units, config, seed=0, epoch=0)  # raises now if the mix or balance is impossible
    descriptions = {out: build_files.finished(out) for out in (*outs, *others)}
    names = _names(descriptions)
    val = {names[out]: _validation(out, config, labelled) for out in outs}
    if labelled and len({label for selection in val.values() for label in selection.pictures["label"].unique()}) < 2:
        raise SemblanceError(
            f"Split val of {', '.join(outs)} has videos of one class only, so no model can be selected on it; "
            "choose another split column or add a build."
        )
    reported = {names[out]: _validation(out, config, labelled) for out in others}
    for selection in (train, *val.values(), *reported.values()):
        shards.check(selection.shards)
    datasets = []
    for out, description in descriptions.items():
        role = "train" if out in outs else "other"
        validation = (val if role == "train" else reported)[names[out]]
        datasets.append(
            {
                "name": names[out],
                "out": out,
                "dataset": description["dataset"],
                "fingerprint": description["fingerprint"],
                "role": role,
                "split_column": config.split_column,
                "laid_out": description.get("split"),
                "recipe": description.get("recipe"),  # videos are cut by it even when the build is gone
                "counts": {"val": str(validation.counts)},
                **(_trained_on(train, out) if role == "train" else {}),
            }
        )
    return TrainingData(train=train, val=val, others=reported, datasets=tuple(datasets))


def check_same(datasets: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]], checkpoint: str) -> None:
    """Raise SemblanceError if the builds are not those that the ``checkpoint`` was trained with."""
    before = [record for record in before if record["role"] != "weights"]  # of other runs
    now, then = (
        [(record["role"], record["dataset"], record["fingerprint"]) for record in records]
        for records in (datasets, before)
    )
    if now == then:
        return
    known = {record["fingerprint"] for record in before}
    for record in datasets:
        if record["fingerprint"] not in known:
            raise SemblanceError(
                f"The build {record['out']} ({record['dataset']}) has the fingerprint {record['fingerprint'][:12]}, "
                f"but {checkpoint} was not trained with it; resume with the run's own builds, or start a new run."
            )
    raise SemblanceError(f"{checkpoint} was trained with other builds, or in another order; name the same ones.")


def _validation(out: str, config: DataConfig, labelled: bool) -> Selection:
    if not labelled:
        return query.select([out], "val", config, config)
    return query.select([out], "val", config, unlabelled=True)


def _names(descriptions: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The dataset of each build, numbered if several have the same."""
    names: dict[str, str] = {}
    for out, description in descriptions.items():
        name, number = str(description["dataset"]), 1
        while name in names.values():
            number += 1
            name = f"{description['dataset']}-{number}"
        names[out] = name
    return names


def _trained_on(train: Selection, out: str) -> dict[str, Any]:
    rows = train.pictures.filter(train.pictures["source"] == train.outs.index(out.rstrip("/")))
    return {
        "pictures": rows["sample_id"].n_unique(),
        "methods": sorted(rows["method"].drop_nulls().unique()),
        "unnamed_methods": bool(rows["method"].is_null().any()),
        "compressions": sorted(rows["compression"].drop_nulls().unique()),
    }
