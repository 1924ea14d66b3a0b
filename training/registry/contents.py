"""``package.json``: what a package holds, where its model comes from, and what its answers follow from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from semblance.manifests.config import Config, canonical_json, fingerprint
from semblance.manifests.errors import SemblanceError
from semblance.training.guard import crops

FILE: Final = "package.json"
FORMAT: Final = 1
LABELS: Final = ("real", "fake: a face in it was manipulated")  # what 0 and 1 mean; another meaning is a major version


class Parent(Config):
    """A run or file that a model's weights came from. ``sha256``: of its checkpoint, None if it is not there any more.

    ``role``: ``pretrained`` (first weights), ``frames`` (a frozen frame model) or ``teacher`` (learned from).
    """

    path: str
    role: str
    sha256: str | None = None


class MemberPart(Config):
    """One model. Files are relative to the package; ``sha256`` is that of its run's checkpoint.

    ``weights``: its tensors; ``frames``: those of the frame model below a clip model; ``features``: OpenVINO's graph.
    ``tensors``: the SHA-256 of all tensors by name. ``known``: whether the run keeps a record of what it has seen.
    """

    name: str
    weight: float
    mirror: bool
    weights: str
    frames: str | None = None
    features: str | None = None
    features_off: float | None = None  # the largest difference of a feature from torch's
    tensors: str
    sha256: str
    epoch: int  # from 0, as in checkpoints
    step: int
    size: int  # side of its pictures in px
    clip: int  # pictures of a score
    recipe: dict[str, Any]
    recipe_fingerprint: str
    datasets: tuple[dict[str, Any], ...]
    figures: dict[str, float | None]
    licence: str | None
    known: bool
    parents: tuple[Parent, ...] = ()


class Thresholds(Config):
    """Logits by level, and where they were chosen, in words."""

    limits: dict[str, float]
    source: str


class Contents(Config):
    """The whole. ``run``: the name of the run or ensemble that was packaged. ``files``: the SHA-256 of all other files.

    ``commit``: of the code that trained it, if its run knows that. ``checked``: the largest difference of a logit
    between package and run over ``reference.safetensors``.
    """

    format: int = FORMAT
    model: str
    version: str
    run: str
    created: str  # UTC
    members: tuple[MemberPart, ...] = Field(min_length=1)
    temperature: dict[str, float]  # frame, video
    calibrated: bool
    calibration_families: tuple[str, ...] = ()
    labels: tuple[str, ...] = LABELS
    thresholds: Thresholds | None = None
    versions: dict[str, str]  # of the software that made the package
    commit: str | None = None
    evaluation: bool = False
    checked: float = 0.0
    files: dict[str, str] = Field(default_factory=dict)

    @property
    def datasets(self) -> list[dict[str, Any]]:
        """The builds that its members learned, each once."""
        records = {canonical_json(record): record for member in self.members for record in member.datasets}
        return list(records.values())


class Identity(Config):
    """What decides a version: whether answers can be compared (``crops``, ``labels``), and the answers themselves.

    ``crops``: how the known builds that it was trained on were cut, each way once.
    """

    crops: tuple[dict[str, Any], ...]
    labels: tuple[str, ...]
    answers: dict[str, str]  # by part of the model, in words: a hash or value


def identity(contents: Contents) -> Identity:
    """The identity of a package."""
    cut = [crops.pixels(recipe) for recipe in crops.of_runs(contents.datasets)]
    ways = {canonical_json(one): one for one in cut}
    parts = {
        f"model {number}": fingerprint(
            {
                "tensors": one.tensors,
                "mirror": one.mirror,
                "size": one.size,
                "clip": one.clip,
                "model": {key: value for key, value in one.recipe["model"].items() if key not in _SOURCES},
            }
        )
        for number, one in enumerate(contents.members)
    }
    values = {
        "the weights of its models": canonical_json([one.weight for one in contents.members]),
        **{f"the temperature of {level}s": repr(value) for level, value in contents.temperature.items()},
    }
    return Identity(crops=tuple(ways[key] for key in sorted(ways)), labels=contents.labels, answers=parts | values)


def lineage(contents: Contents) -> dict[str, Any]:
    """Where it comes from, in short."""
    members = [
        {"name": one.name, "weight": one.weight, "sha256": one.sha256, "recipe": one.recipe["name"]}
        | {"recipe_fingerprint": one.recipe_fingerprint, "parents": [each.model_dump() for each in one.parents]}
        for one in contents.members
    ]
    named = [{key: str(record.get(key)) for key in ("dataset", "role", "fingerprint")} for record in contents.datasets]
    datasets = list({canonical_json(one): one for one in named}.values())
    about = {"run": contents.run, "created": contents.created, "commit": contents.commit}
    return about | {"members": members, "datasets": datasets}


_SOURCES: Final = ("pretrained", "frames_from")  # say where tensors came from, which are compared themselves


def parse(file: Path) -> Contents:
    """The contents of a package whose signature was verified. Raises SemblanceError if they are not of this format."""
    try:
        return Contents.model_validate_json(file.read_bytes())
    except OSError as error:
        raise SemblanceError(f"{file} cannot be read ({error.strerror}); name the folder of a package.") from error
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise SemblanceError(
            f"{file} is not of format {FORMAT} ({key or 'all of it'}: {fault['msg']}); use the version of semblance "
            "that made the package."
        ) from error
