"""Views: the same picture several times in a unit, each augmented by a key of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from semblance.manifests.errors import UsageError
from semblance.manifests.records import Image
from semblance.training import augment, recipes
from semblance.training.augment.config import AugmentConfig
from semblance.training.data import query
from semblance.training.data.loader import EpochConfig, Loader, World
from semblance.training.data.order import ShuffleConfig
from semblance.training.data.units import ClipConfig, UnitConfig
from semblance.training.data.worker import SampleTransform
from semblance.training.records import Batch

SMALL = ShuffleConfig(buffer=7, open=2)


def epoch(out: Path, unit: UnitConfig, *, draws: int = 40, by_unit: bool = False) -> tuple[list[Batch], list[str]]:
    """The batches of an epoch, and the keys of their pictures in order."""
    keys: list[str] = []

    def note(image: Image, points: NDArray[np.float32] | None, key: str) -> Image:
        del points
        keys.append(key)
        return image

    config = EpochConfig(draws=draws, shuffle=SMALL)
    transform = SampleTransform(image=note, by_unit=by_unit)
    selection = query.select([str(out)], "train", unit=unit)
    return list(Loader(selection, batch=4, seed=3, config=config, transform=transform)), keys


@pytest.mark.parametrize("views", [2, 3])
def test_a_unit_is_one_picture_and_its_keys_differ(ffpp: Path, views: int) -> None:
    batches, keys = epoch(ffpp, UnitConfig(views=views), draws=500)  # some pictures are drawn twice
    names = [name for batch in batches for name in batch.sample_ids]
    assert len(names) == len(keys) == 500 * views
    assert {len(batch.sample_ids) for batch in batches} == {4 * views}
    for first in range(0, len(names), views):
        (name,) = set(names[first : first + views])
        own = keys[first : first + views]
        assert own[0].endswith(f"-{name}")
        assert own[1:] == [f"{own[0]}#{view}" for view in range(1, views)]
    assert len(set(keys)) == len(keys)


def test_views_are_the_pictures_of_single_frames_and_other_keys_stay(ffpp: Path) -> None:
    """The first view is the picture that a run without views has: same order, same key."""
    plain, keys = epoch(ffpp, UnitConfig())
    twice, more = epoch(ffpp, UnitConfig(views=2))
    names = [name for batch in plain for name in batch.sample_ids]
    assert keys == [f"3-0-0-{name}" for name in names]
    assert {name for batch in twice for name in batch.sample_ids} == set(names)
    assert sorted(more[::2]) == sorted(keys)
    for batch in twice:
        assert torch.equal(batch.image_BCHW[::2], batch.image_BCHW[1::2])  # nothing was changed here


@pytest.mark.parametrize(
    "unit", [UnitConfig(mode="clips", clip=ClipConfig(frames=2)), UnitConfig(mode="pairs"), UnitConfig(views=2)]
)
def test_a_clip_that_is_augmented_alike_has_one_key(ffpp: Path, unit: UnitConfig) -> None:
    batches, keys = epoch(ffpp, unit, by_unit=True)
    names = [name for batch in batches for name in batch.sample_ids]
    assert keys == [f"3-0-0-{names[place - place % 2]}" for place in range(len(names))]
    _, apart = epoch(ffpp, unit)
    assert all(len(set(apart[place : place + 2])) == 2 for place in range(0, 80, 2))


def test_two_views_look_different(ffpp: Path) -> None:
    """With real augmentation, the same for any number of ranks."""
    transform = SampleTransform(image=augment.build(AugmentConfig(p=1.0, size=32)))
    selection = query.select([str(ffpp)], "train", unit=UnitConfig(views=2))
    seen = []
    for world in (World(), World(rank=1, ranks=2)):
        loader = Loader(selection, batch=6, seed=1, size=32, transform=transform, world=world)
        seen.append({(b.sample_ids[i], i % 2): b.image_BCHW[i] for b in loader for i in range(len(b.sample_ids))})
    alone, second = seen
    assert sum(torch.equal(alone[name, 0], alone[name, 1]) for name, _ in alone) < len(alone) / 20
    assert second
    assert all(torch.equal(image, alone[key]) for key, image in second.items())


def test_an_epoch_of_views_resumes_exactly(ffpp: Path) -> None:
    selection = query.select([str(ffpp)], "train", unit=UnitConfig(views=2))

    def loader() -> Loader:
        return Loader(selection, batch=6, seed=1, config=EpochConfig(draws=50, shuffle=SMALL))

    whole, one = list(loader()), loader()
    for _ in zip(range(4), one, strict=False):
        state = json.loads(json.dumps(one.state_dict()))
    rest = loader()
    rest.load_state_dict(state)
    assert [batch.sample_ids for batch in rest] == [batch.sample_ids for batch in whole[state["position"] :]]


def test_only_frames_have_views() -> None:
    for mode in ("pairs", "clips"):
        with pytest.raises(UsageError, match=f"views is 2, but mode is {mode}: only single frames have several views"):
            recipes.load("resnet50_small", ["data.views=2", f"data.mode={mode}"])
    assert recipes.load("resnet50_small").data.views == 1
