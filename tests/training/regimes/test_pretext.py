"""Rotation, jigsaw and temporal order: what is asked, what is learned from it, and what is not to be learned."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semblance.manifests.errors import UsageError
from semblance.training import models, recipes
from semblance.training.models import Model
from semblance.training.models.vit import ViTConfig
from semblance.training.records import Batch
from semblance.training.regimes import Regime, jigsaw, registry, rotation, temporal_order
from semblance.training.regimes.jigsaw import Jigsaw, JigsawConfig
from semblance.training.regimes.pretext import Classes, PretextConfig
from semblance.training.regimes.rotation import Rotation, RotationConfig
from semblance.training.regimes.temporal_order import OrderConfig, TemporalOrder
from tests.conftest import once
from tests.training import builds
from tests.training.regimes import puzzles

CLIPS: dict[str, Any] = {"mode": "clips", "clip": {"frames": 3, "step": 1}}
TASKS: dict[str, tuple[type[Classes], PretextConfig, dict[str, Any], int]] = {
    "rotation": (Rotation, RotationConfig(), {}, 6),
    "jigsaw": (Jigsaw, JigsawConfig(grid=2, permutations=4), {}, 12),
    "order": (TemporalOrder, OrderConfig(frames=3, hidden=32), CLIPS, 12),
}


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real faces alone: 24 families in train, 12 in val."""
    return once(tmp_path_factory, "pretext", lambda out: builds.make(out, puzzles.PLAN, face=puzzles.face))


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with faces that do not move."""
    return once(tmp_path_factory, "pretext-still", lambda out: builds.make(out, puzzles.PLAN, face=puzzles.still))


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with pixels that are independent of each other."""
    return once(tmp_path_factory, "pretext-noise", lambda out: builds.make(out, puzzles.PLAN, face=puzzles.speckle))


def pictures(image_BCHW: Tensor, *, names: list[str] | None = None, video: str = "video") -> Batch:
    count = len(image_BCHW)
    return Batch(
        image_BCHW=image_BCHW,
        target_B=torch.zeros(count),
        sample_ids=tuple(names or map(str, range(count))),
        video_ids=(video,) * count,
        tracks=(0,) * count,
        persons=(0,) * count,
    )


def made(name: str, **changes: Any) -> Classes:
    kind, config, _, _ = TASKS[name]
    torch.manual_seed(0)
    return kind(config.model_copy(update=changes), puzzles.Small(), puzzles.loss())


def judged(regime: Regime, model: Model, batch: Batch) -> dict[str, float]:
    regime.eval()
    model.eval()
    with torch.no_grad():
        return {name: float(part) for name, part in regime(model, batch, puzzles.chance()).parts.items()}


# --- learning


@pytest.mark.parametrize("name", TASKS)
def test_heads_are_above_chance_on_people_that_they_have_not_seen(moving: Path, name: str) -> None:
    kind, config, units, epochs = TASKS[name]
    regime, model = puzzles.learn(lambda model: kind(config, model, puzzles.loss()), moving, epochs, **units)
    assert isinstance(regime, Classes)
    batch = puzzles.batch(moving, "val", **units)
    count = len(batch.sample_ids) // (3 if units else 1)
    found = judged(regime, model, batch)
    assert found["accuracy"] > 1 / regime.classes + puzzles.three_sigma(regime.classes, count), found
    assert found.get("fair", 1.0) == 1.0


@pytest.mark.parametrize("name", TASKS)
def test_heads_are_at_chance_where_answers_are_shuffled(moving: Path, name: str) -> None:
    kind, config, units, epochs = TASKS[name]
    kind = puzzles.shuffled(kind)
    regime, model = puzzles.learn(lambda model: kind(config, model, puzzles.loss()), moving, epochs, **units)
    assert isinstance(regime, Classes)
    found = judged(regime, model, puzzles.batch(moving, "val", **units))
    assert abs(found["accuracy"] - 1 / regime.classes) < puzzles.three_sigma(regime.classes, puzzles.PICTURES * 2 // 3)


@pytest.mark.parametrize("name", TASKS)
def test_heads_are_at_chance_on_noise(noise: Path, name: str) -> None:
    """What is left to learn from would be an artefact of how questions are asked: an edge, a gap, a border."""
    kind, config, units, epochs = TASKS[name]
    regime, model = puzzles.learn(lambda model: kind(config, model, puzzles.loss()), noise, epochs, **units)
    assert isinstance(regime, Classes)
    found = judged(regime, model, puzzles.batch(noise, "val", **units))
    assert abs(found["accuracy"] - 1 / regime.classes) < puzzles.three_sigma(regime.classes, puzzles.PICTURES * 2 // 3)


def test_order_is_at_chance_on_clips_that_do_not_move(frozen: Path) -> None:
    """Even where no floor leaves them out."""

    def make(model: Model) -> Regime:
        return TemporalOrder(OrderConfig(frames=3, hidden=32, floor=0.0), model, puzzles.loss())

    regime, model = puzzles.learn(make, frozen, 6, **CLIPS)
    found = judged(regime, model, puzzles.batch(frozen, "val", **CLIPS))
    assert found["fair"] == 1.0
    assert abs(found["accuracy"] - 1 / 3) < puzzles.three_sigma(3, puzzles.PICTURES * 2 // 3)


def test_clips_below_the_floor_are_guesses_without_a_gradient(frozen: Path, moving: Path) -> None:
    regime, model = made("order"), puzzles.Small()
    still, motion = (puzzles.batch(out, "val", **CLIPS) for out in (frozen, moving))
    step = regime(model, still, puzzles.chance())
    step.loss.backward()
    assert {name: float(part) for name, part in step.parts.items()} == pytest.approx(
        {"loss": math.log(3), "accuracy": 1 / 3, "fair": 0.0}
    )
    assert all(one.grad is None or not one.grad.any() for one in (*model.parameters(), *regime.parameters()))
    images = motion.image_BCHW[:30], still.image_BCHW[:30]
    names = motion.sample_ids[:30], still.sample_ids[:30]
    alone = judged(regime, model, pictures(images[0], names=list(names[0])))
    half = judged(regime, model, pictures(torch.cat(images), names=[*names[0], *names[1]]))
    assert half["fair"] == 0.5
    assert half["loss"] == pytest.approx((alone["loss"] + math.log(3)) / 2)
    assert half["accuracy"] == pytest.approx((alone["accuracy"] + 1 / 3) / 2)


# --- rotation


def test_turns_are_exact_and_all_four_are_asked() -> None:
    image_BCHW = torch.rand(2, 3, 8, 8)
    asked = made("rotation", disc=1.0).ask(pictures(image_BCHW), 0)
    inside = rotation.disc(8, 1.0)
    assert asked.answer_Q.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for shown, answer, image in zip(asked.image_BCHW, asked.answer_Q, image_BCHW.repeat(4, 1, 1, 1), strict=True):
        expected = np.rot90(torch.where(inside, image, 0.5).numpy(), int(answer), (1, 2))
        assert np.array_equal(shown.numpy(), expected)


@given(side=st.integers(16, 65), diameter=st.floats(0.1, 1.0))
@settings(max_examples=30, deadline=None)
def test_a_disc_is_the_same_from_all_sides(side: int, diameter: float) -> None:
    inside = rotation.disc(side, diameter)
    assert torch.equal(inside, torch.rot90(inside))
    assert float(inside.sum()) == pytest.approx(math.pi * (diameter * side / 2) ** 2, rel=0.2, abs=8)


def test_borders_alone_say_nothing_of_a_turn() -> None:
    """A bar along the top, as of padding or a letter box, and nothing inside: the four turns are one picture."""
    image_BCHW = torch.full((4, 3, 64, 64), 0.3)
    image_BCHW[:, :, 0] = 0.0
    image_BCHW[:, :, :6, :6] = 1.0
    shown = made("rotation").ask(pictures(image_BCHW), 0).image_BCHW
    assert all(torch.equal(shown[:4], shown[first : first + 4]) for first in (4, 8, 12))
    bare = made("rotation", disc=1.0).ask(pictures(image_BCHW), 0).image_BCHW
    assert not torch.equal(bare[:4], bare[8:12])


# --- jigsaw


@pytest.mark.parametrize(("tiles", "count", "least"), [(9, 9, 9), (9, 30, 7), (9, 100, 6), (4, 4, 4), (4, 24, 2)])
def test_permutations_are_far_apart(tiles: int, count: int, least: int) -> None:
    """Nine of nine tiles can differ everywhere. 30 random ones would be some 5 apart at least."""
    order_NT = jigsaw.permutations(tiles, count)
    distance = (order_NT[:, None] != order_NT).sum(2)[~torch.eye(count, dtype=torch.bool)]
    assert torch.equal(order_NT.sort(1).values, torch.arange(tiles).expand(count, tiles))
    assert int(distance.min()) == least


def test_permutations_are_those_of_runs_before() -> None:
    """The state keeps them, but a run that is begun anew must be comparable too."""
    assert jigsaw.permutations(4, 3).tolist() == [[3, 0, 1, 2], [1, 3, 2, 0], [0, 2, 3, 1]]


@given(side=st.integers(18, 50), grid=st.sampled_from([2, 3]), gap=st.floats(0.01, 0.5), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_cell_shows_the_tile_that_its_order_names(side: int, grid: int, gap: float, seed: int) -> None:
    """Against a loop over tiles, in numpy."""
    rng = np.random.default_rng(seed)
    image = rng.random((2, 3, side, side)).astype(np.float32)
    order = np.stack([rng.permutation(grid**2) for _ in range(2)])
    shift = rng.random((2, grid**2, 2))
    shown = jigsaw.puzzle(torch.from_numpy(image), torch.from_numpy(order), torch.from_numpy(shift), gap).numpy()
    cell = side // grid
    room, margin = max(round(gap * cell), 1), (side - cell * grid) // 2
    expected = np.full_like(image, 0.5)
    for picture, place in itertools.product(range(2), range(grid**2)):
        source = order[picture, place]
        down, right = (
            margin + cell * index + int(shift[picture, source, axis] * (room + 1))
            for axis, index in enumerate(divmod(int(source), grid))
        )
        tile = image[picture, :, down : down + cell - room, right : right + cell - room].astype(np.float64)
        std = np.maximum(tile.std((1, 2), keepdims=True), 1 / 255)
        tile = 0.5 + 0.2 * (tile - tile.mean((1, 2), keepdims=True)) / std
        row, column = (margin + cell * index + room // 2 for index in divmod(place, grid))
        expected[picture, :, row : row + cell - room, column : column + cell - room] = tile.clip(0, 1)
    assert np.allclose(shown, expected, atol=1e-4)


def test_light_and_contrast_of_a_tile_do_not_show() -> None:
    """Each cell of a picture under another light, and the same puzzle comes out."""
    torch.manual_seed(0)
    image_BCHW = torch.rand(1, 3, 30, 30)
    order_BT, shift_BT2 = jigsaw.permutations(9, 30)[7:8], torch.rand(1, 9, 2)
    light, scale = (torch.rand(1, 3, 3, 3).repeat_interleave(10, 2).repeat_interleave(10, 3) for _ in range(2))
    ours = jigsaw.puzzle(image_BCHW, order_BT, shift_BT2, 0.15)
    theirs = jigsaw.puzzle(0.3 * light + (0.2 + scale) * image_BCHW, order_BT, shift_BT2, 0.15)
    assert torch.allclose(ours, theirs, atol=1e-5)
    flat = jigsaw.puzzle(torch.full((1, 3, 30, 30), 0.8), order_BT, shift_BT2, 0.15)
    assert torch.allclose(flat, torch.tensor(0.5), atol=1e-4)


def test_all_orders_are_asked_about_equally_often() -> None:
    regime = made("jigsaw")
    asked = regime.ask(pictures(torch.rand(800, 3, 16, 16)), 0).answer_Q
    assert torch.bincount(asked, minlength=4).sub(200).abs().max() < 60
    assert not torch.equal(asked, regime.ask(pictures(torch.rand(800, 3, 16, 16)), 1).answer_Q)


# --- order


@pytest.mark.parametrize(("frames", "classes"), [(3, 3), (4, 12), (5, 60)])
def test_an_order_and_its_reverse_in_time_are_one_class(frames: int, classes: int) -> None:
    """A clip of frames 0, 1, 2 ... and its mirror image in time look alike under orders of one class, and no others."""
    order_NF, class_N = temporal_order.orders(frames)
    assert sorted(order_NF.tolist()) == [list(one) for one in itertools.permutations(range(frames))]
    seen: dict[frozenset[tuple[int, ...]], int] = {}
    for order, number in zip(order_NF.tolist(), class_N.tolist(), strict=True):
        shown = frozenset([tuple(order), tuple(frames - 1 - frame for frame in order)])
        assert seen.setdefault(shown, number) == number
    assert sorted(seen.values()) == list(range(classes))


def test_frames_are_shown_in_the_order_asked_about() -> None:
    """Each frame has the grey of its time, so the order is read off the pictures."""
    regime = made("order", flip=0.0)
    clips = torch.arange(3).repeat(40).div(10).view(-1, 1, 1, 1).expand(-1, 3, 32, 32)
    asked = regime.ask(pictures(clips.contiguous()), 0)
    order_NF, class_N = temporal_order.orders(3)
    numbers = {tuple(order): number for order, number in zip(order_NF.tolist(), class_N.tolist(), strict=True)}
    shown_UF = asked.image_BCHW[:, 0, 0, 0].mul(10).round().long().view(-1, 3)
    assert [numbers[tuple(order)] for order in shown_UF.tolist()] == asked.answer_Q.tolist()
    assert len({tuple(order) for order in shown_UF.tolist()}) == 6


def test_clips_are_mirrored_as_a_whole() -> None:
    image_BCHW = torch.rand(120, 3, 8, 8)
    plain, mirrored, both = (made("order", flip=p).ask(pictures(image_BCHW), 0).image_BCHW for p in (0.0, 1.0, 0.5))
    assert torch.equal(plain.flip(3), mirrored)
    same_U, other_U = ((both == one).flatten(1).all(1).view(-1, 3) for one in (plain, mirrored))
    assert torch.equal(same_U.all(1), same_U.any(1))
    assert torch.equal(~same_U.all(1), other_U.all(1))
    assert 8 < int(same_U.all(1).sum()) < 32


def test_change_is_the_least_of_any_two_frames() -> None:
    clip = torch.zeros(2, 3, 3, 4, 4)
    clip[:, 1], clip[0, 2], clip[1, 2] = 0.5, 0.2, 0.5
    assert temporal_order.change(clip).tolist() == pytest.approx([0.2, 0.0])


# --- all of them


@pytest.mark.parametrize("name", TASKS)
def test_questions_depend_on_the_picture_and_not_on_its_batch(moving: Path, name: str) -> None:
    """So two ranks ask what one does. The loss of a batch is the mean of those of its halves."""
    regime, model = made(name), puzzles.Small()
    whole = puzzles.batch(moving, "val", **TASKS[name][2])
    half = len(whole.sample_ids) // 2
    places = slice(half), slice(half, None)
    parts = [pictures(whole.image_BCHW[some], names=list(whole.sample_ids[some])) for some in places]
    found, halves = judged(regime, model, whole), [judged(regime, model, one) for one in parts]
    assert {name: (halves[0][name] + halves[1][name]) / 2 for name in found} == pytest.approx(found, abs=1e-5)
    loss = regime(model, whole, puzzles.chance()).loss
    assert float(loss.detach()) == pytest.approx(found["loss"], abs=1e-6)


@pytest.mark.parametrize("name", ["jigsaw", "order"])
def test_questions_depend_on_seed_and_epoch(moving: Path, name: str) -> None:
    regime, batch = made(name), puzzles.batch(moving, "val", **TASKS[name][2])
    first, again, later = (regime.ask(batch, epoch).answer_Q for epoch in (0, 0, 1))
    regime.seed = 1
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, regime.ask(batch, 0).answer_Q)


@pytest.mark.parametrize("name", TASKS)
def test_loss_and_accuracy_by_hand(moving: Path, name: str) -> None:
    regime, model = made(name), puzzles.Small()
    batch = puzzles.batch(moving, "val", **TASKS[name][2])
    asked = regime.ask(batch, 0)
    with torch.no_grad():
        logit_QK = regime.answer(model, asked.image_BCHW).double().numpy()
    answer = asked.answer_Q.numpy()
    shares = np.exp(logit_QK) / np.exp(logit_QK).sum(1, keepdims=True)
    found = judged(regime, model, batch)
    assert found["loss"] == pytest.approx(-np.log(shares[np.arange(len(answer)), answer]).mean(), abs=1e-6)
    assert found["accuracy"] == pytest.approx((shares.argmax(1) == answer).mean())


@pytest.mark.parametrize("name", TASKS)
def test_pictures_stay_as_the_loader_left_them(name: str) -> None:
    image_BCHW = torch.rand(6, 3, 32, 32)
    before = image_BCHW.clone()
    shown = made(name).ask(pictures(image_BCHW), 0).image_BCHW
    assert torch.equal(image_BCHW, before)
    assert shown.shape[1:] == image_BCHW.shape[1:]
    assert 0 <= float(shown.min()) <= float(shown.max()) <= 1


def test_models_that_no_pretext_task_trains_are_refused() -> None:
    frozen = models.build(ViTConfig(arch="test_vit.r160_in1k", size=160, trainable="head"))
    with pytest.raises(UsageError, match=r"trains its head alone; set model\.trainable=all"):
        registry.build(RotationConfig(), frozen, puzzles.loss())
    clips = puzzles.Small()
    clips.members = 4
    with pytest.raises(UsageError, match="trains models of single pictures, not one of clips of 4"):
        registry.build(JigsawConfig(), clips, puzzles.loss())


def test_batches_of_other_units_are_refused(moving: Path) -> None:
    batch = puzzles.batch(moving, "val")
    with pytest.raises(UsageError, match=r"takes clips of 3 faces of one track; set data\.mode=clips"):
        made("order").ask(batch, 0)


@pytest.mark.parametrize(
    ("recipe", "setting", "said"),
    [
        (
            "order_resnet50",
            "data.mode=frames",
            r"regime order takes clips of 4 faces; set data\.mode=clips and data",
        ),
        ("order_resnet50", "regime.frames=5", r"takes clips of 5 faces; set data\.mode=clips and data\.clip\.frames=5"),
        ("order_resnet50", "augment.p=0.5", r"would change one by one; set augment\.p=0"),
        ("jigsaw_resnet50", "regime.grid=2", r"2 x 2 tiles have 24 orders; set regime\.permutations to no more"),
        ("rotation_resnet50", "augment.mixup.p=0.1", "regime rotation learns without labels"),
    ],
)
def test_recipes_that_would_teach_nothing_are_refused(recipe: str, setting: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        recipes.load(recipe, [setting])
