"""What a run lends its regime when it begins: pictures in order or drawn, frozen detectors, and checkpoints."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from semblance.manifests.errors import UsageError
from semblance.training.data.loader import EpochConfig, Loader, World
from semblance.training.data.query import Selection
from semblance.training.inference import member, predictor
from semblance.training.loop.machine import per_rank
from semblance.training.models import tensors
from semblance.training.records import Batch
from semblance.training.regimes import Stage
from semblance.training.runs import checkpoint

if TYPE_CHECKING:
    from semblance.training.loop.module import DetectorModule


def staged(module: DetectorModule) -> Stage:
    """The stage of a run, whose model is on its device."""
    ranks = module.trainer.world_size

    def served(loader: Loader, *, endless: bool = False) -> Iterator[Batch]:
        try:
            for epoch in itertools.repeat(loader) if endless else (loader,):
                for batch in epoch:
                    yield module.transfer_batch_to_device(batch, module.device, 0)
        finally:
            loader.close()

    def read(selection: Selection) -> Iterator[Batch]:
        return served(module.loader(selection, per_rank(module.recipe.data.batch_size, ranks), world=World()))

    def draw(selection: Selection, *, batch: int, seed: int, start: int = 0) -> Iterator[Batch]:
        balanced = selection.units["target"].n_unique() > 1
        config = EpochConfig(balanced_per_method=balanced, shuffle=module.recipe.data.shuffle)
        share = per_rank(batch, ranks)
        loader = module.loader(selection, share, config=config, transform=module.transform(), seed=seed)
        loader.epoch, loader.position = divmod(start, loader.batches)
        return served(loader, endless=True)

    return Stage(
        data=module.data,
        seed=module.recipe.seed,
        size=module.recipe.augment.size,
        epochs=module.recipe.epochs,
        read=read,
        draw=draw,
        score=lambda given: scorer(given, module.device),
        state=state,
        resumed=module.resume is not None,
    )


def state(given: str) -> Mapping[str, Any]:
    """The dictionary of a run's best checkpoint, or of the file that is given."""
    return checkpoint.load(tensors.file_of(given))


def scorer(given: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The combined raw logit of a trained run or ensemble, as ``Stage.score`` has it; in float32 also under autocast.

    A picture of another size than a member's own is resized to it (bilinear, antialiased), which is not the loader's
    way to the bit. Raises UsageError for a detector that scores clips.
    """
    frozen = predictor.load(given)
    for one in frozen.members:
        if one.clip > 1:
            raise UsageError(f"{given} scores clips, and single pictures are to be scored; name a run over pictures.")
        one.trained.model.to(device).requires_grad_(False)

    def score(image_BCHW: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            logits = [member.forward(one, sized(image_BCHW.float(), one.size))["logit"] for one in frozen.members]
            logit_B: Tensor = frozen.combine(logits).float()
        return logit_B

    return score


def sized(image_BCHW: Tensor, side: int) -> Tensor:
    """Square pictures in [0, 1] of ``side`` px; those that have it are left as they are."""
    if image_BCHW.shape[-1] == side:
        return image_BCHW
    return functional.interpolate(image_BCHW, (side, side), mode="bilinear", antialias=True).clamp(0, 1)
