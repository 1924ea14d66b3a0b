"""What ``training registry show`` prints of a version, from the registry alone or with a package that is at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from semblance.training.registry.promotion import REPLACED, ROLLED_BACK
from semblance.training.registry.records import CHAMPION, Version
from semblance.training.registry.store import GATES, JUDGED_AT, LINEAGE, SHA256, Store

_HASH: Final = 12  # characters shown of a hash


def lines(registry: Store, version: Version) -> Iterator[str]:
    """The version, line by line."""
    aliases = ", ".join(version.aliases) or "none"
    yield f"{version.name}, number {version.number} in {registry.address}"
    yield f"aliases: {aliases}"
    yield f"package: {version.source}, SHA-256 of its description {version.tags.get(SHA256, 'unknown')[:_HASH]}"
    yield from _lineage(json.loads(version.tags.get(LINEAGE, "{}")))
    if replaced := version.tags.get(REPLACED):
        yield f"replaced: {replaced}"
    if rolled_back := version.tags.get(ROLLED_BACK):
        yield f"rolled back: to {rolled_back}"
    judged: list[dict[str, Any]] = json.loads(version.tags.get(GATES, "[]"))
    if judged:
        passed = sum(bool(one["passed"]) for one in judged)
        yield f"gates: {passed} of {len(judged)} passed at {version.tags.get(JUDGED_AT, 'an unknown time')}"
        for one in judged:
            found = "absent" if one["value"] is None else f"{one['value']:.4g}"
            yield f"  {'passed' if one['passed'] else 'FAILED'}: {one['gate']}: {found}, must be {one['limit']}"
    else:
        yield "gates: never judged"
    if CHAMPION in version.aliases and (route := registry.route(version.model)).challenger is not None:
        yield f"roll-out {route.rollout}: {route.challenger.version} answers {100 * route.share:g} % of the subjects"


def _lineage(record: dict[str, Any]) -> Iterator[str]:
    if not record:
        yield "lineage: not recorded"
        return
    yield f"run: {record['run']}, packaged {record['created']}; code: {record['commit'] or 'commit not recorded'}"
    for member in record["members"]:
        yield (
            f"model {member['name']}: weight {member['weight']:.3f}, checkpoint {member['sha256'][:_HASH]}, recipe "
            f"{member['recipe']} {member['recipe_fingerprint'][:_HASH]}"
        )
        for parent in member["parents"]:
            known = parent["sha256"][:_HASH] if parent["sha256"] else "not there any more"
            yield f"  {parent['role']}: {parent['path']} ({known})"
    for one in record["datasets"]:
        yield f"data: {one['dataset']} ({one['role']}) {one['fingerprint']}"
