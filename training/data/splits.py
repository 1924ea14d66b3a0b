"""What a run learns from and is judged on, looked at before an hour is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semblance.manifests.errors import SemblanceError
from semblance.training.data import query, sampling, shards
from semblance.training.data.loader import DataConfig
from semblance.training.data.query import Selection


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """``train``: the units of all builds together. ``val``: each build's val side by name, faces without a label too,
    as whole videos are scored. ``others``: the val side of builds that are only looked at. ``datasets``: what the run
    folder keeps of them.
    """

    train: Selection
    val: dict[str, Selection]
    others: dict[str, Selection]
    datasets: tuple[dict[str, Any], ...]


def gather(outs: Sequence[str], others: Sequence[str], config: DataConfig) -> Material:
    """Choose all sides and look at them.

    Raises UsageError for a wrong query, SemblanceError for a side that is empty or of one class, and for a shard that
    is missing or cut short.
    """
    train = query.select(outs, "train", config, config, weight=config.weight)
    query.check_classes(train)
    sampling.draw(train.units, config, seed=0, epoch=0)  # a mix or balance that cannot be had is said now
    described = {out: shards.describe(out) for out in (*outs, *others)}
    names = _names(described)
    val = {names[out]: _judged(out, config) for out in outs}
    if len({label for side in val.values() for label in side.pictures["label"].unique()}) < 2:
        raise SemblanceError(
            f"The val side of {', '.join(outs)} has videos of one class alone, so nothing can be selected on it; "
            "choose another split or add a build."
        )
    seen = {names[out]: _judged(out, config) for out in others}
    for side in (train, *val.values(), *seen.values()):
        shards.check(side.shards)
    datasets = []
    for out, description in described.items():
        role = "train" if out in outs else "other"
        sides = {"val": str(val[names[out]].counts)} if role == "train" else {"val": str(seen[names[out]].counts)}
        datasets.append(
            {
                "name": names[out],
                "out": out,
                "dataset": description["dataset"],
                "fingerprint": description["fingerprint"],
                "role": role,
                "split_column": config.split_column,
                "laid_out": description.get("split"),
                "recipe": description.get("recipe"),  # so that a video is judged alike when the build is gone
                "counts": sides,
                **(_trained_on(train, out) if role == "train" else {}),
            }
        )
    return Material(train=train, val=val, others=seen, datasets=tuple(datasets))


def check_same(datasets: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]], where: str) -> None:
    """Raise SemblanceError where the builds are not those that a checkpoint was trained with."""
    now, then = ([(one["role"], one["dataset"], one["fingerprint"]) for one in each] for each in (datasets, before))
    if now == then:
        return
    for one in datasets:
        if one["fingerprint"] not in {known["fingerprint"] for known in before}:
            raise SemblanceError(
                f"The build {one['out']} ({one['dataset']}) has the fingerprint {one['fingerprint'][:12]}, which "
                f"{where} does not know; go on with the builds that it was trained with, or start a new run."
            )
    raise SemblanceError(f"{where} was trained with other builds, or in another order; name the same ones.")


def _judged(out: str, config: DataConfig) -> Selection:
    return query.select([out], "val", config, unlabelled=True)


def _names(described: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Each build's dataset, numbered where several have the same."""
    names: dict[str, str] = {}
    for out, description in described.items():
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
