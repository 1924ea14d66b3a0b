"""CutMix and MixUp: weights, partners and labels, recovered from the pixels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.training import augment
from semblance.training.augment import mixing
from semblance.training.augment.config import AugmentConfig
from semblance.training.records import Batch

COUNT = 16


def batch_of(count: int = COUNT, side: int = 20) -> Batch:
    """Picture i has the value i everywhere, so pixels show what was mixed."""
    values = torch.arange(count).float()
    names = tuple(map(str, range(count)))
    return Batch(
        image_BCHW=values.view(-1, 1, 1, 1).expand(count, 3, side, side).clone(),
        target_B=values.remainder(2),
        sample_ids=names,
        video_ids=names,
        tracks=(0,) * count,
        persons=(0,) * count,
    )


def config_of(cutmix: float, mixup: float) -> AugmentConfig:
    return AugmentConfig.model_validate({"cutmix": {"p": cutmix, "alpha": 1.0}, "mixup": {"p": mixup, "alpha": 0.2}})


def mixed(config: AugmentConfig, seed: int) -> Batch:
    return augment.mix(batch_of(), config, torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 10**6), cutmix=st.floats(0, 0.5), mixup=st.floats(0, 0.5))
@settings(max_examples=60)
def test_lambda_and_labels_are_those_of_the_pixels(seed: int, cutmix: float, mixup: float) -> None:
    batch = mixed(config_of(cutmix, mixup), seed)
    if batch.lam_B is None:
        assert batch.mixed_with_B is None
        assert torch.equal(batch.image_BCHW, batch_of().image_BCHW)
        return
    assert batch.mixed_with_B is not None
    assert torch.equal(batch.target_B, batch_of().target_B)
    assert ((batch.lam_B >= 0) & (batch.lam_B <= 1)).all()
    for i in range(COUNT):
        values = batch.image_BCHW[i].unique()
        lam, mean = batch.lam_B[i].item(), batch.image_BCHW[i].mean().item()
        if lam == 1:
            assert values.tolist() == [i]
            assert batch.mixed_with_B[i] == batch.target_B[i]
            continue
        other = round((mean - lam * i) / (1 - lam)) if 1 - lam > 0.02 else None
        if other is None:  # too little of the partner to read it from single precision
            continue
        assert other != i
        assert mean == pytest.approx(lam * i + (1 - lam) * other, abs=1e-3)
        assert batch.mixed_with_B[i] == other % 2
        if cutmix and len(values) == 2:  # a window: both pictures' own values, none between
            assert {round(value) for value in values.tolist()} == {i, other}
            assert lam == pytest.approx((batch.image_BCHW[i] == i).float().mean().item(), abs=1e-6)


def test_pictures_are_mixed_independently_with_the_probabilities() -> None:
    kinds = {"cut": 0, "blend": 0, "left": 0}
    both = 0
    for seed in range(120):
        batch = mixed(config_of(0.3, 0.3), seed)
        assert batch.lam_B is not None
        cut = torch.tensor([len(image.unique()) == 2 for image in batch.image_BCHW])
        left = batch.lam_B == 1
        kinds["cut"] += int(cut.sum())
        kinds["left"] += int(left.sum())
        kinds["blend"] += COUNT - int((cut | left).sum())
        both += bool(left.any()) and bool((~left).any())
    # a few windows lie outside or fill everything, a few lambdas of Beta(0.2, 0.2) are one: up to some per cent
    total = 120 * COUNT
    for kind, p in (("cut", 0.3), ("blend", 0.3), ("left", 0.4)):
        assert abs(kinds[kind] / total - p) < 4 * math.sqrt(p * (1 - p) / total) + 0.04
    assert both > 115


def test_equal_seeds_mix_equally() -> None:
    one, two, three = (mixed(config_of(0.3, 0.3), seed) for seed in (5, 5, 6))
    assert torch.equal(one.image_BCHW, two.image_BCHW)
    assert not torch.equal(one.image_BCHW, three.image_BCHW)


def test_nothing_to_mix() -> None:
    for batch, config in ((batch_of(1), config_of(0.5, 0.5)), (batch_of(), config_of(0, 0))):
        assert augment.mix(batch, config, torch.Generator()) is batch


@given(share=st.floats(0, 1), seed=st.integers(0, 100))
def test_window_is_inside_and_no_larger_than_asked(share: float, seed: int) -> None:
    rows, columns = mixing.box(40, 60, share, np.random.default_rng(seed))
    assert 0 <= rows.start <= rows.stop <= 40
    assert 0 <= columns.start <= columns.stop <= 60
    asked = math.sqrt(1 - share)
    assert rows.stop - rows.start <= 40 * asked + 1
    assert columns.stop - columns.start <= 60 * asked + 1


def test_windows_are_as_large_as_asked_but_for_the_edges() -> None:
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(2000):
        rows, columns = mixing.box(64, 64, 0.75, rng)
        areas.append((rows.stop - rows.start) * (columns.stop - columns.start) / 64**2)
    assert max(areas) == pytest.approx(0.25, abs=0.02)
    # half the side, centred anywhere: 1/2 less what each edge cuts off on average, w * w / 8 for a width of w
    assert np.mean(areas) == pytest.approx((0.5 - 2 * 0.5**2 / 8) ** 2, abs=0.01)


def by_masks(batch: Batch, config: AugmentConfig, seed: int) -> Batch:
    """The same mixing with a weight for every pixel on the host, as it was done before."""
    count, _, height, width = batch.image_BCHW.shape
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(seed))))
    way = rng.random(count)
    cut = way < config.cutmix.p
    blend = ~cut & (way < config.cutmix.p + config.mixup.p)
    if not (cut | blend).any():
        return batch
    ring = rng.permutation(count)
    partner = np.empty(count, np.int64)
    partner[ring] = np.roll(ring, 1)
    alpha = np.where(cut, config.cutmix.alpha, config.mixup.alpha)
    share = rng.beta(alpha, alpha)
    weight = np.ones((count, height, width), np.float32)
    for place in np.flatnonzero(cut):
        rows, columns = mixing.box(height, width, float(share[place]), rng)
        weight[place, rows, columns] = 0
    weight[blend] = share[blend, None, None]
    lam_B = torch.from_numpy(np.where(cut | blend, weight.astype(np.float64).mean((1, 2)), 1.0)).float()
    weight_B1HW, other_B = torch.from_numpy(weight)[:, None], batch.target_B[partner]
    image_BCHW = weight_B1HW * batch.image_BCHW + (1 - weight_B1HW) * batch.image_BCHW[partner]
    mixed_with_B = torch.where(lam_B < 1, other_B, batch.target_B)
    return replace(batch, image_BCHW=image_BCHW, mixed_with_B=mixed_with_B, lam_B=lam_B)


@given(
    seed=st.integers(0, 10**6), cutmix=st.floats(0, 1), mixup=st.floats(0, 1), alpha=st.sampled_from([0.2, 1.0, 9.0])
)
@settings(max_examples=80)
def test_boxes_mix_to_the_bit_as_masks_do(seed: int, cutmix: float, mixup: float, alpha: float) -> None:
    probabilities = {"cutmix": {"p": cutmix / 2, "alpha": alpha}, "mixup": {"p": mixup / 2, "alpha": alpha}}
    config = AugmentConfig.model_validate(probabilities)
    batch = replace(batch_of(7), image_BCHW=torch.rand(7, 3, 21, 30, generator=torch.Generator().manual_seed(seed)))
    one, two = augment.mix(batch, config, torch.Generator().manual_seed(seed)), by_masks(batch, config, seed)
    assert torch.equal(one.image_BCHW, two.image_BCHW)
    for a, b in ((one.lam_B, two.lam_B), (one.mixed_with_B, two.mixed_with_B)):
        assert a is b is None or torch.equal(a, b)  # type: ignore[arg-type]


def test_nothing_waits_for_the_device() -> None:
    """A tensor on ``meta`` has no values: whatever needed one on the host would raise."""
    batch = batch_of().to("meta")
    answer = augment.mix(batch, config_of(0.5, 0.5), torch.Generator().manual_seed(3))
    assert answer is not batch
    assert answer.image_BCHW.device.type == "meta"
    with pytest.raises((RuntimeError, NotImplementedError)):
        answer.lam_B.max().item()


@pytest.mark.parametrize(("cutmix", "mixup"), [(1.0, 0.0), (0.0, 1.0), (0.3, 0.3)])
def test_clips_are_mixed_as_a_whole(cutmix: float, mixup: float) -> None:
    """Each picture with that at its place in the other clip, by one weight and one window; labels are of clips."""
    members = 4
    batch = augment.mix(batch_of(), config_of(cutmix, mixup), torch.Generator().manual_seed(5), members)
    assert batch.lam_B is not None
    pictures = batch.image_BCHW.view(-1, members, *batch.image_BCHW.shape[1:])
    for clip in range(len(pictures)):
        own = pictures[clip] - torch.arange(members).view(-1, 1, 1, 1)  # picture i has the value i
        assert torch.allclose(own, own[:1].expand_as(own), atol=1e-4)
    lam_UT = batch.lam_B.view(-1, members)
    assert (lam_UT == lam_UT[:, :1]).all()
    labels = batch.by_unit(members)
    assert labels.lam_B is not None
    assert labels.mixed_with_B is not None
    assert labels.target_B.tolist() == [1.0] * (COUNT // members)  # of 0, 1, 0, 1
    assert labels.lam_B.shape == labels.mixed_with_B.shape == labels.target_B.shape
    assert labels.sample_ids == batch.sample_ids


def test_two_clips_of_one_length_mix_like_two_pictures() -> None:
    """The same generator draws the same numbers for U units, whatever their length."""
    config = config_of(0.5, 0.5)
    units = augment.mix(batch_of(4), config, torch.Generator().manual_seed(2))
    clips = augment.mix(batch_of(12), config, torch.Generator().manual_seed(2), 3)
    assert units.lam_B is not None
    assert clips.lam_B is not None
    assert torch.equal(clips.lam_B.view(-1, 3)[:, 0], units.lam_B)
    assert augment.mix(batch_of(3), config, torch.Generator().manual_seed(2), 3).lam_B is None  # one clip


def test_kept_pictures_stay_as_they_are_and_change_no_draw() -> None:
    config, plain = config_of(0.5, 0.5), batch_of()
    mixed = augment.mix(plain, config, torch.Generator().manual_seed(3))
    kept = augment.mix(plain, config, torch.Generator().manual_seed(3), kept=[0, 3])
    assert mixed.lam_B is not None
    assert kept.lam_B is not None
    assert kept.mixed_with_B is not None
    assert (mixed.lam_B[[0, 3]] < 1).all()
    assert torch.equal(kept.image_BCHW[[0, 3]], plain.image_BCHW[[0, 3]])
    assert kept.lam_B[[0, 3]].tolist() == [1, 1]
    assert torch.equal(kept.mixed_with_B[[0, 3]], plain.target_B[[0, 3]])
    others = [place for place in range(len(plain.target_B)) if place not in (0, 3)]
    assert torch.equal(kept.image_BCHW[others], mixed.image_BCHW[others])
    assert torch.equal(kept.lam_B[others], mixed.lam_B[others])
