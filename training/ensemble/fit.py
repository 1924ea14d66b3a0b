"""An ensemble of frozen runs: weights learned on val, then temperatures on families of val reserved for them.

::

    DIR/ensemble.json      members with weights, checksums and mirrors, temperatures, the families used for each
    DIR/datasets.json      the builds that the members were trained with
    DIR/seen.parquet       hashed ids of the val that it was fitted on (training/guard/seen.py)
    DIR/members/*.ckpt     copies of the members' best checkpoints

N: pictures, M: members.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F  # noqa: N812

from semblance.manifests import build_files, storage
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.ids import digest
from semblance.training.data import isolation, shards
from semblance.training.ensemble import calibration
from semblance.training.ensemble.calibration import Temperature
from semblance.training.evaluation import leaks, predictions, results
from semblance.training.evaluation.results import LEAST_GROUPS
from semblance.training.guard import crops, seen
from semblance.training.guard.seen import Seen
from semblance.training.inference.predictor import (
    ENSEMBLE,
    FORMAT,
    Predictor,
    distinct_members,
    load_all,
    selection_outputs,
)
from semblance.training.metrics.classification import Floats
from semblance.training.runs import folder

START: Final = (0.4, 0.35, 0.25)  # the plan's weights for its three models, in order
RATE: Final = 0.01
EPOCHS: Final = 20
BATCH: Final = 64
CALIBRATION: Final = 0.2  # of val's families


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """The weights and temperatures of a new ensemble. ``learned``: the weights are; else they are as at the start."""

    path: Path
    weights: dict[str, float]
    learned: bool
    frame: Temperature
    video: Temperature
    families: tuple[int, int]  # used for the weights, for the temperatures


def combine(
    outs: Sequence[str],
    runs: Sequence[str],
    to: Path,
    *,
    seed: int = 0,
    allow_leaks: bool = False,
    allow_other_crops: bool = False,
    say: Callable[[str], None] = print,
) -> Combined:
    """Fit an ensemble of single runs on the val splits of the builds, and write it into the new or empty folder ``to``.

    Raises UsageError if the folder is not empty or a member is an ensemble. Raises SemblanceError if val leaks into
    the training data of a member, if its crops are cut otherwise, if it is too small, or has one class only.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UsageError(f"{to} is not empty; choose another --to.")
    outs = tuple(out.rstrip("/") for out in outs)
    predictors = load_all(runs)
    for predictor in predictors:
        if len(predictor.members) > 1 or predictor.calibrated:
            raise UsageError(f"{predictor.path} is an ensemble itself; pass its member runs instead.")
    column = predictors[0].split_column
    notes = _checked(predictors, outs, column, allow_leaks, allow_other_crops, say)
    selection = predictions.select_pictures(outs, "val", column)
    shards.check(selection.shards)
    videos = predictions.listed_videos(outs, "val", column)
    pictures, videos = _learned(predictors, selection.pictures, videos, say)
    families = pictures["family_id"].unique().to_list()
    reserved = reserve(families, seed)
    say(f"val: {selection.counts}")
    if selection.note:
        say(selection.note)
    outputs = selection_outputs(distinct_members(predictors), selection)
    members = tuple(predictor.members[0] for predictor in predictors)
    tables = [
        pictures.join(outputs[member.key], on="sample_id", validate="1:1", maintain_order="left") for member in members
    ]
    weights, learned = _weights(tables, reserved, seed)
    draft = Predictor(name=to.name, path=to, members=members, weights=weights)
    logit = draft.combine([table["logit"].to_numpy() for table in tables])
    frame, video = _temperatures(draft, pictures.with_columns(logit=pl.Series(logit)), videos, reserved, seed)
    combined = Combined(
        path=to,
        weights=dict(zip((predictor.name for predictor in predictors), weights, strict=True)),
        learned=learned,
        frame=frame,
        video=video,
        families=(len(families) - len(reserved), len(reserved)),
    )
    fitted = isolation.records("selected", replace(selection, pictures=pictures))
    _write(draft, combined, families, reserved, seen.union(fitted, notes))
    return combined


def _learned(
    predictors: Sequence[Predictor], pictures: pl.DataFrame, videos: pl.DataFrame, say: Callable[[str], None]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pictures and videos of val, without the fakes of methods that no member learned.

    The ensemble may be judged on them as unseen.
    """
    records = [record for predictor in predictors for record in predictor.datasets]
    left_out = results.unlearned(records, videos)
    if left_out.is_empty():
        return pictures, videos
    methods = ", ".join(left_out["method"].fill_null("a nameless method").unique().sort())
    say(f"{left_out.height} videos of val are left out, since no member learned their method: {methods}")
    kept = ~pl.col("video_id").is_in(left_out["video_id"].implode())
    return pictures.filter(kept), videos.filter(kept)


def _checked(
    predictors: Sequence[Predictor],
    outs: Sequence[str],
    column: str,
    allow_leaks: bool,
    allow_other_crops: bool,
    say: Callable[[str], None],
) -> list[str]:
    """What is shared or cut otherwise, and was allowed; raises SemblanceError for what was not."""
    found = leaks.fitting(predictors, outs, column)
    if found.refused and not allow_leaks:
        raise SemblanceError(
            f"{found.refused[0]}{isolation.more(len(found.refused))}, so the weights would favour overfitted members; "
            "choose other builds, or pass --allow-leaks."
        )
    recipes = {out: build_files.description(out).get("recipe") for out in outs}
    recipes |= {f"the builds of {one.name}": recipe for one in predictors for recipe in crops.of_runs(one.datasets)}
    cut = leaks.cut_otherwise(predictors, recipes)
    if cut and not allow_other_crops:
        raise SemblanceError(
            f"{cut[0]}{isolation.more(len(cut))}; name builds and members of one recipe, or pass --allow-other-crops."
        )
    for leak in found.leaks:
        say(f"warning: {leak}")
    for note in (*found.notes, *cut):
        say(f"warning: {note}")
    for reason in found.unknown:
        say(f"not checked for leaks into training: {reason}")
    allowed = [f"allowed with --allow-leaks: {leak}" for leak in found.refused]
    return allowed + [f"allowed with --allow-other-crops: {difference}" for difference in cut]


def reserve(families: Sequence[str], seed: int = 0) -> frozenset[str]:
    """A fifth of val's families, chosen by hash, on which only temperatures are fitted.

    Raises SemblanceError if there is only one family.
    """
    if len(families) < 2:
        raise SemblanceError("Val has only one family, but weights and temperatures need different ones; add a build.")
    count = max(round(CALIBRATION * len(families)), 1)
    return frozenset(sorted(families, key=lambda name: digest(seed, "calibration", name))[:count])


def learn(logit_MN: Floats, label_N: Floats, *, seed: int = 0) -> tuple[float, ...]:
    """Fit weights that add up to 1 by minimising the log loss of the weighted logits.

    The weights are a softmax. They start at ``START`` for three members and equal otherwise, and are trained by Adam
    at 0.01 for 20 epochs of shuffled batches of 64.
    """
    start = starting(len(logit_MN))
    logits, labels = torch.from_numpy(logit_MN).double(), torch.from_numpy(label_N).double()
    free_M = torch.tensor([math.log(weight) for weight in start], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([free_M], lr=RATE)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for rows in torch.split(torch.randperm(len(labels), generator=generator), BATCH):
            optimiser.zero_grad()
            combined = torch.softmax(free_M, 0) @ logits[:, rows]
            F.binary_cross_entropy_with_logits(combined, labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return tuple(torch.softmax(free_M.detach(), 0).tolist())


def starting(members: int) -> tuple[float, ...]:
    """The weights before learning: ``START`` for three members, equal otherwise."""
    return START if members == len(START) else (1 / members,) * members


def _weights(tables: Sequence[pl.DataFrame], reserved: frozenset[str], seed: int) -> tuple[tuple[float, ...], bool]:
    """The weights, and whether they are learned: a few families cannot tell which member is better on others."""
    used = ~pl.col("family_id").is_in(sorted(reserved)) & pl.col("face_label").is_not_null()
    rows = [table.filter(used) for table in tables]
    labels = rows[0]["face_label"].to_numpy().astype(np.float64)
    if len(set(labels.tolist())) < 2:
        raise SemblanceError("Without the families for temperatures, val has pictures of one class only; add a build.")
    if min(rows[0].filter(face_label=label)["family_id"].n_unique() for label in (0, 1)) < LEAST_GROUPS:
        return starting(len(rows)), False
    return learn(np.stack([table["logit"].to_numpy() for table in rows]), labels, seed=seed), True


def _temperatures(
    draft: Predictor, pictures: pl.DataFrame, videos: pl.DataFrame, reserved: frozenset[str], seed: int
) -> tuple[Temperature, Temperature]:
    used = pl.col("family_id").is_in(sorted(reserved))
    faces = pictures.filter(used & pl.col("face_label").is_not_null())
    scored = predictions.of_videos(videos.filter(used), pictures.filter(used), draft).drop_nulls("logit")
    frame, video = (
        calibration.fit(
            rows[label].to_numpy().astype(np.float64), rows["logit"].to_numpy(), rows["family_id"].to_list(), seed=seed
        )
        for rows, label in ((faces, "face_label"), (scored, "label"))
    )
    return frame, video


def _write(
    draft: Predictor, combined: Combined, families: Sequence[str], reserved: frozenset[str], fitted: Seen
) -> None:
    to, frame, video = combined.path, combined.frame, combined.video
    members: list[dict[str, Any]] = []
    for number, (member, weight) in enumerate(zip(draft.members, draft.weights, strict=True)):
        file = Path("members") / f"{number}-{member.name}.ckpt"
        storage.publish(str(member.file), str(to / file))
        record = {"name": member.name, "file": str(file), "sha256": member.sha256, "mirror": member.mirror}
        members.append(record | {"weight": weight})
    folder.write_json(to / "datasets.json", draft.datasets)
    seen.write(to / seen.FILE, fitted)
    folder.write_json(
        to / ENSEMBLE,
        {
            "format": FORMAT,
            "members": members,
            "temperature": {"frame": frame.value, "video": video.value},
            "fitted": {"frame": asdict(frame), "video": asdict(video)},
            "families": {"weights": sorted(set(families) - reserved), "temperature": sorted(reserved)},
        },
    )
