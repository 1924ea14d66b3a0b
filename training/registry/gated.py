"""A promotion that has to pass gates: what is judged, where the figures are from, and what is kept of the judgement."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from semblance.manifests.config import canonical_json
from semblance.manifests.errors import SemblanceError
from semblance.training.benchmark.record import Record as Benchmark
from semblance.training.evaluation.record import Record
from semblance.training.registry import contents, gates, integration, package
from semblance.training.registry.gates import Gates, Judged
from semblance.training.registry.mlflow_registry import MLflowRegistry
from semblance.training.registry.records import CHAMPION, Package, Version
from semblance.training.registry.store import GATES, JUDGED_AT

_SHOWN: Final = 20  # failed gates in a message


def judge(
    registry: MLflowRegistry,
    version: Version,
    wanted: Gates,
    cache: Path,
    *,
    benchmark: Benchmark | None = None,
    say: Callable[[str], None],
    now: datetime.datetime | None = None,
) -> Sequence[Judged]:
    """Fetch, verify and judge a version, and keep the judgement as its tags; all gates that it passed.

    Raises SemblanceError, with every failed gate, its value and its limit.
    """
    fetched = registry.fetch(version, cache)
    champion = next((one for one in registry.versions(version.model) if CHAMPION in one.aliases), None)
    theirs = None
    if wanted.against_champion and champion is not None and champion.number != version.number:
        other = registry.fetch(champion, cache)
        theirs = (_run(other), _evaluation(other))
    elif wanted.against_champion:
        say(f"{version.model} has no other champion, so nothing is compared with one")
    found = gates.judge(wanted, _run(fetched), _evaluation(fetched), theirs, benchmark)
    found += integration.judge(wanted.integration, fetched)
    at = (now or datetime.datetime.now(datetime.UTC)).isoformat(timespec="seconds")
    kept = [{"gate": one.gate, "limit": one.limit, "value": one.value, "passed": one.passed} for one in found]
    registry.set_tags(version, {GATES: canonical_json(kept), JUDGED_AT: at})
    failed = [str(one) for one in found if not one.passed]
    if failed:
        more = f"; and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
        raise SemblanceError(
            f"{version.name} is not promoted, for it fails {len(failed)} of {len(found)} gates: "
            f"{'; '.join(failed[:_SHOWN])}{more}."
        )
    return found


def _run(one: Package) -> str:
    return contents.parse(one.folder / contents.FILE).run


def _evaluation(one: Package) -> Record | None:
    file = one.folder / package.EVALUATION
    return package.read_evaluation(file) if file.exists() else None
