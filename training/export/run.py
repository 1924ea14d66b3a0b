"""One export: written beside its place, compared with the run on real crops, described, then published."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from semblance.manifests import storage
from semblance.manifests.config import readable_json
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import Image
from semblance.quality.resize import to_square
from semblance.training.data import peek, query
from semblance.training.data.query import QueryConfig
from semblance.training.evaluation.thresholds import Chosen
from semblance.training.export import graph, sidecar
from semblance.training.export.registry import FORMATS, Format, Pictures
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics.classification import Floats

CROPS: Final = 16  # for the comparison
TOLERANCE: Final = 1e-4  # of a logit, or of its size if that is above 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The files of an export, and the largest difference of a logit over ``pictures`` real crops."""

    files: tuple[str, ...]
    difference: float
    pictures: int


def export(
    predictor: Predictor,
    name: str,
    to: str | None = None,
    outs: Sequence[str] = (),
    thresholds: Chosen | None = None,
) -> Exported:
    """Write a run as format ``name`` to the file ``to``, by default in ``export/`` of its folder.

    FILE.json describes it. Both appear only after the file, opened by the software that it is for,
    has answered as the run does to crops from the builds ``outs``, by default those that it was trained with.
    ``thresholds``: val's, for the description. Raises UsageError for an unknown format, a suffix that is not
    its own or a run that it cannot hold. Raises SemblanceError if there are no crops, or if the answers differ.
    """
    kind = FORMATS.find(name)
    to = to or str(predictor.path / "export" / f"{kind.stem}{kind.suffix}")
    if not to.endswith(kind.suffix):
        raise UsageError(f"--to {to} must end in {kind.suffix} for --format {name}.")
    pictures = crops(predictor, outs)
    for member in predictor.members:
        member.trained.model.cpu()
    with storage.spool() as folder:
        file = folder / Path(to).name
        kind.write(predictor, file)
        difference, count = compare(predictor, kind, file, pictures, name)
        checked = {"pictures": count, "largest_difference_of_a_logit": difference, "tolerance": TOLERANCE}
        described = sidecar.describe(predictor, name, kind, thresholds) | {"checked": checked}
        file.with_name(f"{file.name}.json").write_text(readable_json(described), "utf-8")
        made = sorted(folder.iterdir(), key=lambda one: (one.name != file.name, one.suffix == ".json", one.name))
        targets = [to[: -len(file.name)] + one.name for one in made]
        for one, target in zip(made, targets, strict=True):
            storage.publish(str(one), target)
    return Exported(files=tuple(targets), difference=difference, pictures=count)


def crops(predictor: Predictor, outs: Sequence[str]) -> list[Image]:
    """Up to ``CROPS`` pictures of val or, if it is empty, of another split, from the first build that has some."""
    for out, split in itertools.product(outs or predictor.builds, ("val", "test", "train")):
        try:
            selection = query.select([out.rstrip("/")], split, QueryConfig(), unlabelled=True)
            return [image for _, image in itertools.islice(peek.images(selection), CROPS)]
        except SemblanceError:
            if outs and split == "train":
                raise
    raise SemblanceError(
        f"None of the builds that {predictor.name} was trained with is there, so its export cannot be compared with it "
        "on real crops; name a build with --data."
    )


def compare(predictor: Predictor, kind: Format, file: Path, images: Sequence[Image], name: str) -> tuple[float, int]:
    """The largest difference of a logit, one by one and together; raises SemblanceError above the tolerance."""
    pictures = {size: _batch(images, size, graph.clip(predictor)) for size in graph.sizes(predictor)}
    wanted_B = expected(predictor, kind, pictures)
    ask = kind.read(file, predictor)
    one = {size: bytes_BCSS[:1] for size, bytes_BCSS in pictures.items()}
    found_B = np.concatenate([ask(pictures), ask(one)])
    wanted_B = np.concatenate([wanted_B, wanted_B[:1]])
    off_B = np.abs(found_B - wanted_B)
    if not (off_B <= TOLERANCE * np.maximum(1, np.abs(wanted_B))).all():
        raise SemblanceError(
            f"The {name} file of {predictor.name} answers with logits up to {off_B.max():.3g} off the run's, more than "
            f"{TOLERANCE:g}, so it was not written; please report the model and the versions."
        )
    return float(off_B.max()), len(images)


def _batch(images: Sequence[Image], size: int, clip: int) -> Any:
    """uint8 (B, 3, size, size), or as many clips as they make, at least two: (B, clip, 3, size, size)."""
    bytes_BCSS = np.stack([to_square(image, size).transpose(2, 0, 1) for image in images])
    if clip == 1:
        return bytes_BCSS
    clips = max(len(images) // clip, 2)
    return np.resize(bytes_BCSS, (clips, clip, 3, size, size))  # repeated if they are too few


def expected(predictor: Predictor, kind: Format, pictures: Pictures) -> Floats:
    """(B,) the run's own logits, in float32 on the CPU."""
    parts: list[Any] = []
    for member in predictor.members:
        bytes_BCSS = torch.from_numpy(pictures[member.size])
        logit_B = graph.plain_logit(member, bytes_BCSS)
        if member.mirror and kind.answers == "score":
            logit_B = (logit_B + graph.plain_logit(member, bytes_BCSS.flip(-1))) / 2
        parts.append(logit_B.double().numpy())
    return np.asarray(predictor.combine(parts))
