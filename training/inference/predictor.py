"""Trained runs, ready to score pictures: a run is one model or an ensemble of several, with the same interface.

A model over clips scores pictures too: with the mean logit of the clips that hold a picture, of all that cover its
person (``units.cover``). So its scores join those of any other model, picture by picture.

B: batch, U: units of a batch (pictures, or clips of a clip model), N: pictures, M: members.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from torch import Tensor

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import Image
from semblance.training.data import query, units
from semblance.training.data.loader import Loader, Transfer, as_floats
from semblance.training.data.query import Selection
from semblance.training.data.worker import SampleTransform, Transform
from semblance.training.guard import seen
from semblance.training.guard.seen import Seen
from semblance.training.inference import precision
from semblance.training.inference.member import BATCH, Forward, Member, forward, image_outputs, numbers
from semblance.training.inference.precision import device
from semblance.training.metrics.classification import Floats
from semblance.training.models import tensors
from semblance.training.records import Batch
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir, read_json

ENSEMBLE: Final = tensors.ENSEMBLE_FILE
FORMAT: Final = 2
_BEFORE_MIRRORS: Final = 1  # the format of ensembles that were fitted on the pictures alone, whatever the recipe asks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictor:
    """A run: the weighted mean of its members' logits, and the temperatures that turn it into a probability.

    ``calibration_families``: families of val that the temperatures were fitted on; no threshold is chosen on them.
    ``seen``: all of the val that an ensemble was fitted on; its members keep what they were trained on.
    """

    name: str
    path: Path
    members: tuple[Member, ...]
    weights: tuple[float, ...]  # add up to 1
    frame_temperature: float = 1.0
    video_temperature: float = 1.0
    calibrated: bool = False
    calibration_families: frozenset[str] = frozenset()
    seen: Seen | None = None

    @property
    def datasets(self) -> list[dict[str, Any]]:
        """The builds that its members were trained with, as in datasets.json."""
        return [record for member in self.members for record in member.trained.datasets]

    @property
    def builds(self) -> list[str]:
        """The places of the builds that its members were trained with, each once."""
        trained = (str(record["out"]) for record in self.datasets if record.get("role") == "train")
        return list(dict.fromkeys(trained))

    @property
    def records(self) -> list[Seen]:
        """What its members and it have seen, as far as it is known."""
        known = (*(member.trained.seen for member in self.members), self.seen)
        return [record for record in known if record is not None]

    @property
    def split_column(self) -> str:
        return self.members[0].trained.recipe.data.split_column

    def logits(self, images: Sequence[Image], faces: pl.DataFrame | None = None) -> Floats:
        """(N,) logits of square crops, each (S, S, 3) uint8 RGB. Raises SemblanceError for one that is not finite.

        ``faces``: whose and when they are, as for ``member_outputs``.
        """
        return self.finite(self.combine([columns["logit"] for columns in self.member_outputs(images, faces=faces)]))

    def finite(self, logit_N: Any) -> Floats:
        """The logits, if all are finite; raises SemblanceError otherwise."""
        if not np.isfinite(logit_N).all():
            raise SemblanceError(f"A logit of {self.name} is not finite; use another checkpoint.")
        return np.asarray(logit_N)

    def member_outputs(
        self, images: Sequence[Image], forward: Forward = forward, *, faces: pl.DataFrame | None = None
    ) -> list[dict[str, Floats]]:
        """What ``forward`` returns for each member and square crop: columns (N,).

        ``faces``: sample_id, video_id, person, track and frame_index of the N crops, of which clips are made. Raises
        SemblanceError if a member scores clips and nobody says whose faces these are.
        """
        with torch.inference_mode():
            return [image_outputs(member, images, forward, faces) for member in self.members]

    def combine(self, logits_MB: Sequence[Any]) -> Any:
        """The weighted mean of the members' logits: tensors, arrays or expressions."""
        return sum(weight * logit_B for weight, logit_B in zip(self.weights, logits_MB, strict=True))

    def probability(self, logit: Any, level: str) -> Any:
        """The calibrated probability of fake for array-like logits; ``level`` is ``frame`` or ``video``."""
        temperature = self.frame_temperature if level == "frame" else self.video_temperature
        return sigmoid(np.asarray(logit, np.float64) / temperature)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(x, np.float64)))


def load(path: str | Path) -> Predictor:
    """The predictor in a run folder, written by ``training fit`` or ``training ensemble``.

    Raises UsageError if the folder is not a run, SemblanceError for a damaged checkpoint.
    """
    folder = Path(path)
    name = folder.resolve().name
    if (folder / ENSEMBLE).exists():
        return _ensemble(folder, name)
    run = RunDir(folder)
    if not run.best.exists():
        raise UsageError(
            f"{folder} is not a trained run ({run.best.relative_to(folder)} and {ENSEMBLE} are missing); pass the "
            "--run of a `training fit` or the --to of a `training ensemble`."
        )
    return Predictor(name=name, path=folder, members=(load_member(name, run.best),), weights=(1.0,))


def load_all(paths: Sequence[str]) -> list[Predictor]:
    """The predictors of several folders. Raises UsageError if two have the same name, which tables identify them by."""
    predictors = [load(path) for path in paths]
    names = [predictor.name for predictor in predictors]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"Two runs are named {duplicates[0]!r}; rename the folder of one.")
    return predictors


def load_member(name: str, file: Path, mirror: bool | None = None) -> Member:
    """The model of one checkpoint. ``mirror``: with the mirror image's logit; None: as its recipe says.

    Raises UsageError for a run that learned without labels, whose logit says nothing.
    """
    trained = checkpoint.trained(file)
    if not trained.recipe.regime.labelled:
        raise UsageError(
            f"{name} learned without labels (regime {trained.recipe.regime.kind}), so it scores nothing; train a run "
            "that starts from it, with --set model.pretrained=RUN, and use that."
        )
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    mirror = trained.recipe.tta == "mirror" if mirror is None else mirror
    return Member(name=name, sha256=sha256, file=file, trained=trained, mirror=mirror)


def _ensemble(folder: Path, name: str) -> Predictor:
    value = read_json(folder / ENSEMBLE)
    try:
        if value["format"] not in (_BEFORE_MIRRORS, FORMAT):
            raise ValueError
        members = tuple(
            load_member(record["name"], folder / record["file"], bool(record.get("mirror", False)))
            for record in value["members"]
        )
        for member, record in zip(members, value["members"], strict=True):
            if member.sha256 != record["sha256"]:
                raise SemblanceError(
                    f"{member.file} is not the checkpoint listed in {folder / ENSEMBLE}; run `training ensemble` again."
                )
        return Predictor(
            name=name,
            path=folder,
            members=members,
            weights=tuple(float(record["weight"]) for record in value["members"]),
            frame_temperature=float(value["temperature"]["frame"]),
            video_temperature=float(value["temperature"]["video"]),
            calibrated=True,
            calibration_families=frozenset(value["families"]["temperature"]),
            seen=seen.read(folder / seen.FILE),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SemblanceError(f"{folder / ENSEMBLE} is damaged; run `training ensemble` again.") from error


def distinct_members(predictors: Sequence[Predictor]) -> dict[str, Member]:
    """The members of all predictors by key, each once."""
    return {member.key: member for predictor in predictors for member in predictor.members}


def selection_outputs(
    members: Mapping[str, Member],
    selection: Selection,
    *,
    forward: Forward = forward,
    transform: Transform | None = None,
    batch: int = BATCH,
    workers: int | None = None,
) -> dict[str, pl.DataFrame]:
    """What ``forward`` returns for each member and selected picture: by key, a table of sample_id and its columns.

    Pictures are read once for every input size and length of clips among the members, and changed by ``transform``
    first. ``selection`` is of single frames, of which clips are made for members that score them. ``batch``: pictures,
    at least those of a clip. Raises SemblanceError for a damaged shard, or for an output that is not finite.
    """
    workers = min(max(len(os.sched_getaffinity(0)) - 1, 0), 8) if workers is None else workers
    tables: dict[str, list[pl.DataFrame]] = {key: [] for key in members}
    for size, length in sorted({(member.size, member.clip) for member in members.values()}):
        alike = {key: one for key, one in members.items() if (one.size, one.clip) == (size, length)}
        for member in alike.values():
            precision.place(member.trained.model, device())
        loader = Loader(
            selection if length == 1 else query.cover(selection, length),
            batch=max(batch // length, 1),
            workers=workers,
            transform=SampleTransform(image=transform),
            size=size,
            transfer=Transfer(as_bytes=True),
        )
        with torch.inference_mode():
            for pictures in loader:
                image_BCHW = as_floats(pictures.to(device())).image_BCHW
                for key, member in alike.items():
                    tables[key].append(_rows(member, pictures, forward(member, image_BCHW)))
    found = {key: pl.concat(rows) for key, rows in tables.items()}
    return {key: rows if members[key].clip == 1 else units.mean(rows) for key, rows in found.items()}


def _rows(member: Member, pictures: Batch, columns: Mapping[str, Tensor]) -> pl.DataFrame:
    values = {name: numbers(value_B) for name, value_B in columns.items()}
    for value_B in values.values():
        if not np.isfinite(value_B).all():
            name = pictures.sample_ids[int(np.flatnonzero(~np.isfinite(value_B))[0]) * member.clip]
            raise SemblanceError(f"The logit of model {member.name} for {name} is not finite; use another checkpoint.")
    return units.of_pictures(pictures.sample_ids, values)
