"""Masked autoencoding: what the encoder sees, what the loss counts, and what is learned."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from semblance.manifests.errors import UsageError
from semblance.training import models, recipes
from semblance.training.models.vit import ViT, ViTConfig
from semblance.training.records import Batch
from semblance.training.regimes import masked, registry
from semblance.training.regimes.masked import Masked, MaskedConfig
from tests.training.regimes import puzzles

SIDE, PATCH = 64, 16
PATCHES = (SIDE // PATCH) ** 2
CONFIG = MaskedConfig(width=32, depth=1, heads=4)


def built(arch: str = "test_vit.r160_in1k", config: MaskedConfig = CONFIG) -> tuple[Masked, ViT]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = models.build(ViTConfig(arch=arch, size=SIDE, trainable="all", unit_length=False))
    regime = registry.build(config, model, puzzles.loss())
    assert isinstance(regime, Masked)
    assert isinstance(model, ViT)
    return regime, model


def batch(count: int = 4, seed: int = 0) -> Batch:
    """Waves in a direction and a colour of each picture: a part says much about the rest."""
    slope_BC = torch.rand(count, 3, 2, generator=torch.Generator().manual_seed(seed)).sub(0.5).mul(4)
    place = torch.linspace(-0.5, 0.5, SIDE)
    phase_BCHW = slope_BC[..., 0, None, None] * place[:, None] + slope_BC[..., 1, None, None] * place
    image_BCHW = 0.5 + 0.4 * phase_BCHW.sin()
    names = tuple(f"{seed}-{number}" for number in range(count))
    return Batch(
        image_BCHW=image_BCHW,
        target_B=torch.zeros(count),
        sample_ids=names,
        video_ids=names,
        tracks=(0,) * count,
        persons=(0,) * count,
    )


def gradients(loss: Tensor, *of: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, of, retain_graph=True))


def test_patches_are_those_of_the_model() -> None:
    """One is a square of the picture, at the place of its token: the model's own projection of it is the same."""
    _, model = built()
    image_BCHW = torch.rand(2, 3, SIDE, SIDE)
    patch_BNP = masked.patches(image_BCHW, PATCH)
    assert torch.equal(patch_BNP[1, 6].view(PATCH, PATCH, 3).permute(2, 0, 1), image_BCHW[1, :, 16:32, 32:48])
    embed = model.backbone.patch_embed
    weight_DP = embed.proj.weight.permute(0, 2, 3, 1).flatten(1)
    assert torch.allclose(patch_BNP @ weight_DP.T + embed.proj.bias, embed(image_BCHW), atol=1e-4)


def test_loss_by_hand() -> None:
    """Patch by patch, in numpy: mean squared error on hidden patches, whose pixels have mean 0 and variance 1."""
    regime, model = built()
    one = batch()
    with torch.no_grad():
        step = regime(model, one, puzzles.chance())
        visible_BV = regime.seen(one, 0)
        painted_BNP = regime.decoder(masked.encode(model, one.image_BCHW, visible_BV), visible_BV).double().numpy()
    errors = []
    for number, image in enumerate(one.image_BCHW.double().numpy()):
        for place in set(range(PATCHES)) - set(visible_BV[number].tolist()):
            row, column = (PATCH * index for index in divmod(place, SIDE // PATCH))
            pixels = image[:, row : row + PATCH, column : column + PATCH].transpose(1, 2, 0).ravel()
            wanted = (pixels - pixels.mean()) / math.sqrt(pixels.var(ddof=1) + 1e-6)
            errors.append(np.mean((painted_BNP[number, place] - wanted) ** 2))
    assert len(errors) == 4 * 12
    assert float(step.loss) == float(step.parts["loss"]) == pytest.approx(np.mean(errors), rel=1e-5)


def test_targets_of_visible_patches_move_neither_loss_nor_gradient() -> None:
    regime, model = built()
    one = batch()
    visible_BV = regime.seen(one, 0)
    hidden_BN = torch.ones(4, PATCHES).scatter(1, visible_BV, 0.0)
    painted_BNP = regime.decoder(masked.encode(model, one.image_BCHW, visible_BV), visible_BV)
    target_BNP = masked.normalised(masked.patches(one.image_BCHW, PATCH))
    other_BNP = torch.where(hidden_BN[..., None] == 1, target_BNP, torch.randn(target_BNP.shape))
    losses = [masked.error(painted_BNP, target, hidden_BN) for target in (target_BNP, other_BNP)]
    assert torch.equal(*losses)
    assert float(losses[0].detach()) == pytest.approx(float(regime(model, one, puzzles.chance()).loss.detach()))
    followed = [*model.backbone.blocks.parameters(), *regime.parameters()]
    for ours, theirs in zip(*(gradients(loss, *followed) for loss in losses), strict=True):
        assert torch.equal(ours, theirs)
    at_output = gradients(losses[0], painted_BNP)[0]
    assert not at_output[hidden_BN == 0].any()
    assert at_output[hidden_BN == 1].abs().amin(0).any()


def test_hidden_pixels_do_not_reach_the_encoder() -> None:
    """What is painted depends on visible patches alone; a change of one of these does show."""
    regime, model = built()
    one = batch()
    visible_BV = regime.seen(one, 0)
    hidden_BN = torch.ones(4, PATCHES).scatter(1, visible_BV, 0.0)
    patch_BNHW = hidden_BN.view(4, 1, 4, 4).repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    other = torch.where(patch_BNHW == 1, torch.rand(one.image_BCHW.shape), one.image_BCHW)
    seen, blind = (masked.encode(model, image, visible_BV) for image in (one.image_BCHW, other))
    assert torch.equal(seen, blind)
    assert seen.shape == (4, regime.visible + model.backbone.num_prefix_tokens, model.embedding_dim)
    changed = torch.where(patch_BNHW == 0, torch.rand(one.image_BCHW.shape), one.image_BCHW)
    assert not torch.allclose(seen, masked.encode(model, changed, visible_BV), atol=1e-2)


def test_nothing_hidden_is_the_model_itself() -> None:
    """With every patch visible the encoder is the model's own way to its features."""
    _, model = built()
    image_BCHW = batch().image_BCHW
    model.eval()
    with torch.no_grad():
        tokens = masked.encode(model, image_BCHW, torch.arange(PATCHES).expand(4, -1))
        features = model.backbone.forward_features(model.normalise(image_BCHW))
    assert torch.allclose(tokens, features, atol=1e-5)


@pytest.mark.parametrize(("mask", "epoch"), [(0.1, 0), (0.5, 1), (0.75, 7), (0.9, 50)])
def test_as_many_patches_of_each_picture_are_hidden(mask: float, epoch: int) -> None:
    regime, _ = built(config=CONFIG.model_copy(update={"mask": mask}))
    visible_BV = regime.seen(batch(8), epoch)
    assert visible_BV.shape == (8, int(PATCHES * (1 - mask)))
    assert all(len(set(row)) == len(row) and row == sorted(row) for row in visible_BV.tolist())


def test_patches_are_hidden_equally_often_and_by_picture() -> None:
    regime, _ = built()
    many = batch(400)
    first, later = regime.seen(many, 0), regime.seen(many, 1)
    assert torch.bincount(first.flatten(), minlength=PATCHES).sub(100).abs().max() < 40
    assert not torch.equal(first, later)
    assert torch.equal(regime.seen(batch(7), 0), first[:7])


def test_the_loss_of_a_batch_is_the_mean_of_its_halves() -> None:
    """So two ranks learn what one does."""
    regime, model = built()
    whole = batch(6)
    found = float(regime(model, whole, puzzles.chance()).loss.detach())
    halves = []
    for some in (slice(0, 3), slice(3, 6)):
        part = Batch(
            image_BCHW=whole.image_BCHW[some],
            target_B=whole.target_B[some],
            sample_ids=whole.sample_ids[some],
            video_ids=whole.video_ids[some],
            tracks=whole.tracks[some],
            persons=whole.persons[some],
        )
        halves.append(float(regime(model, part, puzzles.chance()).loss.detach()))
    assert sum(halves) / 2 == pytest.approx(found, rel=1e-5)


def test_positions_are_all_different() -> None:
    place_NW = masked.positions(4, 32)
    assert torch.cdist(place_NW, place_NW).add(torch.eye(16)).min() > 0.1
    rates = [10000 ** (-i / 8) for i in range(8)]
    assert place_NW[5].tolist() == pytest.approx([f(rate) for f in (math.sin, math.cos) * 2 for rate in rates])


def test_hidden_patches_of_new_pictures_are_painted_better_than_grey() -> None:
    """Grey has a loss of 1 - 1 / P, since the variance within patches is the unbiased one."""
    regime, model = built()
    optimiser = torch.optim.AdamW([*model.parameters(), *regime.parameters()], lr=3e-3)
    for number in range(120):
        optimiser.zero_grad()
        regime(model, batch(16, seed=number + 1), puzzles.chance()).loss.backward()
        optimiser.step()
    target_BNP = masked.normalised(masked.patches(batch(64).image_BCHW, PATCH))
    grey = masked.error(torch.zeros_like(target_BNP), target_BNP, torch.ones(64, PATCHES))
    assert float(grey) == pytest.approx(1 - 1 / (3 * PATCH**2), rel=1e-3)
    with torch.no_grad():
        found = float(regime.eval()(model.eval(), batch(64), puzzles.chance()).loss)
    assert found < 0.75 * float(grey)


def test_other_models_are_refused() -> None:
    with pytest.raises(UsageError, match=r"such as vit_small_patch16_224; set model\.kind=vit"):
        registry.build(MaskedConfig(), puzzles.Small(), puzzles.loss())
    with pytest.raises(UsageError, match="hides patches of a plain vision transformer"):  # rotary positions
        built("vit_small_patch16_dinov3")
    with pytest.raises(UsageError, match=r"leaves 0 of 16 patches visible; change it"):
        built(config=MaskedConfig(mask=0.95))
    with pytest.raises(UsageError, match=r"regime\.heads \(3\) must divide regime\.width \(256\)"):
        recipes.load("mae_vit_s", ["regime.heads=3"])


def test_the_decoder_is_no_part_of_the_model(tmp_path: Path) -> None:
    """It rides in the regime's state, small, and a regime that is built anew takes it over."""
    regime, _ = built()
    torch.save(regime.state_dict(), tmp_path / "regime.pt")
    assert all(name.startswith("decoder.") for name in regime.state_dict())
    other, model = built()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(torch.load(tmp_path / "regime.pt", weights_only=True))
    one = batch()
    assert torch.equal(*(each(model, one, puzzles.chance()).loss for each in (regime, other)))
