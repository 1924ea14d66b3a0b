"""Ten losses of each of the models, trained with its loss and optimiser on ten small batches of noise.

``python -m tests.training.golden`` rewrites golden.json.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from semblance.training import augment, losses, models, optim, recipes
from semblance.training.records import Batch, Output

FILE = Path(__file__).with_name("golden.json")
STEPS, BATCH, SIDE = 10, 6, 64
# The plan's nets, losses and optimisers. Rates are a tenth of the plan's (a hundredth for F3-Net): at full rate the
# rounding differences between processors grow tenfold a step, up to some per cent. So they stay below 2e-5, as seen
# with and without oneDNN, on one thread and two. FAD's masks are stored at the size used.
SETTINGS = {
    "resnet50": ("optimiser.lr=1e-5",),
    "efficientnet_b4": ("optimiser.lr=0.0002",),
    "f3net": ("optimiser.lr=5e-6", f"model.size={SIDE}"),
    "vit_s_norms_small": ("optimiser.lr=3e-5", f"augment.size={SIDE}"),
}


def ten_losses(name: str) -> list[float]:
    """The losses of ten steps, on one thread, from fixed seeds."""
    recipe = recipes.load(name, SETTINGS[name])
    torch.manual_seed(0)
    model = models.build(recipe.model, pretrained=False).train()
    loss = losses.build(recipe.loss, model).train()
    optimiser = optim.optimiser(recipe.optimiser, [*model.parameters(), *loss.parameters()])
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(STEPS):
        parts = loss(*_answered(model, augment.mix(_batch(generator), recipe.augment, generator)))
        optimiser.zero_grad()
        parts["loss"].backward()
        optimiser.step()
        found.append(float(parts["loss"].detach()))
    return found


def _answered(model: models.Model, batch: Batch) -> tuple[Output, Batch]:
    return model(batch.image_BCHW), batch


def _batch(generator: torch.Generator) -> Batch:
    """Noise that is coarser in fakes, so there is something to learn."""
    coarse = torch.rand(BATCH, 3, SIDE // 8, SIDE // 8, generator=generator)
    fine = torch.rand(BATCH, 3, SIDE, SIDE, generator=generator)
    target_B = torch.arange(BATCH).remainder(2).float()
    share = (0.3 + 0.4 * target_B).view(-1, 1, 1, 1)
    image_BCHW = share * torch.nn.functional.interpolate(coarse, SIDE) + (1 - share) * fine
    names = tuple(f"noise-{i}" for i in range(BATCH))
    one = (0,) * BATCH
    return Batch(image_BCHW=image_BCHW, target_B=target_B, sample_ids=names, video_ids=names, tracks=one, persons=one)


if __name__ == "__main__":
    torch.set_num_threads(1)
    FILE.write_text(json.dumps({name: ten_losses(name) for name in SETTINGS}, indent=1) + "\n")
