"""Augmentation on the device: the steps of the rows, on the right pictures, the same for any batch, worker and rank."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from semblance.quality.resize import to_square
from semblance.training import augment, models, recipes
from semblance.training.augment import draws
from semblance.training.augment.config import AugmentConfig
from semblance.training.data import query
from semblance.training.data.loader import EpochConfig, Loader, Transfer, World, as_floats
from semblance.training.data.splits import TrainingData
from semblance.training.data.worker import SampleTransform
from semblance.training.loop import terms
from semblance.training.loop.machine import Machine
from semblance.training.models import dct
from semblance.training.records import Batch
from tests.training import builds
from tests.training.augment.test_augment import LANDMARKS, OFF, picture

SIDE = 40


def config_of(**values: Any) -> AugmentConfig:
    return AugmentConfig.model_validate({"on": "device", "size": SIDE} | values)


def batch_of(config: AugmentConfig, count: int = 24) -> Batch:
    draw = augment.Draws(config)
    names = tuple(f"0-0-0-{i}" for i in range(count))
    images = np.stack([picture(config.size, i) for i in range(count)])
    return Batch(
        image_BCHW=torch.from_numpy(images).permute(0, 3, 1, 2),
        target_B=torch.zeros(count),
        draws_BK=torch.from_numpy(np.stack([draw(name) for name in names])),
        sample_ids=names,
        video_ids=names,
        tracks=(0,) * count,
        persons=(0,) * count,
    )


def column(batch: Batch, name: str) -> Tensor:
    assert batch.draws_BK is not None
    return batch.draws_BK[:, draws.COLUMNS.index(name)]


def part(batch: Batch, rows: Any) -> Batch:
    assert batch.draws_BK is not None
    return replace(batch, image_BCHW=batch.image_BCHW[rows], draws_BK=batch.draws_BK[rows])


def test_pictures_are_augmented_alone() -> None:
    """In any batch; matrix products may round otherwise there, so a few of the noisy grey levels differ by one."""
    config = config_of(frequency={"p": 0.5}, gridmask={"p": 0.5})
    batch = batch_of(config)
    together = augment.on_device(batch, config)
    assert together.draws_BK is None
    for layout in (torch.channels_last, torch.contiguous_format):
        laid = replace(batch, image_BCHW=batch.image_BCHW.contiguous(memory_format=layout))
        for answer in (augment.on_device(laid, config), as_floats(laid)):
            assert answer.image_BCHW.dtype == torch.float32
            assert answer.image_BCHW.is_contiguous(memory_format=layout)
    alone = torch.cat([augment.on_device(part(batch, [i]), config).image_BCHW for i in range(24)])
    backwards = augment.on_device(part(batch, list(range(23, -1, -1))), config).image_BCHW.flip(0)
    plain = column(batch, "frequency") == 0
    for other in (alone, backwards):
        assert torch.equal(other[plain], together.image_BCHW[plain])
        assert (other - together.image_BCHW).abs().max() * 255 < 1.01
        assert (other != together.image_BCHW).float().mean() < 1e-3


def test_pictures_that_are_not_augmented_are_those_of_validation() -> None:
    config = config_of()
    batch = batch_of(config)
    answer, plain = augment.on_device(batch, config).image_BCHW, as_floats(batch).image_BCHW
    off = column(batch, "applied") == 0
    assert 0 < off.sum() < 24
    assert torch.equal(answer[off], plain[off])
    assert all(not torch.equal(a, b) for a, b in zip(answer[~off], plain[~off], strict=True))
    nothing = config_of(p=0)
    assert torch.equal(augment.on_device(batch_of(nothing), nothing).image_BCHW, plain)
    identity = config_of(**OFF | {"size": SIDE})  # every step off
    assert torch.equal(augment.on_device(batch_of(identity), identity).image_BCHW, plain)


@pytest.mark.parametrize("name", ["flip", "jitter", "frequency", "gridmask"])
def test_a_step_changes_the_pictures_whose_row_says_so(name: str) -> None:
    config = config_of(**OFF | {"size": SIDE, "p": 0.8, name: 0.5 if name == "flip" else {"p": 0.5}})
    batch = batch_of(config)
    before, after = as_floats(batch).image_BCHW, augment.on_device(batch, config).image_BCHW
    changed = (before != after).flatten(1).any(1)
    assert torch.equal(changed, column(batch, name) == 1)
    if name == "flip":
        assert torch.equal(after[changed], before[changed].flip(3))


def test_the_workers_encode_only_what_the_row_augments() -> None:
    """Policy and encoders, of pictures that the device changes too: with p = 0.5, half of the pictures stay."""
    config = config_of(p=0.5, size=48, policy={"p": 1.0}, jpeg={"p": 1.0})
    transform, draw = augment.build(config), augment.Draws(config)
    for key in map(str, range(60)):
        changed = not np.array_equal(transform(picture(), LANDMARKS, key), picture())
        assert changed == bool(draw(key)[0])
    nothing = augment.build(config_of(**OFF | {"flip": 1.0, "gridmask": {"p": 1.0}, "size": 24}))
    assert np.array_equal(nothing(picture(), None, "k"), to_square(picture(), 24))


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builds.make(tmp_path_factory.mktemp("build"), builds.Plan(splits=("train",)))


def epoch(build: Path, config: AugmentConfig, ranks: int, workers: int) -> dict[str, Tensor]:
    """The augmented pictures of an epoch over all ranks, by sample and the number of its draw."""
    transform = SampleTransform(image=augment.build(config), draws=augment.Draws(config))
    seen: dict[str, Tensor] = {}
    for rank in range(ranks):
        loader = Loader(
            query.select([str(build)], "train"),
            batch=7 if ranks == 1 else 5,
            config=EpochConfig(),
            world=World(rank=rank, ranks=ranks),
            workers=workers,
            transform=transform,
            size=config.size,
            transfer=Transfer(as_bytes=True),
        )
        for batch in loader:
            assert batch.draws_BK is not None
            seen |= dict(zip(batch.sample_ids, augment.on_device(batch, config).image_BCHW, strict=True))
    return seen


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning:torch.utils.data.dataloader")
def test_an_epoch_is_the_same_for_any_workers_and_ranks(build: Path) -> None:
    config = config_of(size=32)
    one, two, three = (epoch(build, config, *world) for world in ((1, 0), (1, 2), (2, 1)))
    assert one.keys() == two.keys() == three.keys()
    assert len(one) == 76
    for other in (two, three):
        differences = [(image - other[name]).abs().max().item() * 255 for name, image in one.items()]
        assert max(differences) < 1.01
        assert sum(difference > 0 for difference in differences) < 8  # noise on the spectrum, rounded otherwise


class Synchronised(TorchDispatchMode):
    """Counts what would wait for a device: values and places that the host asks for."""

    ASKED = ("_local_scalar_dense", "nonzero", "item", "masked_select", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket._qualified_op_name.partition("::")[2]
        if name in self.ASKED:
            self.asked.append(name)
        return function(*args, **(kwargs or {}))


def test_nothing_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """No operation asks for a value, and all of them work on ``meta``, where there are none."""
    config = config_of(p=1.0, jitter={"p": 1.0}, frequency={"p": 1.0}, gridmask={"p": 1.0})
    batch = batch_of(config)
    with Synchronised() as mode:
        answer = augment.on_device(batch, config)
        augment.mix(answer, config, torch.Generator().manual_seed(0))
    assert mode.asked == []
    monkeypatch.setattr(dct, "exact", lambda _: nullcontext())  # torch has no autocast for meta
    meta = batch.to("meta")
    assert meta.draws_BK is batch.draws_BK  # the rows stay on the host
    assert augment.on_device(meta, config).image_BCHW.shape == answer.image_BCHW.shape


def test_a_run_says_where_it_augments(build: Path) -> None:
    selection = query.select([str(build)], "train")
    data = TrainingData(train=selection, val={}, others={}, datasets=())
    said, model = {}, models.build(recipes.load("resnet50_small").model, pretrained=False)
    for where in ("device", "workers"):
        recipe = recipes.load("resnet50", ["data.mix=null", f"augment.on={where}"])
        (said[where],) = [
            line for line in terms.lines(recipe, data, Machine(accelerator="cpu"), model) if "augmentation:" in line
        ]
    assert said["workers"] == "augmentation: by the loader, on the CPU"
    assert "policy and encoders by the loader, before the other steps" in said["device"]
    assert "without a GPU --set augment.on=workers is faster" in said["device"]


def test_recipes_of_before_augment_in_the_workers() -> None:
    """recipe.json of an older run has no such key."""
    values = recipes.load("resnet50").model_dump(mode="json")
    del values["augment"]["on"]
    assert recipes.TrainingRecipe.model_validate_json(json.dumps(values)).augment.on == "workers"
