"""The commands on a real registry: from a start over sentences to a promotion, and a rollback in one command."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from semblance.training.registry import promotion
from semblance.training.rollout import plan as plans
from semblance.training.rollout import run as rollouts
from tests.docs import pages
from tests.training import untrained
from tests.training.registry.models import add, keys, opened
from tests.training.rollout.json_registry import Died
from tests.training.rollout.made_events import at, traffic, write
from tests.training.rollout.test_run import FORTNIGHT

Run = Callable[..., subprocess.CompletedProcess[str]]
PLAN = """
share: 0.5
goals: {accuracy: {margin: 0.1}, latency: {margin: 0.1}}
guardrails: {latency: 0.1}
"""


@pytest.fixture(scope="module")
def stored(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a champion 1.0.0 and a version 1.1.0."""
    folder = tmp_path_factory.mktemp("stored")
    key = keys(folder)
    registry = opened(folder, key)
    for seed, version in enumerate(("1.0.0", "1.1.0")):
        made = untrained.make(folder / version, [ffpp], seed=seed)
        add(registry, made, key, "detector", version)
    promotion.promote(registry, registry.find("detector", "1.0.0"))
    return folder


class Site:
    """A registry of a test's own, the events of its services, and the command."""

    def __init__(self, folder: Path, stored: Path, run: Run) -> None:
        self.folder, self.events, self._run = folder, str(folder / "events"), run
        shutil.copyfile(stored / "mlflow.db", folder / "mlflow.db")
        self.key = stored / "release.pem"
        self.registry = opened(folder, self.key)
        (folder / "plan.yaml").write_text(PLAN)

    def __call__(self, command: str, *words: object, expect: int = 0) -> str:
        done = self._run("training", "rollout", command, *words, "--registry", self.folder / "mlflow.db", expect=expect)
        return done.stdout + done.stderr

    def start(self, version: str = "1.1.0", expect: int = 0, now: str = at(0).isoformat()) -> str:
        words = ("--plan", self.folder / "plan.yaml", "--events", self.events, "--now", now)
        key = ("--public-key", self.key.with_suffix(".pub"))
        return self("start", "detector", version, *words, *key, expect=expect)

    def happen(self, **chances: float) -> None:
        rollout = self.registry.route("detector").rollout
        write(self.events, *traffic(days=FORTNIGHT, rollout=rollout, **chances))  # type: ignore[arg-type]

    def aliases(self) -> dict[str, str]:
        return {alias: str(one.version) for one in self.registry.versions("detector") for alias in one.aliases}


@pytest.fixture
def site(tmp_path: Path, stored: Path, run: Run) -> Site:
    return Site(tmp_path, stored, run)


def test_from_start_to_promotion(site: Site) -> None:
    assert "detector 1.1.0 answers 50% of subjects beside 1.0.0" in site.start()
    assert site.registry.route("detector").share == 0.5
    assert "is going on" in site.start(expect=2)
    site.happen()
    said = site("status", "detector", "--now", "2026-01-09T12:00")
    assert "day 9 of 14" in said
    assert "It is day 9 of 14." in said
    assert "accuracy: challenger" in said
    assert site.aliases() == {"champion": "1.0.0", "challenger": "1.1.0"}  # to look changes nothing
    whole = json.loads(site("status", "detector", "--json", "--now", "2026-01-09T12:00"))
    assert whole["action"] == "hold"
    assert whole["evidence"]["figures"]["accuracy"]["arms"]["challenger"] > 1000
    assert "Nothing changes yet" in site("step", "detector", "--now", "2026-01-09T12:00")
    assert "The challenger is promoted" in site("step", "detector", "--now", "2026-01-15")
    assert site.aliases() == {"champion": "1.1.0", "previous": "1.0.0"}
    assert "No roll-out" in site("status", "detector", expect=2)


def test_a_bad_one_is_rolled_back_by_a_step(site: Site) -> None:
    site.start()
    site.happen(challenger=0.5)
    assert "worse in accuracy" in site("step", "detector", "--now", "2026-01-03")
    assert site.aliases() == {"champion": "1.0.0"}


def test_a_watch_ends_with_the_decision(site: Site) -> None:
    """By the real clock, which is two weeks later than 2001 in any case."""
    site.start(now="2001-01-01")
    site.happen()
    assert "leave --now out" in site("step", "detector", "--watch", 1, "--now", "2026-01-01", expect=2)
    assert "The challenger is promoted" in site("step", "detector", "--watch", 1)


def test_one_command_rolls_back(site: Site) -> None:
    site.start()
    assert "detector 1.0.0 answers everything" in site("rollback", "detector", "--reason", "Complaints.")
    assert site.aliases() == {"champion": "1.0.0"}
    notes = sorted((site.folder / "events" / "rollouts").rglob("*rolled-back.json"))
    assert json.loads(notes[0].read_text())["reasons"] == ["Complaints."]
    assert "registry rollback detector" in site("rollback", "detector", expect=2)


def test_stop_ends_it(site: Site) -> None:
    site.start()
    assert "is ended" in site("stop", "detector")
    assert site.aliases() == {"champion": "1.0.0"}


@pytest.mark.parametrize("changes", [1, 3, 4])
def test_a_death_inside_a_promotion_is_finished_by_the_next_step(
    site: Site, changes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same law as with the registry of a file, on MLflow's."""
    site.start()
    site.happen()
    left = changes

    def mortal(method: Callable[..., None]) -> Callable[..., None]:
        def call(*words: object) -> None:
            nonlocal left
            if left == 0:
                raise Died
            left -= 1
            method(*words)

        return call

    with monkeypatch.context() as patch:
        for name in ("set_alias", "drop_alias", "set_rollout"):
            patch.setattr(site.registry, name, mortal(getattr(site.registry, name)))
        with pytest.raises(Died):
            rollouts.step(site.registry, "detector", at(14))
    assert site.registry.route("detector").champion is not None
    site("step", "detector", "--now", at(14).isoformat())
    assert site.aliases() == {"champion": "1.1.0", "previous": "1.0.0"}


def test_a_package_of_another_key_is_not_let_in(site: Site) -> None:
    site.key = keys(site.folder / "other")
    said = site.start(expect=1)
    assert "sign" in said
    assert site.aliases() == {"champion": "1.0.0"}


def test_wrong_words_are_sentences(site: Site) -> None:
    assert "has no version or alias" in site.start("9.9.9", expect=2)
    assert "no model 'nobody'" in site("status", "nobody", expect=2)
    assert "is no time" in site("status", "detector", "--now", "soon", expect=2)
    (site.folder / "plan.yaml").write_text("min_days: 7")
    assert "min_days is at least 14" in site.start(expect=2)


def test_simulate_says_what_a_plan_would_do(run: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("share: 0.5\ngoals: {accuracy: {want: superior}, latency: null}")
    words = ("training", "rollout", "simulate", "--plan", tmp_path / "plan.yaml", "--runs", 20, "--traffic", "days=21")
    assert "promoted: 100.0%, on day 14.0" in run(*words, "--traffic", "effect=0.08").stdout
    assert "rolled back: 100.0%" in run(*words, "--traffic", "effect=-0.3").stdout
    assert "unknown key 'speed'" in run(*words, "--traffic", "speed=1", expect=2).stderr


@pytest.mark.parametrize(
    "block", [block for block in pages.blocks("yaml") if block.where.startswith("docs/rollout.md")], ids=str
)
def test_the_plans_in_the_documentation_are_plans(block: pages.Block, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(block.text)
    assert plans.read(str(tmp_path / "plan.yaml")).mode in ("ab", "canary", "blue_green")
