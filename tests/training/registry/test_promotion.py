"""Who answers: never nobody, whatever is interrupted, and one step back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from semblance.manifests.errors import UsageError
from semblance.training.registry import promotion
from semblance.training.registry.mlflow_registry import MLflowRegistry
from semblance.training.registry.records import CHALLENGER, CHAMPION, PREVIOUS
from tests.training import untrained
from tests.training.registry import models

NUMBERS = ("1.0.0", "1.1.0", "2.0.0")
CHANGES = ("set_alias", "drop_alias", "set_rollout", "set_tags")


@pytest.fixture(scope="module")
def shelf(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> MLflowRegistry:
    folder = tmp_path_factory.mktemp("store")
    key = models.keys(folder / "keys")
    registry = models.opened(folder, key)
    for seed, version in enumerate(NUMBERS):
        run = untrained.make(folder / f"run{seed}", [ffpp], seed=seed, gain=9)
        models.add(registry, run, key, "faces", version)
    return registry


@pytest.fixture
def registry(shelf: MLflowRegistry) -> MLflowRegistry:
    return anew(shelf)


def anew(registry: MLflowRegistry) -> MLflowRegistry:
    """Without aliases, roll-out and notes."""
    registry.set_rollout("faces", None)
    for alias in (CHAMPION, CHALLENGER, PREVIOUS):
        registry.drop_alias("faces", alias)
    for one in registry.versions("faces"):
        registry.set_tags(one, {promotion.REPLACED: "", promotion.ROLLED_BACK: ""})
    return registry


def state(registry: MLflowRegistry) -> dict[str, str]:
    """Versions by alias."""
    return {alias: str(one.version) for one in registry.versions("faces") for alias in one.aliases}


class StoppedError(Exception):
    """What ends a process between two calls."""


class Watched:
    """A registry that is interrupted after some changes, and looked at after each."""

    def __init__(self, registry: MLflowRegistry, left: int, look: Callable[[], object]) -> None:
        self._registry, self._left, self._look = registry, left, look

    def __getattr__(self, name: str) -> Any:
        called = getattr(self._registry, name)
        return self._changed(called) if name in CHANGES else called

    def _changed(self, called: Callable[..., None]) -> Callable[..., None]:
        def change(*words: Any) -> None:
            if not self._left:
                raise StoppedError
            self._left -= 1
            called(*words)
            self._look()

        return change


def before_promotion(registry: MLflowRegistry) -> None:
    first, second, _ = registry.versions("faces")
    registry.set_alias(first, CHAMPION)
    registry.set_alias(second, CHALLENGER)


def before_rollback(registry: MLflowRegistry) -> None:
    """The third version replaced the second, which replaced the first; a roll-out tries the first again."""
    first, second, third = registry.versions("faces")
    for one in (first, second, third):
        promotion.promote(registry, one)
    registry.set_alias(first, CHALLENGER)
    registry.set_rollout("faces", {"id": "r", "share": 0.1})


CASES: Mapping[str, tuple[Callable[[MLflowRegistry], None], Callable[[Any], object], Mapping[str, str]]] = {
    "promote": (
        before_promotion,
        lambda registry: promotion.promote(registry, registry.find("faces", "1.1.0")),
        {CHAMPION: "1.1.0", PREVIOUS: "1.0.0"},
    ),
    "rollback": (
        before_rollback,
        lambda registry: promotion.rollback(registry, "faces"),
        {CHAMPION: "1.1.0", PREVIOUS: "1.0.0"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_interruption_anywhere_leaves_a_champion_and_is_completed(registry: MLflowRegistry, case: str) -> None:
    begin, act, end = CASES[case]
    interrupted = 0
    for left in range(12):
        begin(anew(registry))
        watched = Watched(registry, left, lambda: registry.route("faces"))  # raises without a champion
        try:
            act(watched)
        except StoppedError:
            interrupted += 1
            assert registry.route("faces").champion
            act(registry)
        assert state(registry) == end
        assert registry.route("faces").rollout == ""
        if interrupted <= left:
            break
    assert interrupted >= 4


def test_promotion_and_rollback(registry: MLflowRegistry) -> None:
    first, second, third = registry.versions("faces")
    with pytest.raises(UsageError, match=r"no previous version to go back to \(it has no champion\)"):
        promotion.rollback(registry, "faces")
    assert promotion.promote(registry, first).before is None
    with pytest.raises(UsageError, match=r"no previous version to go back to \(its champion is 1\.0\.0\)"):
        promotion.rollback(registry, "faces")
    promotion.challenge(registry, second)
    with pytest.raises(UsageError, match="is the champion already"):
        promotion.challenge(registry, first)
    promotion.promote(registry, second)
    promotion.promote(registry, second)  # again: nothing changes
    assert state(registry) == {PREVIOUS: "1.0.0", CHAMPION: "1.1.0"}
    promotion.promote(registry, third)
    assert state(registry) == {PREVIOUS: "1.1.0", CHAMPION: "2.0.0"}
    done = promotion.rollback(registry, "faces")
    assert done.before is not None
    assert (done.champion.version, done.before.version, done.stopped) == (second.version, third.version, "")
    assert state(registry) == {PREVIOUS: "1.0.0", CHAMPION: "1.1.0"}
    assert registry.find("faces", "2.0.0").tags[promotion.ROLLED_BACK] == "1.1.0"
    promotion.rollback(registry, "faces")
    assert state(registry) == {CHAMPION: "1.0.0"}


def test_a_rollback_never_leads_to_what_was_rolled_back(registry: MLflowRegistry) -> None:
    first, second, third = registry.versions("faces")
    for one in (first, second):
        promotion.promote(registry, one)
    promotion.rollback(registry, "faces")  # the second is bad
    promotion.promote(registry, third)
    registry.set_tags(first, {promotion.REPLACED: "1.1.0"})
    promotion.rollback(registry, "faces")
    assert state(registry) == {CHAMPION: "1.0.0"}
    promotion.promote(registry, second)  # mended elsewhere: it may be tried again
    assert state(registry) == {CHAMPION: "1.1.0", PREVIOUS: "1.0.0"}
    assert registry.find("faces", "1.1.0").tags[promotion.ROLLED_BACK] == ""


def test_a_rollout_is_stopped_by_a_rollback_and_disturbed_by_nothing_else(registry: MLflowRegistry) -> None:
    before_rollback(registry)
    for ask in (promotion.promote, promotion.challenge):
        with pytest.raises(UsageError, match=r"The roll-out r of faces is going on; stop it with `training rollout"):
            ask(registry, registry.find("faces", "1.1.0"))
    done = promotion.rollback(registry, "faces")
    assert done.stopped == "r"
    assert registry.route("faces").challenger is None


def test_of_two_versions_with_one_number_the_first_has_it(
    registry: MLflowRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another process adds one between the look and the entry."""
    before = registry.versions("faces")
    registry.copy(before[-1], tmp_path / "package")
    monkeypatch.setattr(registry, "_free", lambda *_: None)
    with pytest.raises(UsageError, match=r"faces was given a version 2\.0\.0 by another process just now"):
        registry.add(before[-1].version, tmp_path / "package")
    assert registry.versions("faces") == before
