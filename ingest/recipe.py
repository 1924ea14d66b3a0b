"""The recipe: everything that decides what comes out, and nothing that only decides how fast."""

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
    recompress: RecompressConfig = RecompressConfig()
    encoding: EncodingConfig = EncodingConfig()
    split: SplitConfig = SplitConfig()
    temporal: TemporalConfig = TemporalConfig()
    shards: ShardConfig = ShardConfig()
    limits: LimitsConfig = LimitsConfig()

    @model_validator(mode="after")
    def _masks_lie_on_exact_frames(self) -> Self:
        if self.masks and self.decode.skip != "none":
            raise ValueError("masks lie on exact frames: masks=true needs decode.skip=none")
        return self

    @property
    def deadline(self) -> LimitsConfig:
        """What a video may cost: a video that is encoded once more takes up to as long again as one that is not."""
        return self.limits if self.recompress.crf is None else self.limits.times(2)


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
    values = config.lay_over(config.read(NAMED, name_or_file), settings)
    if limit is not None:
        values["limit"] = limit
    return parse(values, name_or_file)


def parse(values: Mapping[str, Any], where: str) -> Recipe:
    """A validated recipe; raises UsageError with the first fault in one sentence."""
    return config.parse(Recipe, values, where)
