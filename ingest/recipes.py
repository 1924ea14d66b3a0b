"""The recipe: everything that decides what comes out, and nothing that only decides how fast."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import Field, ValidationError

from ingest.crops import CropConfig
from ingest.dates import TemporalConfig
from ingest.decode import DecodeConfig, SamplingConfig
from ingest.faces import DetectConfig
from ingest.guide import GuideConfig
from ingest.sources.base import SourceConfig
from ingest.supervise import LimitsConfig
from ingest.tracks import TrackConfig
from manifests.recipe import Config
from manifests.records import UsageError
from manifests.splits import SplitConfig
from quality.codec import EncodingConfig
from quality.gates import GatesConfig
from shards.write import ShardConfig


class Recipe(Config):
    """A complete recipe; its defaults are the training plan's.

    ``masks``: store the dataset's manipulation mask beside each crop, cut by the same geometry with nearest
    neighbours, where the dataset has one. A mask that lacks, ends early or cannot be read is a false in column
    ``mask`` and a ``mask_note`` of its video, and changes nothing else. What a mask marks differs by method (in
    FaceForensics++ Deepfakes' are rectangles, NeuralTextures' come from face tracking).
    """

    name: str = "plan"
    seed: int = 0
    limit: int | None = Field(default=None, ge=1)  # plan only the first videos, whole families first
    faces: Literal["all", "largest"] = "all"
    masks: bool = False
    source: SourceConfig = SourceConfig()
    sampling: SamplingConfig = SamplingConfig()
    decode: DecodeConfig = DecodeConfig()
    detect: DetectConfig = DetectConfig()
    track: TrackConfig = TrackConfig()
    guide: GuideConfig = GuideConfig()
    crop: CropConfig = CropConfig()
    gates: GatesConfig = GatesConfig()
    encoding: EncodingConfig = EncodingConfig()
    split: SplitConfig = SplitConfig()
    temporal: TemporalConfig = TemporalConfig()
    shards: ShardConfig = ShardConfig()
    limits: LimitsConfig = LimitsConfig()


# Geometry and frames of these two are the named pipelines'; their pixels are not, since the detectors differ.
NAMED: Final[dict[str, dict[str, Any]]] = {
    "plan": {},
    # DeepfakeBench: the largest face of 32 frames, five-point aligned, margin 1.3, 256 px.
    "deepfakebench": {"faces": "largest", "crop": {"kind": "aligned", "margin": 1.3, "size": 256}},
    # Selim Seferbekov's DFDC solution: every 10th frame, boxes enlarged by a third on each side, 380 px. Crops
    # here are the squares around those boxes.
    "selim": {"sampling": {"mode": "every", "k": 10}, "crop": {"margin": 5 / 3, "size": 380}},
}


def load(name_or_file: str, settings: Sequence[str] = (), limit: int | None = None) -> Recipe:
    """The recipe that a name or a YAML or JSON file gives, with ``key=value`` settings laid over it.

    Raises UsageError for an unknown name, an unreadable file, an unknown key or a value out of range.
    """
    values = _named(name_or_file)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r} has no value; write it as key=value, e.g. --set sampling.n=16.")
        _put(values, key.strip(), text)
    if limit is not None:
        values["limit"] = limit
    return parse(values, name_or_file)


def parse(values: Mapping[str, Any], where: str) -> Recipe:
    """A validated recipe; raises UsageError with the first fault in one sentence."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            known = ", ".join(_known(fault["loc"]))
            raise UsageError(f"The recipe {where} has the unknown key {key!r}; known keys here are {known}.") from error
        raise UsageError(f"The recipe {where} has a wrong value for {key!r}: {fault['msg']}.") from error


def _named(name_or_file: str) -> dict[str, Any]:
    if name_or_file in NAMED:
        return {"name": name_or_file} | copy.deepcopy(NAMED[name_or_file])
    file = Path(name_or_file)
    if not file.is_file():
        raise UsageError(f"There is no recipe {name_or_file!r}: it is neither a file nor one of {', '.join(NAMED)}.")
    try:
        values = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError(
            f"The recipe file {name_or_file} cannot be read as YAML or JSON ({_first_line(error)})."
        ) from error
    if not isinstance(values, dict):
        raise UsageError(f"The recipe file {name_or_file} must hold a mapping of keys to values.")
    return {"name": file.stem} | values


def _put(values: dict[str, Any], key: str, text: str) -> None:
    """Lay ``text``, read as YAML, at the dotted ``key``."""
    *sections, last = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UsageError(f"--set {key}: {section!r} is a value, not a section of the recipe.")
        values = inner
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {key}: {text!r} is no YAML value.") from error


def _known(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the section of a faulty key does have."""
    model: type[Config] = Recipe
    for part in location[:-1]:
        kind = model.model_fields[str(part)].annotation
        if not (isinstance(kind, type) and issubclass(kind, Config)):
            break
        model = kind
    return sorted(model.model_fields)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
