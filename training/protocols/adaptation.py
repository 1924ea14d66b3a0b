"""Adapting trained runs to a target: which pictures support them, the steps on these, and the scores of the query.

B: pictures of a support.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch

from semblance.manifests import build_files, scan
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.ids import digest
from semblance.training import losses
from semblance.training.data import isolation, query, units
from semblance.training.data.loader import Loader
from semblance.training.data.query import QueryConfig, Selection
from semblance.training.evaluation import leaks, predictions
from semblance.training.guard import ids
from semblance.training.guard import leaks as law
from semblance.training.inference import predictor
from semblance.training.inference.member import Member
from semblance.training.inference.precision import device
from semblance.training.metrics import aggregate
from semblance.training.records import Batch
from semblance.training.regimes import maml
from semblance.training.regimes.maml import MamlConfig
from semblance.training.runs import checkpoint

CLASSES = (0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """A build to adapt to: pictures that may support, split by split, and those that are judged, with their videos."""

    out: str
    name: str
    pools: tuple[Selection, ...]
    asked: Selection
    videos: pl.DataFrame

    @property
    def pool(self) -> pl.DataFrame:
        """All pictures that may support."""
        return pl.concat(one.pictures.drop("unit", "shard") for one in self.pools)


def target(out: str, name: str, *, support: Sequence[str], asked: str, column: str) -> Target:
    """The pictures of a build: ``support`` are splits, of which those without pictures are passed over.

    Raises UsageError if a split is on both sides, SemblanceError if a side has no picture or one class alone.
    """
    if asked in support:
        raise UsageError(
            f"Split {asked} cannot be support and query at once; choose other --support or --query splits."
        )
    held = scan(out).filter((pl.col("verdict") == "keep") & pl.col("face_label").is_not_null())
    present = set(held.select(pl.col(column).unique()).collect().to_series())
    pools = tuple(query.select([out], split, QueryConfig(split_column=column)) for split in support if split in present)
    if not pools:
        raise SemblanceError(
            f"{out} has no labelled picture in {', '.join(support)} under column {column}, so nothing can support an "
            "adaptation to it; choose other splits with --support, or another split column."
        )
    selection = predictions.select_pictures([out], asked, column)
    videos = predictions.listed_videos([out], asked, column)
    videos = videos.filter(pl.col("video_id").is_in(selection.pictures["video_id"].unique().implode()))
    if videos["label"].n_unique() < 2:
        raise SemblanceError(
            f"Split {asked} of {out} has videos of one class only, so nothing can be measured on it; choose another "
            "split with --query."
        )
    return Target(out=out, name=name, pools=pools, asked=selection, videos=videos)


def leaked(one: Target, column: str) -> tuple[str, ...]:
    """What the support of a target shares with its query, in sentences: videos, families, people, recordings."""
    audited = ids.read(one.out)
    described = {
        "role": "train",
        "lineage": sorted(law.lineage(build_files.description(one.out))),
        "promises": sorted(law.promises(audited, column)),
    }
    records = tuple(record for pool in one.pools for record in isolation.records("trained", pool))
    planned = leaks.Planned(name=f"the adaptation to {one.name}", records=records, datasets=(described,))
    return leaks.of_planned(planned, [one.out], one.asked.split, column)


def order(pool: pl.DataFrame, seed: int, name: str) -> dict[float, list[str]]:
    """The samples of each class in the order in which they are taken: one of every family before any has two.

    ``pool`` has sample_id, family_id and target. The first five of a seed hold its first one, and so on.
    """
    found = {}
    for label in CLASSES:
        rows = pool.filter(pl.col("target") == label).sort("sample_id").unique("sample_id", maintain_order=True)
        rng = np.random.default_rng(int(digest(seed, "support", name, label)[:15], 16))
        rows = rows.with_columns(chance=pl.Series(rng.permutation(rows.height)))
        rows = rows.with_columns(round=pl.col("chance").rank("ordinal").over("family_id"))
        found[label] = rows.sort("round", "chance")["sample_id"].to_list()
    return found


def check(one: Target, shots: Sequence[int]) -> None:
    """Raise SemblanceError if a class has fewer pictures than the most shots."""
    for label, samples in order(one.pool, 0, one.name).items():
        if len(samples) < max(shots):
            word = "fake" if label else "real"
            raise SemblanceError(
                f"{one.out} has {len(samples)} {word} pictures for support, fewer than the {max(shots)} of --shots; "
                "name fewer shots, or more splits with --support."
            )


def read(one: Target, samples: Iterable[str], size: int) -> Batch:
    """Pictures of the support by their ids, in the order of the ids, of ``size`` px and not augmented."""
    wanted = list(samples)
    parts = []
    for pool in one.pools:
        pictures = pool.pictures.filter(pl.col("sample_id").is_in(wanted)).sort("unit")
        if pictures.height:
            pictures = pictures.with_columns(unit=pl.int_range(pl.len(), dtype=pl.Int32))
            chosen = replace(pool, pictures=pictures, units=units.summarise(pictures))
            parts += list(Loader(chosen, batch=pictures.height, size=size))
    names = [name for part in parts for name in part.sample_ids]
    place = [names.index(name) for name in wanted]
    videos, tracks, persons = (
        [value for part in parts for value in getattr(part, column)] for column in ("video_ids", "tracks", "persons")
    )
    return Batch(
        image_BCHW=torch.cat([part.image_BCHW for part in parts])[place],
        target_B=torch.cat([part.target_B for part in parts])[place],
        sample_ids=tuple(wanted),
        video_ids=tuple(videos[at] for at in place),
        tracks=tuple(tracks[at] for at in place),
        persons=tuple(persons[at] for at in place),
    )


def adapted(member: Member, support: Batch, config: MamlConfig, steps: int) -> Member:
    """A run after some steps of gradient descent on the support, as in the steps of MAML: in eval mode, float32.

    The run itself stays as it is. Raises UsageError for a model over clips.
    """
    trained = member.trained
    if trained.model.members > 1:
        raise UsageError(
            f"{member.name} scores clips, and adaptation is to single pictures; use a model over pictures."
        )
    model = copy.deepcopy(trained.model).to(device())
    loss = losses.build(trained.recipe.loss, model).to(device())
    loss.load_state_dict(checkpoint.load(member.file)["loss"])
    with torch.enable_grad(), maml.still(model):
        weights, _ = maml.adapted(
            model,
            loss,
            support.to(device()),
            maml.chosen(model, config.adapt),
            rate=config.rate,
            steps=steps,
            second_order=False,
        )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])
    return replace(member, trained=replace(trained, model=model))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """What a model says of a query: AUC by frame and by video, and the logit of each of the target's videos."""

    auc_frame: float | None
    auc_video: float
    logit_N: Any


def scores(members: Mapping[str, Member], one: Target) -> dict[str, Scored]:
    """The scores of several models, for which the pictures are read once."""
    found = {}
    pictures = one.asked.pictures
    for key, rows in predictor.selection_outputs(members, one.asked).items():
        table = pictures.join(rows, on="sample_id", validate="1:1", maintain_order="left")
        videos = one.videos.join(aggregate.videos(table), on="video_id", how="left", maintain_order="left")
        auc = aggregate.auc(videos["label"], videos["logit"])
        assert auc is not None  # both classes are there
        found[key] = Scored(
            auc_frame=aggregate.auc(table["target"], table["logit"]), auc_video=auc, logit_N=videos["logit"].to_numpy()
        )
    return found
