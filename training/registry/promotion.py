"""Who answers: a version becomes the challenger or the champion, and one step back, at no moment without a champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from semblance.manifests.errors import UsageError
from semblance.training.registry.records import CHALLENGER, CHAMPION, PREVIOUS, Aliases, Version

REPLACED: Final = "replaced"  # tag of a champion: the version that was the champion before it
ROLLED_BACK: Final = "rolled_back"  # tag of a version that was the champion: the one that took its place


class Noting(Aliases, Protocol):
    """A registry that also keeps notes on versions."""

    def set_tags(self, version: Version, tags: Mapping[str, str]) -> None:
        """Note something with a version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What was done: ``champion`` answers now, ``before`` did (None: nobody). ``stopped``: the id of a roll-out."""

    champion: Version
    before: Version | None = None
    stopped: str = ""


def challenge(registry: Noting, version: Version) -> None:
    """Make a version the challenger. Raises UsageError if it is the champion, or a roll-out tries another one."""
    aliases = _aliases(registry, version.model)
    if (champion := aliases.get(CHAMPION)) is not None and champion.number == version.number:
        raise UsageError(f"{version.name} is the champion already; name another version.")
    _no_rollout(registry, aliases, version)
    registry.set_alias(version, CHALLENGER)


def promote(registry: Noting, version: Version) -> Step:
    """Make a version the champion, and the champion the previous one. Run again after an interruption, it completes.

    Raises UsageError while a roll-out is going on, which promotes by itself.
    """
    aliases = _aliases(registry, version.model)
    _no_rollout(registry, aliases, version)
    before = aliases.get(CHAMPION)
    if before is None or before.number != version.number:
        if before is not None:
            registry.set_tags(version, {REPLACED: str(before.version), ROLLED_BACK: ""})
            registry.set_alias(before, PREVIOUS)
        registry.set_alias(version, CHAMPION)
    if (challenger := aliases.get(CHALLENGER)) is not None and challenger.number == version.number:
        registry.drop_alias(version.model, CHALLENGER)
    return Step(champion=registry.find(version.model, CHAMPION), before=before)


def rollback(registry: Noting, model: str) -> Step:
    """Make the previous version the champion again, and stop a roll-out. The other one keeps its version and package.

    The version before that becomes the previous one, unless there is none or it was rolled back itself. Run again after
    an interruption, it completes.
    Raises UsageError if there is no previous version.
    """
    aliases = _aliases(registry, model)
    previous, bad = aliases.get(PREVIOUS), aliases.get(CHAMPION)
    if previous is None:
        now = f"its champion is {bad.version}" if bad is not None else "it has no champion"
        raise UsageError(
            f"{model} has no previous version to go back to ({now}); promote one with `training registry promote`."
        )
    stopped = registry.route(model).rollout if bad is not None else ""
    if bad is not None and bad.number != previous.number:  # else it was interrupted after the next line
        registry.set_tags(bad, {ROLLED_BACK: str(previous.version)})
    registry.set_alias(previous, CHAMPION)
    if stopped:
        registry.drop_alias(model, CHALLENGER)
        registry.set_rollout(model, None)  # last: until then, another call finds what is left to do
    earlier = previous.tags.get(REPLACED)
    found = next((one for one in registry.versions(model) if str(one.version) == earlier), None)
    if found is None or found.tags.get(ROLLED_BACK):
        registry.drop_alias(model, PREVIOUS)
    else:
        registry.set_alias(found, PREVIOUS)
    return Step(champion=registry.find(model, CHAMPION), before=bad, stopped=stopped)


def newest(registry: Noting, model: str) -> Version | None:
    """The latest version of a model, None if there is no such model."""
    try:
        return registry.versions(model)[-1]
    except UsageError:
        return None


def _aliases(registry: Noting, model: str) -> dict[str, Version]:
    return {alias: one for one in registry.versions(model) for alias in one.aliases}


def _no_rollout(registry: Noting, aliases: Mapping[str, Version], version: Version) -> None:
    if CHAMPION not in aliases:
        return
    if rollout := registry.route(version.model).rollout:
        raise UsageError(
            f"The roll-out {rollout} of {version.model} is going on; stop it with `training rollout stop "
            f"{version.model}`, or let it decide."
        )
