"""Face crops: from bytes to scores, many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import Image
from semblance.quality import codec
from semblance.training.inference import crops
from semblance.training.inference.video import Scored
from semblance.training.serving.config import CropsConfig
from semblance.training.serving.models import Loaded
from semblance.training.serving.problems import ProblemError

_JPEG: Final = b"\xff\xd8"
_SCAN: Final = b"\xff\xda"  # begins a scan of a JPEG (ITU-T T.81 B.2.3), which takes 20 bytes and decodes all pixels
_SCANS: Final = 64  # some ten are usual in a progressive one


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crop:
    """One crop as it came, and who scores it."""

    content: bytes | Image
    model: Loaded


class Scorer:
    """Scores batches of crops, whose models may differ; a bad crop costs only its own result."""

    def __init__(self, config: CropsConfig, passes: int) -> None:
        self._config, self._passes = config, passes

    def __call__(self, items: Sequence[Crop]) -> list[Scored | Exception]:
        results: list[Scored | Exception] = [SemblanceError("not scored")] * len(items)
        good: dict[int, list[tuple[int, Image]]] = defaultdict(list)
        for place, item in enumerate(items):
            try:
                image = self._image(item.content)
            except ProblemError as error:
                results[place] = error
            else:
                good[id(item.model)].append((place, image))
        for one in good.values():
            model = items[one[0][0]].model
            for (place, _), result in zip(one, self._scored(model, [image for _, image in one]), strict=True):
                results[place] = result
        return results

    def _scored(self, model: Loaded, images: Sequence[Image]) -> Sequence[Scored | Exception]:
        try:
            return crops.score(model.predictor, images, self._passes)
        except UsageError as error:
            return [ProblemError(422, "bad_request", str(error))] * len(images)

    def _image(self, content: bytes | Image) -> Image:
        image = self.decoded(content) if isinstance(content, bytes) else content
        height, width = image.shape[:2]
        if height != width:
            raise ProblemError(
                422,
                "bad_request",
                f"The crop has {width}x{height} pixels, and faces are scored as squares; send a square cut around the "
                "face, or the whole picture to /v1/videos.",
            )
        return image

    def decoded(self, data: bytes) -> Image:
        """The picture (H, W, 3) uint8 RGB. Raises ProblemError for what is none, or claims too many pixels."""
        wrong = ProblemError(
            415, "wrong_type", "The request holds no JPEG, PNG or WebP picture; send a face crop as one."
        )
        try:
            width, height = codec.claimed_size(data)
        except SemblanceError:
            raise wrong from None
        if width * height > self._config.megapixels * 1e6:
            raise ProblemError(
                413,
                "too_large",
                f"The picture claims {width}x{height} pixels, more than {self._config.megapixels:g} million; send the "
                "face alone.",
            )
        if data.startswith(_JPEG) and data.count(_SCAN) > _SCANS:
            raise ProblemError(
                413, "too_large", f"The picture is a JPEG of more than {_SCANS} scans; encode it anew, with fewer."
            )
        try:
            return codec.decode(data)
        except SemblanceError:
            raise ProblemError(422, "decode_error", "The picture is damaged; send it again.") from None
