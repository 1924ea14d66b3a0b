"""Which keys of a recipe change the pixels of crops, and how their differences are told."""

from __future__ import annotations

import pytest

from semblance.ingest import recipe as recipes
from semblance.ingest.recipe import Recipe
from semblance.manifests.config import flatten
from semblance.training.guard import crops

# Which videos, frames and faces there are, and where they are kept.
ELSEWHERE = (
    *("name", "seed", "limit", "faces", "masks", "source", "sampling", "detect", "track", "guide", "gates"),
    *("split", "temporal", "shards", "limits", "decode.decoder", "decode.skip"),
)


def test_every_key_of_a_recipe_is_known_to_change_pixels_or_not() -> None:
    """A new key must be put into one of the lists; and what an older build lacks has the value it was built with."""
    keys = dict(flatten(Recipe().model_dump(mode="json")))
    others = {key for key in keys if key in ELSEWHERE or key.partition(".")[0] in ELSEWHERE}
    assert others | set(crops.PIXELS) == set(keys)
    assert not others & set(crops.PIXELS)
    assert dict(crops.PIXELS) == {key: keys[key] for key in crops.PIXELS}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("crop.margin=2.2", "crop.size=160"), ["crop.margin 2.2 instead of 1.3", "crop.size 160 instead of 224"]),
        (("recompress.crf=40",), ["recompress.crf 40 instead of none"]),
        (("encoding.quality=80",), ["encoding.quality 80 instead of 95"]),
        (("encoding.format=png",), ["encoding.format png instead of jpg", "encoding.quality none instead of 95"]),
        (("decode.deinterlace=true",), ["decode.deinterlace true instead of false"]),
        (("sampling.n=4", "gates.blur=9", "split.protocol=family", "detect.device=cuda"), []),
    ],
)
def test_differences(settings: tuple[str, ...], told: list[str]) -> None:
    one, plan = (recipes.load("plan", given).model_dump(mode="json") for given in (settings, ()))
    assert crops.differences(one, plan) == told
    assert crops.differences(plan, plan) == crops.differences(one, None) == crops.differences({}, plan) == []
    assert crops.nearest(one, [plan, one]) == []
    older = {key: value for key, value in plan.items() if key not in ("decode", "recompress")}
    assert crops.differences(plan, older) == []


def test_quality_says_nothing_of_lossless_pictures() -> None:
    one, two = (
        recipes.load("plan", ("encoding.format=png", f"encoding.quality={quality}")).model_dump(mode="json")
        for quality in (50, 95)
    )
    assert crops.differences(one, two) == []
