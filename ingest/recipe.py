"""The recipe: every setting that decides the content of a build, and none that only decides its speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from semblance.ingest.dates import TemporalConfig
from semblance.ingest.detector.door import DetectConfig
from semblance.ingest.limits import LimitsConfig
from semblance.ingest.sources.base import SourceConfig
from semblance.ingest.steps.crops import CropConfig
from semblance.ingest.steps.pairing import GuideConfig
from semblance.ingest.steps.recompress import RecompressConfig
from semblance.ingest.steps.sampling import DecodeConfig, SamplingConfig
from semblance.ingest.steps.tracks import TrackConfig
from semblance.manifests import config
from semblance.manifests.config import Config
from semblance.manifests.splits import SplitConfig
from semblance.quality.codec import EncodingConfig
from semblance.quality.gates import GatesConfig
from semblance.shards.plan import ShardConfig


class Recipe(Config):
    """A complete recipe; its defaults are the training plan's.

    ``masks``: store the dataset's manipulation mask next to each crop, if the dataset has one, cut by the same
    geometry with nearest neighbours. A mask that is missing, unreadable or too short sets column ``mask`` to false and
    ``mask_note`` of its video, and changes nothing else. The meaning of a mask differs by method: in FaceForensics++,
    those of Deepfakes are rectangles and those of NeuralTextures come from face tracking.
    """

    name: str = "plan"
    seed: int = 0
    limit: int | None = Field(default=None, ge=1)  # plan only this many videos, family by family
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
    recompress: RecompressConfig = RecompressConfig()
    encoding: EncodingConfig = EncodingConfig()
    split: SplitConfig = SplitConfig()
    temporal: TemporalConfig = TemporalConfig()
    shards: ShardConfig = ShardConfig()
    limits: LimitsConfig = LimitsConfig()

    @model_validator(mode="after")
    def _masks_need_exact_frames(self) -> Self:
        if self.masks and self.decode.skip != "none":
            raise ValueError("masks belong to exact frames: masks=true needs decode.skip=none")
        return self


# The last two reproduce the geometry and frames of the named pipelines; pixels differ, since their detectors do.
NAMED: Final[dict[str, dict[str, Any]]] = {
    "plan": {},
    # DeepfakeBench: the largest face in each of 32 frames, five-point aligned, margin 1.3, 256 px.
    "deepfakebench": {"faces": "largest", "crop": {"kind": "aligned", "margin": 1.3, "size": 256}},
    # Selim Seferbekov's DFDC solution: every 10th frame, boxes enlarged by a third on each side, 380 px. The crops
    # are the squares around those boxes.
    "selim": {"sampling": {"mode": "every", "k": 10}, "crop": {"margin": 5 / 3, "size": 380}},
}


def load(name_or_file: str, settings: Sequence[str] = (), limit: int | None = None) -> Recipe:
    """The recipe with this name or from this YAML or JSON file, overridden by ``key=value`` settings.

    Raises UsageError for an unknown name, an unreadable file, an unknown key or a value out of range.
    """
    values = config.apply_settings(config.read(NAMED, name_or_file), settings)
    if limit is not None:
        values["limit"] = limit
    return parse(values, name_or_file)


def parse(values: Mapping[str, Any], where: str) -> Recipe:
    """A validated recipe; raises UsageError that names ``where`` and the first invalid key."""
    return config.parse(Recipe, values, where)
