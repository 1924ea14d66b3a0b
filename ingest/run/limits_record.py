"""The limits that a build has run with: build.json lists them, since the fingerprint does not cover them."""

from __future__ import annotations

import itertools
from typing import Any, Final

from semblance.ingest.plan import Plan
from semblance.manifests import build_files
from semblance.manifests.config import differences

_KEY: Final = "limits"


def used(plan: Plan, out: str) -> list[dict[str, Any]]:
    """The different limits of all runs of the build at ``out`` in their order; the last ones are those of ``plan``."""
    now = plan.recipe.limits.model_dump(mode="json")
    before = (build_files.read(out, build_files.CLAIM) or {}).get(_KEY) or []
    return before if before and before[-1] == now else [*before, now]


def changes(plan: Plan, out: str) -> list[str]:
    """A line ``limits.key: old -> new`` for each limit that differs from that of this build's last run at ``out``."""
    if (build_files.read(out, build_files.CLAIM) or {}).get("fingerprint") != plan.fingerprint:
        return []
    *before, now = used(plan, out)
    return [f"{_KEY}.{line}" for line in differences(before[-1], now)] if before else []


def record(plan: Plan, out: str) -> None:
    """Note the limits of this run in the build.json of ``out``, which this build has claimed."""
    known = build_files.read(out, build_files.CLAIM) or {}
    if known.get(_KEY) != (now := used(plan, out)):
        build_files.write(out, build_files.CLAIM, known | {_KEY: now})


def facts(runs: list[dict[str, Any]]) -> list[str]:
    """A sentence for the card for each change of the limits during the build."""
    return [
        f"Limits changed during the build: {', '.join(differences(before, after))}"
        for before, after in itertools.pairwise(runs)
    ]
