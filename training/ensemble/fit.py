"""An ensemble of frozen runs: three global weights learned on val, then temperatures on a part of val kept for them.

::

    DIR/ensemble.json      members with weights and checksums, temperatures, the families behind each
    DIR/datasets.json      the builds that the members were trained with
    DIR/members/*.ckpt     copies of the members' best checkpoints

N: pictures, M: members.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F  # noqa: N812

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import digest
from semblance.training.data import shards
from semblance.training.ensemble import calibration
from semblance.training.ensemble.calibration import Temperature
from semblance.training.evaluation import leaks, predictions
from semblance.training.inference import predictor as judges_of
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics.classification import Floats
from semblance.training.runs import folder

START: Final = (0.4, 0.35, 0.25)  # the plan's weights of its three models, in their order
RATE: Final = 0.01
EPOCHS: Final = 20
BATCH: Final = 64
CALIBRATION: Final = 0.2  # of val's families


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """What was learned."""

    path: Path
    weights: dict[str, float]
    frame: Temperature
    video: Temperature
    families: tuple[int, int]  # for the weights, for the temperatures


def combine(
    outs: Sequence[str],
    runs: Sequence[str],
    to: Path,
    *,
    seed: int = 0,
    allow_leaks: bool = False,
    say: Callable[[str], None] = print,
) -> Combined:
    """Learn an ensemble of single runs on the val sides of the builds and write it into the empty folder ``to``.

    Raises UsageError for a folder that is not empty or a member that is an ensemble, SemblanceError where val leaks
    into what a member was trained on, is too small, or has one class alone.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UsageError(f"{to} is not empty; name another --to.")
    outs = tuple(out.rstrip("/") for out in outs)
    judges = judges_of.load_all(runs)
    for one in judges:
        if len(one.members) > 1 or one.calibrated:
            raise UsageError(f"{one.path} is an ensemble itself; name the runs that it is made of.")
    column = judges[0].split_column
    if not allow_leaks and (found := leaks.find(judges, outs, "val", column).leaks):
        raise SemblanceError(
            f"{found[0]}: weights learned there would trust what was learned by heart; choose other builds, or go on "
            "with --allow-leaks."
        )
    chosen = predictions.pick(outs, "val", column)
    shards.check(chosen.shards)
    videos = predictions.listed(outs, "val", column)
    apart = divide(chosen.pictures["family_id"].unique().to_list(), seed)
    say(f"val: {chosen.counts}")
    answers = judges_of.ask(judges_of.members_of(judges), chosen)
    tables = [
        chosen.pictures.join(answers[one.members[0].key], on="sample_id", validate="1:1", maintain_order="left")
        for one in judges
    ]
    weights = _weights(tables, apart, seed)
    draft = Predictor(name=to.name, path=to, members=tuple(one.members[0] for one in judges), weights=weights)
    logit = draft.combine([table["logit"].to_numpy() for table in tables])
    frame, video = _temperatures(draft, chosen.pictures.with_columns(logit=pl.Series(logit)), videos, apart, seed)
    _write(to, draft, frame, video, chosen.pictures["family_id"].unique().to_list(), apart)
    return Combined(
        path=to,
        weights=dict(zip((one.name for one in judges), weights, strict=True)),
        frame=frame,
        video=video,
        families=(chosen.pictures["family_id"].n_unique() - len(apart), len(apart)),
    )


def divide(families: Sequence[str], seed: int = 0) -> frozenset[str]:
    """The fifth of val's families, by hash, that temperatures alone are learned on.

    Raises SemblanceError where there is one family alone.
    """
    if len(families) < 2:
        raise SemblanceError("Val has one family alone; weights and temperatures need different ones: add a build.")
    count = max(round(CALIBRATION * len(families)), 1)
    return frozenset(sorted(families, key=lambda name: digest(seed, "calibration", name))[:count])


def learn(logit_MN: Floats, label_N: Floats, *, seed: int = 0) -> tuple[float, ...]:
    """Weights that add up to 1: the softmax of logits that start at ``log(START)`` (equal but for three members),
    by Adam at 0.01 over 20 epochs of shuffled batches of 64, least log loss of the weighted logits.
    """
    members = len(logit_MN)
    start = START if members == len(START) else (1 / members,) * members
    logits, labels = torch.from_numpy(logit_MN).double(), torch.from_numpy(label_N).double()
    free_M = torch.tensor([math.log(weight) for weight in start], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([free_M], lr=RATE)
    chance = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for rows in torch.split(torch.randperm(len(labels), generator=chance), BATCH):
            optimiser.zero_grad()
            combined = torch.softmax(free_M, 0) @ logits[:, rows]
            F.binary_cross_entropy_with_logits(combined, labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return tuple(torch.softmax(free_M.detach(), 0).tolist())


def _weights(tables: Sequence[pl.DataFrame], apart: frozenset[str], seed: int) -> tuple[float, ...]:
    used = ~pl.col("family_id").is_in(sorted(apart)) & pl.col("face_label").is_not_null()
    kept = [table.filter(used) for table in tables]
    labels = kept[0]["face_label"].to_numpy().astype(np.float64)
    if len(set(labels.tolist())) < 2:
        raise SemblanceError("Val without its fifth for temperatures has pictures of one class alone: add a build.")
    return learn(np.stack([table["logit"].to_numpy() for table in kept]), labels, seed=seed)


def _temperatures(
    draft: Predictor, pictures: pl.DataFrame, videos: pl.DataFrame, apart: frozenset[str], seed: int
) -> tuple[Temperature, Temperature]:
    kept = pl.col("family_id").is_in(sorted(apart))
    faces = pictures.filter(kept & pl.col("face_label").is_not_null())
    whole = predictions.of_videos(videos.filter(kept), pictures.filter(kept), draft).drop_nulls("logit")
    frame, video = (
        calibration.fit(
            rows[label].to_numpy().astype(np.float64), rows["logit"].to_numpy(), rows["family_id"].to_list(), seed=seed
        )
        for rows, label in ((faces, "face_label"), (whole, "label"))
    )
    return frame, video


def _write(
    to: Path, draft: Predictor, frame: Temperature, video: Temperature, families: Sequence[str], apart: frozenset[str]
) -> None:
    members: list[dict[str, Any]] = []
    for number, (one, weight) in enumerate(zip(draft.members, draft.weights, strict=True)):
        file = Path("members") / f"{number}-{one.name}.ckpt"
        storage.publish(str(one.file), str(to / file))
        members.append({"name": one.name, "file": str(file), "sha256": one.key, "weight": weight})
    folder.write_json(to / "datasets.json", draft.datasets)
    folder.write_json(
        to / judges_of.ENSEMBLE,
        {
            "format": judges_of.FORMAT,
            "members": members,
            "temperature": {"frame": frame.value, "video": video.value},
            "fitted": {"frame": asdict(frame), "video": asdict(video)},
            "families": {"weights": sorted(set(families) - apart), "temperature": sorted(apart)},
        },
    )
