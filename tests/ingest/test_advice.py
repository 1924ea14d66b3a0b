"""A plan whose val or test holds no real or no fake says what that means, and names a way out that works."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from semblance.ingest import advice, plan
from semblance.ingest.recipe import parse


def advised(root: Path, names: Sequence[str], settings: dict[str, Any] | None = None) -> str | None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return advice.lopsided(plan.make("folder", str(root), parse({"split": settings or {}}, "test")))


def test_a_plan_with_both_labels_everywhere_has_none(tmp_path: Path) -> None:
    names = [f"{label}/{number}.mp4" for number in range(30) for label in ("real", "fake/swap")]
    assert advised(tmp_path, names) is None


def test_another_protocol_is_named_if_it_helps(tmp_path: Path) -> None:
    """Published splits have both labels, families by chance have not."""
    names = [f"{split}/{label}/{split}.mp4" for split in ("train", "val", "test") for label in ("real", "fake")]
    said = advised(tmp_path, [*names, "train/real/more.mp4"], {"protocol": "family", "fractions": [0.9, 0.05, 0.05]})
    if said is not None:
        assert "--set split.protocol=official" in said
        assert advised(tmp_path, [], {"protocol": "official"}) is None


@pytest.mark.parametrize("count", [1, 2])
def test_few_families_are_too_few(tmp_path: Path, count: int) -> None:
    names = [f"{label}/{number}.mp4" for number in range(count) for label in ("real", "fake/swap")]
    said = advised(tmp_path, names)
    assert said is not None
    assert "no detector can be validated" in said or "no detector can be tested" in said
    assert f"{count} famil" in said
    assert "split.protocol" not in said
    assert "split.fractions" not in said


def test_a_split_that_is_not_wanted_is_not_missed(tmp_path: Path) -> None:
    names = [f"{label}/{number}.mp4" for number in range(4) for label in ("real", "fake/swap")]
    assert advised(tmp_path, names, {"fractions": [1, 0, 0]}) is None


def test_a_collection_of_fakes_needs_reals(tmp_path: Path) -> None:
    said = advised(tmp_path, [f"fake/swap/{number}.mp4" for number in range(30)])
    assert said is not None
    assert re.search(r"val has no real; test has no real .* the collection has no reals; add some\.$", said)
