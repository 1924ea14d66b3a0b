"""The picture without the face: what the statistics may see, what they find, and that they say nothing where there is
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.fft

from semblance import manifests
from semblance.manifests.records import Image
from semblance.quality import codec
from semblance.quality.audit import checks
from semblance.quality.checks import background, linear, picture_features, shortcuts
from semblance.quality.checks.picture_features import features, in_crop
from tests.conftest import Run
from tests.quality import planted
from tests.quality.photographs import ALL, BOX, kind_of, photograph
from tests.quality.planted import Faults


def seen(image: Image, region: picture_features.Region = "outside") -> np.ndarray:
    found = features(image, [region], BOX, ALL)
    assert found is not None
    return found[region]


def judged(count: int, of_fake: Callable[[Image], Image], *, paired: bool) -> background.Comparison:
    """``count`` reals and fakes; a fake is what ``of_fake`` makes of its original or, unpaired, of another picture."""
    rows, values = [], {}
    for number in range(2 * count):
        label = number % 2
        image = kind_of(number // 2 if paired else number)
        name = f"v{number}"
        family = f"f{number // 2 if paired else number}"
        rows.append({"video_id": name, "label": label, "family_id": family, "method": "m", "compression": None})
        found = features(of_fake(image) if label else image, ["outside", "whole"], BOX, ALL)
        assert found is not None
        values[name] = found
    return background.compare(pl.DataFrame(rows, schema_overrides={"compression": pl.String}), values)[0]


def test_nothing_of_the_face_is_seen_outside_nor_anything_else_in_it() -> None:
    image = photograph(1)
    face = (slice(24, 96), slice(28, 84))
    other = image.copy()
    other[face] = 255 - other[face]
    assert np.array_equal(seen(image), seen(other))
    assert not np.allclose(seen(image, "face"), seen(other, "face"))
    rest = 255 - image
    rest[face] = image[face]
    assert np.array_equal(seen(image, "face"), seen(rest, "face"))


def test_a_box_of_another_size_tells_nothing() -> None:
    """In one and the same texture no statistic knows how large the box is: a model of boxes alone is at chance."""
    rows, labels = [], []
    for number in range(120):
        chance = np.random.default_rng(number)
        image = np.clip(chance.normal(128, 20, (112, 112, 3)), 0, 255).astype(np.uint8)
        half = 20 + 14 * (number % 2) + chance.uniform(0, 4)
        found = features(image, ["outside"], (56 - half, 56 - half, 56 + half, 56 + half), ALL)
        assert found is not None
        rows.append(found["outside"])
        labels.append(number % 2)
    told = linear.told(np.stack(rows), np.array(labels), [f"f{number}" for number in range(120)])
    assert told.low is not None
    assert told.low <= 0.5


def test_the_frequencies_are_those_of_scipys_dct() -> None:
    grey = np.repeat(photograph(2)[..., :1], 3, axis=2)
    places = picture_features._places(grey.shape, "outside", BOX, ALL)
    assert places is not None
    assert len(places) == len({tuple(one) for one in places}) == 16
    luma = [grey[y : y + 8, x : x + 8, 0].astype(float) for y, x in places]
    expected = np.log(np.abs([scipy.fft.dctn(one, norm="ortho") for one in luma]).mean(0) + 1e-3).reshape(-1)[1:]
    assert seen(grey)[:63] == pytest.approx(expected, abs=0.05)  # the luma of grey is grey, but for rounding
    for y, x in places:
        assert y + 8 <= BOX[1] or y >= BOX[3] or x + 8 <= BOX[0] or x >= BOX[2]


def test_repeated_edges_of_the_frame_are_not_looked_at() -> None:
    row: dict[str, float | None] = {"crop_x0": -20, "crop_y0": -10, "crop_side": 224, "width": 150, "height": None}
    row |= {"box_x0": 36.0, "box_y0": 38.0, "box_x1": 148.0, "box_y1": 182.0}
    assert in_crop(row, 112) == (BOX, (10.0, 5.0, 85.0, 112))
    image = photograph(3)
    padded = image.copy()
    padded[:, 88:] = padded[:, 87:88]
    part = (0.0, 0.0, 88.0, 112.0)
    first, second = (features(one, ["outside"], (8.0, 24.0, 50.0, 70.0), part) for one in (image, padded))
    assert first is not None
    assert second is not None
    assert np.array_equal(first["outside"], second["outside"])
    assert features(image, ["outside"], ALL, ALL) is None
    assert in_crop(row | {"box_x0": None}, 112) is None


@pytest.mark.parametrize(
    ("plant", "paired"),
    [
        pytest.param(lambda image: image // 2 + np.uint8(60), False, id="another wall"),
        pytest.param(lambda image: codec.degrade(image, 30), False, id="another codec"),
        pytest.param(lambda image: codec.degrade(image, 40), True, id="encoded once more"),
    ],
)
def test_a_background_that_tells_the_label_is_named(plant: Callable[[Image], Image], paired: bool) -> None:
    found = judged(40, plant, paired=paired)
    assert found.verdict == "shortcut"
    assert found.paired == paired
    (sentence,) = background.warnings([found])
    assert sentence.startswith("the label can be read from the picture without the face (all fakes: AUC")
    assert ("traces of compression" in sentence) == paired
    few = judged(9, plant, paired=False)
    assert few.verdict == "too few to tell"
    assert not list(background.warnings([few]))


def test_a_forged_face_alone_is_no_alarm() -> None:
    """The face tells, its background does not."""

    def forged(image: Image) -> Image:
        other = image.copy()
        other[24:96, 32:80] = codec.degrade(image, 10)[24:96, 32:80]
        return other

    found = judged(40, forged, paired=True)
    assert found.verdict == "even"
    assert found.without.auc is not None
    assert found.without.auc <= 0.5
    assert found.whole.auc is not None
    assert found.whole.auc > 0.8


def test_false_alarms_over_200_clean_sets() -> None:
    """Real photographs, whose label nothing tells: 200 draws of 40 families, unpaired."""
    values = np.stack([seen(kind_of(number)) for number in range(160)])
    alarms = 0
    for seed in range(200):
        drawn = np.random.default_rng(seed).permutation(160)[:60]
        told = linear.told(values[drawn], np.arange(60) % 2, [f"f{number}" for number in drawn], seed)
        assert told.low is not None
        alarms += told.low > shortcuts.ALARM
    print(f"{alarms} of 200 clean sets raised an alarm")
    assert alarms <= 2


def test_a_build_from_command_to_finding(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planted.build(out, 24, Faults(recoded=True))
    said = run("quality", "shortcuts", out).stdout
    assert "without the face, all fakes: shortcut: AUC" in said
    assert "warning: the label can be read from the picture without the face" in said
    found = checks.measure(str(out))
    named = [one for one in found.findings() if one.what.startswith("the label can be read from the picture")]
    assert [one.law for one in named] == ["shortcuts"]
    assert json.dumps(found.to_json()["background"])
    assert found.background.unreadable == 0
    assert found.background.videos == manifests.scan(str(out)).collect()["video_id"].n_unique()
    (tar, *_) = sorted((out / "shards").glob("*/*.tar"))
    tar.write_bytes(bytes(tar.stat().st_size))
    assert background.audit(str(out)).unreadable > 0


def test_a_clean_build_raises_no_alarm_and_few_families_are_not_looked_at(tmp_path: Path) -> None:
    planted.build(tmp_path / "clean", 24)
    found = background.audit(str(tmp_path / "clean"))
    assert {one.verdict for one in found.comparisons} == {"even"}
    planted.build(tmp_path / "few", 12, Faults(recoded=True))
    few = background.audit(str(tmp_path / "few"))
    assert few.videos == 0
    assert {one.verdict for one in few.comparisons} <= {"too few to tell"}
