"""A run or ensemble as a folder that answers anywhere: weights, description, card, and what it was trained on.

::

    DIR/package.json              what is in it, and where it comes from (training/registry/contents.py)
    DIR/weights/N.safetensors     the tensors of member N; of a clip model also N-frames.safetensors
    DIR/features/N.xml, N.bin     OpenVINO's graph of member N's features, if it has any
    DIR/seen.parquet              hashed ids of all that its members were trained and selected on
    DIR/reference.safetensors     pictures and the run's logits of them
    DIR/CARD.md                   the model card
    DIR/evaluation.json           the evaluation, if one was given
    DIR/model.sig                 the signature of all of it
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from semblance.manifests import storage
from semblance.manifests.config import fingerprint, readable_json
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Image
from semblance.training.evaluation.record import Record
from semblance.training.evaluation.thresholds import Chosen
from semblance.training.export import features
from semblance.training.guard import seen
from semblance.training.guard.seen import Seen
from semblance.training.inference.member import Member
from semblance.training.inference.predictor import Predictor
from semblance.training.recipes.base import TrainingRecipe
from semblance.training.registry import card, contents, lineage, reference, signature, weights
from semblance.training.registry.contents import Contents, MemberPart, Thresholds
from semblance.training.registry.records import Package, Semantic
from semblance.training.runs import folder as runs
from semblance.training.runs.checkpoint import Trained

EVALUATION: Final = "evaluation.json"
_SEEN: Final = seen.FILE


def write(
    predictor: Predictor,
    to: Path,
    *,
    model: str,
    version: Semantic,
    evaluation: Path | None = None,
    thresholds: Chosen | None = None,
    images: Sequence[Image] = (),
    graphs: bool = True,
    now: datetime.datetime | None = None,
) -> Contents:
    """Package a run into the empty or new folder ``to``, and check that the package answers as the run does.

    ``graphs``: with OpenVINO's features, which are compared with torch's on the crops ``images`` too. ``evaluation``:
    an evaluation.json of this very run. Raises SemblanceError if the package answers otherwise, or the evaluation is of
    another run.
    """
    to.mkdir(parents=True, exist_ok=True)
    judged = None if evaluation is None else evaluated(evaluation, predictor)
    members = tuple(
        _member(one, weight, place, to, images if graphs else None)
        for place, (one, weight) in enumerate(zip(predictor.members, predictor.weights, strict=True))
    )
    seen.write(to / _SEEN, seen.union(predictor.records))
    reference.write(predictor, to / reference.FILE)
    made = Contents(
        model=model,
        version=str(version),
        run=predictor.name,
        created=(now or datetime.datetime.now(datetime.UTC)).isoformat(timespec="seconds"),
        members=members,
        temperature={"frame": predictor.frame_temperature, "video": predictor.video_temperature},
        calibrated=predictor.calibrated,
        calibration_families=tuple(sorted(predictor.calibration_families)),
        thresholds=None
        if thresholds is None
        else Thresholds(limits=dict(thresholds.limits.items()), source=thresholds.source),
        versions=runs.versions(),
        commit=lineage.commit(predictor),
        evaluation=judged is not None,
    )
    off = reference.difference(_predictor(made, to), to / reference.FILE)
    if not off <= reference.TOLERANCE:
        raise SemblanceError(
            f"The package of {predictor.name} answers with logits up to {off:.3g} off the run's, so it was not made; "
            "please report the model and the versions."
        )
    made = made.model_copy(update={"checked": off})
    if evaluation is not None:
        storage.publish(str(evaluation), str(to / EVALUATION))
    storage.write_bytes(str(to / card.FILE), card.make(made, judged).encode())
    made = made.model_copy(update={"files": hashes(to)})
    storage.write_bytes(str(to / contents.FILE), readable_json(made.model_dump(mode="json")).encode())
    return made


def _member(member: Member, weight: float, place: int, to: Path, images: Sequence[Image] | None) -> MemberPart:
    trained = member.trained
    file, graph = to / "weights" / f"{place}.safetensors", to / "features" / f"{place}.xml"
    frames = weights.write(member, file)
    off = None
    if images is not None and features.has_any(trained.model):
        graph.parent.mkdir(exist_ok=True)
        off = features.write(member, graph, images)
    recipe = trained.recipe.model_dump(mode="json")
    return MemberPart(
        name=member.name,
        weight=weight,
        mirror=member.mirror,
        weights=_named(file, to),
        frames=None if frames is None else _named(frames, to),
        features=None if off is None else _named(graph, to),
        features_off=off,
        tensors=weights.digest(member),
        sha256=member.sha256,
        epoch=trained.epoch,
        step=trained.step,
        size=member.size,
        clip=member.clip,
        recipe=recipe,
        recipe_fingerprint=fingerprint(recipe),
        datasets=tuple(trained.datasets),
        figures=_finite(trained.figures),
        licence=trained.model.licence,
        known=trained.seen is not None,
        parents=lineage.parents(trained.recipe),
    )


def load(folder: Path, public_key: Path) -> Package:
    """Verify the signature of a package, then read it. Nothing of it is parsed before.

    Raises SemblanceError as ``signature.verify`` does, and if this version of semblance cannot read it.
    """
    signature.verify(folder, public_key)
    return opened(folder)


def opened(folder: Path) -> Package:
    """A package whose signature was verified, or that was just made."""
    found = contents.parse(folder / contents.FILE)
    return Package(
        folder=folder,
        predictor=_predictor(found, folder),
        sha256=sha256(folder / contents.FILE),
        features=tuple(None if one.features is None else folder / one.features for one in found.members),
    )


def _predictor(found: Contents, folder: Path) -> Predictor:
    """The predictor of a package: its members have what they have seen from one file, which holds all of it."""
    known = seen.read(folder / _SEEN)
    alone = len(found.members) == 1
    members = tuple(_restored(one, folder, known if alone else seen.union([])) for one in found.members)
    return Predictor(
        name=found.model,
        path=folder,
        members=members,
        weights=tuple(one.weight for one in found.members),
        frame_temperature=found.temperature["frame"],
        video_temperature=found.temperature["video"],
        calibrated=found.calibrated,
        calibration_families=frozenset(found.calibration_families),
        seen=None if alone else known,
    )


def _restored(part: MemberPart, folder: Path, known: Seen | None) -> Member:
    recipe = TrainingRecipe.model_validate(part.recipe)
    file = folder / part.weights
    model = weights.restored(recipe, file, None if part.frames is None else folder / part.frames, part.licence)
    trained = Trained(
        model=model,
        recipe=recipe,
        datasets=list(part.datasets),
        epoch=part.epoch,
        step=part.step,
        figures=dict(part.figures),
        seen=known if part.known else None,
    )
    return Member(name=part.name, sha256=part.sha256, file=file, trained=trained, mirror=part.mirror)


def evaluated(file: Path, predictor: Predictor) -> Record:
    """An evaluation.json; raises SemblanceError if it is none, or not of this run's checkpoints."""
    record = read_evaluation(file)
    wanted = sorted(member.key for member in predictor.members)
    for run in record.runs:
        if run.name == predictor.name and sorted(one.sha256 for one in run.models) == wanted:
            return record
    names = ", ".join(run.name for run in record.runs)
    raise SemblanceError(
        f"{file} evaluates {names}, not the checkpoints of {predictor.name}; run `training evaluate` on this run."
    )


def read_evaluation(file: Path) -> Record:
    """An evaluation.json; raises SemblanceError if it is none of this version."""
    try:
        return Record.model_validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SemblanceError(
            f"{file} is no evaluation.json of this version ({reason}); write one with `training evaluate`."
        ) from error


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file but package.json and the signature, by its name relative to the folder."""
    left = (contents.FILE, signature.FILE)
    files = sorted(one for one in folder.rglob("*") if one.is_file() and _named(one, folder) not in left)
    return {_named(one, folder): sha256(one) for one in files}


def sha256(file: Path) -> str:
    """The SHA-256 of a file in hex."""
    with file.open("rb") as opened_file:
        return hashlib.file_digest(opened_file, "sha256").hexdigest()


def _named(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()


def _finite(figures: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: value if value is not None and value - value == 0 else None for name, value in figures.items()}
