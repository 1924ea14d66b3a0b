"""Semantic versions: how large a step must be, and which numbers it leads to."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests.errors import UsageError
from semblance.training.registry import adding, versions
from semblance.training.registry.contents import LABELS, Identity
from semblance.training.registry.records import Semantic
from semblance.training.registry.versions import STEPS, Needed

numbers = st.builds(Semantic, *[st.integers(0, 40)] * 3)
BOX = {"crop.kind": "box", "crop.margin": 1.3}
WIDE = BOX | {"crop.margin": 1.6}


def one(*crops: dict[str, object], labels: tuple[str, ...] = LABELS, **answers: str) -> Identity:
    return Identity(crops=crops, labels=labels, answers={"model0": "a", **answers})


@given(numbers)
def test_text_and_back(version: Semantic) -> None:
    assert Semantic.parse(str(version)) == version
    assert "." not in version.alias


@given(numbers, st.sampled_from(STEPS))
def test_a_bump_is_later_and_the_step_it_says(version: Semantic, step: versions.Step) -> None:
    after = versions.bump(version, step)
    assert after > version
    assert versions.step_between(version, after) == step
    versions.check_later("faces", version, after)


@given(numbers, numbers, st.sampled_from(STEPS))
def test_a_step_is_taken_only_if_it_is_large_enough(old: Semantic, new: Semantic, least: versions.Step) -> None:
    if new <= old:
        with pytest.raises(UsageError, match="is not later than"):
            versions.check_later("faces", old, new)
        return
    needed = Needed(step=least, reason="it differs")
    if STEPS.index(versions.step_between(old, new)) >= STEPS.index(least):
        versions.check("faces", old, new, needed)
        return
    said = re.escape(f"use --bump {least} (version {versions.bump(old, least)})")
    with pytest.raises(UsageError, match=said):
        versions.check("faces", old, new, needed)


@pytest.mark.parametrize(
    ("old", "new", "step", "reason"),
    [
        (one(BOX), one(BOX), "patch", "it answers alike"),
        (one(BOX), one(BOX, model0="b"), "minor", r"it answers otherwise (model0)"),
        (one(BOX), one(BOX, model1="b"), "minor", r"it answers otherwise (model1)"),
        (one(BOX, temperature="1"), one(BOX, temperature="2"), "minor", "it answers otherwise (temperature)"),
        (one(BOX), one(WIDE), "major", "it was trained on other crops (crop.margin 1.6 instead of 1.3)"),
        (one(BOX), one(BOX, WIDE), "major", "it was trained on other crops (2 ways to cut instead of 1)"),
        (one(BOX), one(BOX, labels=("fake", "real")), "major", "its labels mean fake / real instead of"),
        (one(), one(BOX), "patch", "it answers alike"),
    ],
)
def test_what_has_changed_decides(old: Identity, new: Identity, step: str, reason: str) -> None:
    found = versions.needed(old, new)
    assert found.step == step
    assert found.reason.startswith(reason)


def test_wrong_words() -> None:
    for version, bump, sentence in (
        ("1.2.0", "minor", "give one of them"),
        ("1.2", None, "is no semantic version"),
        ("v1.2.0", None, "is no semantic version"),
        ("01.2.0", None, "is no semantic version"),
        (None, "huge", "use major, minor, patch"),
    ):
        with pytest.raises(UsageError, match=sentence):
            adding.check_step(version, bump)
