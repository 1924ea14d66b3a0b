"""The rows drawn for the device: repeatable by key, in their ranges, and distributed as in the workers' form."""

from __future__ import annotations

import itertools
import math
from typing import Any

import albumentations as A  # noqa: N812
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.training import augment
from semblance.training.augment import draws
from semblance.training.augment.config import AugmentConfig

COUNT = 4000
STEPS = ("flip", "angle", "jitter", "frequency", "gridmask")


def rows(count: int = COUNT, **values: Any) -> dict[str, np.ndarray]:
    """The columns of many rows, by name."""
    config = AugmentConfig.model_validate({"on": "device"} | values)
    draw = augment.Draws(config)
    return dict(zip(draws.COLUMNS, np.stack([draw(f"0-0-0-{key}") for key in range(count)]).T, strict=True))


@pytest.fixture(scope="module")
def plain() -> dict[str, np.ndarray]:
    return rows()


def within(count: float, of: int, p: float) -> bool:
    """Whether the count is within four standard deviations of its expectation."""
    return abs(count - of * p) <= 4 * math.sqrt(of * p * (1 - p)) + 1e-9


def test_rows_repeat_by_key_and_say_whether_a_picture_is_augmented() -> None:
    draw, again = augment.Draws(AugmentConfig()), augment.Draws(AugmentConfig())
    keys = [f"{seed}-{key}" for seed in range(2) for key in range(40)]
    first = {key: draw(key) for key in keys}
    assert all(np.array_equal(again(key), first[key]) for key in reversed(keys))
    assert all(row.dtype == np.float32 and row.shape == (len(draws.COLUMNS),) for row in first.values())
    assert [again.applied(key) for key in keys] == [bool(row[0]) for row in first.values()]
    assert len({row.tobytes() for row in first.values() if row[0]}) > 40
    assert all(not row.any() for row in first.values() if not row[0])


def test_steps_have_their_probabilities_and_do_not_depend_on_each_other(plain: dict[str, np.ndarray]) -> None:
    p = {"flip": 0.5, "angle": 0.5, "jitter": 0.5, "frequency": 0.2, "gridmask": 0.2}
    on = plain["applied"] == 1
    assert within(on.sum(), COUNT, 0.7)
    for name in STEPS:
        assert within((plain[name] != 0).sum(), COUNT, 0.7 * p[name])
    for one, two in itertools.combinations(STEPS, 2):
        table = scipy.stats.contingency.crosstab(plain[one][on] != 0, plain[two][on] != 0).count
        assert scipy.stats.chi2_contingency(table).pvalue > 1e-4, (one, two)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_a_step_is_done_never_or_always(name: str, p: float) -> None:
    value: Any = p if name == "flip" else {"p": p}
    key = {"angle": "rotation"}.get(name, name)
    assert ((rows(200, p=1.0, **{key: value})[name] != 0) == bool(p)).all()


def test_parameters_are_uniform_in_their_ranges(plain: dict[str, np.ndarray]) -> None:
    limit = math.radians(15)
    on = plain["jitter"] == 1
    spreads = {"brightness": (0.8, 1.2), "contrast": (0.8, 1.2), "saturation": (0.8, 1.2), "hue": (-0.1, 0.1)}
    drawn = {name: (plain[name][on], *ends) for name, ends in spreads.items()}
    drawn["angle"] = (plain["angle"][plain["angle"] != 0], -limit, limit)
    drawn["seed"] = (plain["seed"][plain["frequency"] == 1], 0, draws.SEEDS)
    drawn |= {name: (plain[name][plain["gridmask"] == 1], 0, 1) for name in ("down", "right")}
    for name, (values, low, high) in drawn.items():
        assert (values >= np.float32(low)).all(), name
        assert (values <= np.float32(high)).all(), name
        assert scipy.stats.kstest(values.astype(float), "uniform", (low, high - low)).pvalue > 1e-4, name
    counts = np.bincount(plain["order"][on].astype(int), minlength=24)
    assert len(draws.ORDERS) == len(counts) == 24
    assert scipy.stats.chisquare(counts).pvalue > 1e-4
    for one, two in itertools.combinations(drawn, 2):
        if {one, two} <= set(spreads):
            assert abs(scipy.stats.pearsonr(drawn[one][0], drawn[two][0]).statistic) < 0.12, (one, two)


def test_windows_are_those_of_albumentations(plain: dict[str, np.ndarray]) -> None:
    crop = A.RandomResizedCrop(size=(224, 224), scale=(0.8, 1.0), ratio=(0.75, 4 / 3))
    crop.set_random_seed(1)
    boxes = [crop.get_params_dependent_on_data({"shape": (224, 224, 3)}, {})["crop_coords"] for _ in range(COUNT)]
    left, top, right, bottom = np.array(boxes, float).T
    on = plain["applied"] == 1
    own = {name: plain[name][on].astype(float) for name in ("top", "left", "height", "width")}
    for ours, theirs in (
        (own["height"], bottom - top),
        (own["width"], right - left),
        (own["top"], top),
        (own["left"], left),
        (own["height"] * own["width"], (bottom - top) * (right - left)),
    ):
        assert scipy.stats.ks_2samp(ours, theirs).pvalue > 1e-4


@given(
    size=st.integers(16, 400),
    scale=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    ratio=st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)),
    key=st.text(max_size=5),
)
@settings(max_examples=80)
def test_windows_lie_in_the_picture(
    size: int, scale: tuple[float, float], ratio: tuple[float, float], key: str
) -> None:
    crop = {"scale": sorted(scale), "ratio": sorted(ratio)}
    row = augment.Draws(AugmentConfig.model_validate({"p": 1.0, "size": size, "crop": crop}))(key)
    top, left, height, width = (row[draws.COLUMNS.index(name)] for name in ("top", "left", "height", "width"))
    assert all(value == round(value) for value in (top, left, height, width))
    assert top >= 0 <= left
    assert 1 <= height <= size - top
    assert 1 <= width <= size - left
