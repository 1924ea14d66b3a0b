"""The dataset's manipulation masks, cut like the crops; a missing mask is reported and changes nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from semblance.ingest.process.rows import stored
from semblance.ingest.recipe import Recipe
from semblance.ingest.records import Seen
from semblance.ingest.steps import crops
from semblance.manifests import storage
from semblance.manifests.errors import VideoError
from semblance.manifests.records import Mask, Properties, Video
from semblance.quality import measures, video
from semblance.quality.video import DecoderName


@dataclass(slots=True, kw_only=True)
class MaskVideo:
    """The mask video that belongs to one video; ``note`` says why some or all of its masks are missing."""

    path: str | None
    recipe: Recipe
    decoder: DecoderName
    note: str | None = None

    def attach(self, seen: Iterable[Seen], indices: Sequence[int], properties: Properties) -> Iterator[Seen]:
        """Add its mask to every face that becomes a sample, where the mask video has the frame.

        ``seen`` is in frame order; ``indices`` are the wanted frames.
        """
        if self.path is None:
            yield from seen
            return
        self.note = None  # it may describe an earlier attempt at the same video
        masks = self._masks(self.path, indices, properties)
        index, mask = next(masks, (None, None))
        missing: dict[int, None] = {}
        for observation in seen:
            while index is not None and index < observation.frame_index:
                index, mask = next(masks, (None, None))
            if mask is None or index != observation.frame_index:
                missing[observation.frame_index] = None
            elif observation.face is not None and stored(observation, self.recipe):
                mask_crop = crops.cut_mask(mask, observation.face, self.recipe.crop)
                observation = replace(observation, mask=mask_crop)
            yield observation
        if missing and self.note is None:
            self.note = (
                f"the mask video has no readable frame for {len(missing)} of the sampled frames (first: "
                f"{min(missing)}); these have no mask"
            )

    def _masks(self, path: str, indices: Sequence[int], properties: Properties) -> Iterator[tuple[int, Mask]]:
        """Masks by frame index, scaled to the video's size; none if the mask video is unusable."""
        width, height = properties.width or 0, properties.height or 0
        try:
            for frame in video.frames(path, indices, decoder=self.decoder):
                mask = measures.grey(frame.image)
                rows, columns = mask.shape
                if abs(columns * height - rows * width) > max(width, height):  # more than rounding of one side
                    self.note = f"the mask video is {columns}x{rows}, another aspect ratio than the video; not used"
                    return
                yield frame.index, crops.scale_mask(mask, width, height)
        except VideoError as error:
            self.note = f"the mask video cannot be read: {error}"


@contextlib.contextmanager
def open_mask(
    root: str, planned: Video, recipe: Recipe, decoder: DecoderName, without: str | None
) -> Iterator[MaskVideo]:
    """The mask video of ``planned``, if the recipe asks for masks.

    ``without`` is the reason for not reading it in this attempt; None reads it.
    """
    note = without
    if note is None and planned.mask is None and planned.label == 1:  # real videos need none
        note = "the dataset has no mask video for it"
    with contextlib.ExitStack() as stack:
        path = None
        if recipe.masks and planned.mask is not None and without is None:
            url = storage.join(root, planned.mask)
            if storage.exists(url):
                path = stack.enter_context(storage.local_copy(url))
            else:
                note = "the mask video no longer exists"
        yield MaskVideo(path=path, recipe=recipe, decoder=decoder, note=note if recipe.masks else None)
