"""A trained run ready to judge pictures: one model, or an ensemble of several; both answer alike.

B: batch, M: members.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from torch import Tensor

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import Image
from semblance.quality.resize import to_square
from semblance.training.data.loader import Loader, World, as_floats, floats
from semblance.training.data.query import Selection
from semblance.training.data.worker import Transform
from semblance.training.records import Batch
from semblance.training.runs import checkpoint
from semblance.training.runs import folder as rundir
from semblance.training.runs.checkpoint import Trained

ENSEMBLE: Final = "ensemble.json"
FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Member:
    """One model. ``key`` is its checkpoint's SHA-256: members that several judges share are asked once."""

    name: str
    key: str
    file: Path
    trained: Trained

    @property
    def size(self) -> int:
        """px, the side of the pictures that it takes."""
        return self.trained.recipe.augment.size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictor:
    """A run: the weighted mean of its members' logits, and the temperatures that make probabilities of them.

    ``apart``: families of val that the temperatures were fitted on; no threshold is chosen on them.
    """

    name: str
    path: Path
    members: tuple[Member, ...]
    weights: tuple[float, ...]  # add up to 1
    frame_temperature: float = 1.0
    video_temperature: float = 1.0
    calibrated: bool = False
    apart: frozenset[str] = frozenset()

    @property
    def datasets(self) -> list[dict[str, Any]]:
        """The builds that its members were trained with, as in datasets.json."""
        return [one for member in self.members for one in member.trained.datasets]

    @property
    def split_column(self) -> str:
        return self.members[0].trained.recipe.data.split_column

    def combine(self, logits_MB: Sequence[Any]) -> Any:
        """The members' logits, tensors, arrays or expressions, to one."""
        return sum(weight * logit_B for weight, logit_B in zip(self.weights, logits_MB, strict=True))

    def probability(self, logit: Any, level: str) -> Any:
        """The calibrated probability of fake of array-like logits; ``level`` is ``frame`` or ``video``."""
        temperature = self.frame_temperature if level == "frame" else self.video_temperature
        return sigmoid(np.asarray(logit, np.float64) / temperature)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(x, np.float64)))


def load(path: str | Path) -> Predictor:
    """The judge in a run folder, of ``training fit`` or of ``training ensemble``.

    Raises UsageError where the folder holds neither, SemblanceError for a damaged checkpoint.
    """
    folder = Path(path)
    name = folder.resolve().name
    if (folder / ENSEMBLE).exists():
        return _ensemble(folder, name)
    run = rundir.RunDir(folder)
    if not run.best.exists():
        raise UsageError(
            f"{folder} holds no trained run (no {run.best.relative_to(folder)}, no {ENSEMBLE}); name the --run of a "
            "`training fit` or the --to of a `training ensemble`."
        )
    return Predictor(name=name, path=folder, members=(member(name, run.best),), weights=(1.0,))


def load_all(paths: Sequence[str]) -> list[Predictor]:
    """The judges of several folders; raises UsageError where two have one name, since tables tell them by it."""
    judges = [load(path) for path in paths]
    names = [judge.name for judge in judges]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"Two runs are named {twice[0]!r}; rename the folder of one.")
    return judges


def member(name: str, file: Path) -> Member:
    """The model of one checkpoint."""
    trained = checkpoint.trained(file)
    with file.open("rb") as opened:
        key = hashlib.file_digest(opened, "sha256").hexdigest()
    return Member(name=name, key=key, file=file, trained=trained)


def _ensemble(folder: Path, name: str) -> Predictor:
    value = rundir.read_json(folder / ENSEMBLE)
    try:
        if value["format"] != FORMAT:
            raise ValueError
        members = tuple(member(one["name"], folder / one["file"]) for one in value["members"])
        for found, told in zip(members, value["members"], strict=True):
            if found.key != told["sha256"]:
                raise SemblanceError(
                    f"{found.file} is not the checkpoint that {folder / ENSEMBLE} names; combine again."
                )
        return Predictor(
            name=name,
            path=folder,
            members=members,
            weights=tuple(float(one["weight"]) for one in value["members"]),
            frame_temperature=float(value["temperature"]["frame"]),
            video_temperature=float(value["temperature"]["video"]),
            calibrated=True,
            apart=frozenset(value["families"]["temperature"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SemblanceError(f"{folder / ENSEMBLE} is damaged; run `training ensemble` again.") from error


def device() -> torch.device:
    """A GPU where torch can use one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def members_of(judges: Sequence[Predictor]) -> dict[str, Member]:
    """Each different member once, by key."""
    return {one.key: one for judge in judges for one in judge.members}


Ask = Callable[[Member, Tensor], Mapping[str, Tensor]]  # pictures (B, 3, H, W) in [0, 1] to columns (B,)


def logits(member: Member, image_BCHW: Tensor) -> dict[str, Tensor]:
    """Column ``logit``, and ``mirror``, the mean with the mirror image's, where the recipe wants that."""
    logit_B = member.trained.model(image_BCHW).logit_B
    if member.trained.recipe.tta != "mirror":
        return {"logit": logit_B}
    other_B = member.trained.model(image_BCHW.flip(3)).logit_B
    return {"logit": logit_B, "mirror": (logit_B + other_B) / 2}


def ask(
    members: Mapping[str, Member],
    chosen: Selection,
    *,
    question: Ask = logits,
    transform: Transform | None = None,
    batch: int = 32,
    workers: int | None = None,
) -> dict[str, pl.DataFrame]:
    """What each member says of every chosen picture: by key, a table with sample_id and the question's columns.

    Pictures are read once for each size that members take. ``transform`` changes them before. Raises SemblanceError
    for a damaged shard, or a logit that is no number.
    """
    where = device()
    workers = min(max(len(os.sched_getaffinity(0)) - 1, 0), 8) if workers is None else workers
    answers: dict[str, list[pl.DataFrame]] = {key: [] for key in members}
    for size in sorted({one.size for one in members.values()}):
        asked = {key: one for key, one in members.items() if one.size == size}
        for one in asked.values():
            one.trained.model.to(where)
        loader = Loader(
            chosen, batch=batch, world=World(), workers=workers, transform=transform, size=size, as_bytes=True
        )
        with torch.inference_mode():
            for pictures in loader:
                image_BCHW = as_floats(pictures.to(where)).image_BCHW
                for key, one in asked.items():
                    answers[key].append(_rows(one, pictures, question(one, image_BCHW)))
    return {key: pl.concat(rows) for key, rows in answers.items()}


def _rows(member: Member, pictures: Batch, columns: Mapping[str, Tensor]) -> pl.DataFrame:
    values = {name: value_B.double().cpu().numpy() for name, value_B in columns.items()}
    for value_B in values.values():
        if not np.isfinite(value_B).all():
            bad = pictures.sample_ids[int(np.flatnonzero(~np.isfinite(value_B))[0])]
            raise SemblanceError(f"The model {member.name} gives no number for {bad}; take another checkpoint of it.")
    return pl.DataFrame({"sample_id": list(pictures.sample_ids), **values})


def batches(images: Sequence[Image], size: int, batch: int = 32) -> Iterator[Tensor]:
    """Crops (S, S, 3) as float batches (B, 3, size, size) in [0, 1], resized as the loader does."""
    for first in range(0, len(images), batch):
        resized = np.stack([to_square(image, size) for image in images[first : first + batch]])
        yield floats(torch.from_numpy(resized).permute(0, 3, 1, 2))
