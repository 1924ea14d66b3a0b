"""The dataset's manipulation masks, cut out beside the crops; a mask that lacks is told and harms nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from semblance.ingest.process.rows import stored
from semblance.ingest.recipe import Recipe
from semblance.ingest.records import Seen
from semblance.ingest.steps import crops, sampling
from semblance.manifests import storage
from semblance.manifests.errors import VideoError
from semblance.manifests.records import Mask, Properties, Video
from semblance.quality import measures
from semblance.quality.video import DecoderName


@dataclass(slots=True, kw_only=True)
class Masks:
    """The mask video beside one video; ``note`` says why some or all of its frames lack one."""

    path: str | None
    recipe: Recipe
    decoder: DecoderName
    note: str | None = None

    def lay(self, seen: Iterable[Seen], indices: Sequence[int], properties: Properties) -> Iterator[Seen]:
        """Every face that becomes a sample with its mask, where the mask video has its frame.

        ``seen`` comes in the order of its frames, the wanted ones being ``indices``.
        """
        if self.path is None:
            yield from seen
            return
        self.note = None  # of an earlier walk over the same video
        masks = self._masks(self.path, indices, properties)
        index, mask = next(masks, (None, None))
        lacking: dict[int, None] = {}
        for one in seen:
            while index is not None and index < one.frame_index:
                index, mask = next(masks, (None, None))
            if mask is None or index != one.frame_index:
                lacking[one.frame_index] = None
            elif one.face is not None and stored(one, self.recipe):
                one = replace(one, mask=crops.cut_mask(mask, one.face, self.recipe.crop))
            yield one
        if lacking and self.note is None:
            self.note = (
                f"the mask video has no readable frame for {len(lacking)} of the sampled frames, the first is "
                f"{min(lacking)}; these have no mask"
            )

    def _masks(self, path: str, indices: Sequence[int], properties: Properties) -> Iterator[tuple[int, Mask]]:
        """Masks by frame index, as large as the video's frames; none where the mask video cannot serve."""
        width, height = properties.width or 0, properties.height or 0
        try:
            for frame in sampling.decode(path, indices, self.decoder):
                mask = measures.grey(frame.image)
                rows, columns = mask.shape
                if abs(columns * height - rows * width) > max(width, height):  # more than the rounding of a side
                    self.note = f"the mask video is {columns}x{rows}, another shape than the video; it is not used"
                    return
                yield frame.index, crops.scale_mask(mask, width, height)
        except VideoError as error:
            self.note = f"the mask video cannot be read: {error}"


@contextlib.contextmanager
def beside(root: str, planned: Video, recipe: Recipe, decoder: DecoderName, without: str | None) -> Iterator[Masks]:
    """The masks of a video, where the recipe wants them; ``without`` says why they are left out this time."""
    note = without
    if note is None and planned.mask is None and planned.label == 1:  # reals need none
        note = "the dataset has no mask video for it"
    with contextlib.ExitStack() as stack:
        path = None
        if recipe.masks and planned.mask is not None and without is None:
            url = storage.join(root, planned.mask)
            if storage.exists(url):
                path = stack.enter_context(storage.local_copy(url))
            else:
                note = "the mask video is not there any more"
        yield Masks(path=path, recipe=recipe, decoder=decoder, note=note if recipe.masks else None)
