"""Start, step and end a roll-out on a registry. Every ending is decided first, so it can be finished after a crash."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from semblance.manifests import storage
from semblance.manifests.config import readable_json
from semblance.manifests.errors import SemblanceError, StorageError, UsageError
from semblance.training.registry.records import CHALLENGER, CHAMPION, PREVIOUS, Aliases, Registry, Route, Version
from semblance.training.rollout import history
from semblance.training.rollout.decide import Decision, Position, decide
from semblance.training.rollout.evidence import Evidence, weigh
from semblance.training.rollout.merge import merge
from semblance.training.rollout.plan import RolloutConfig
from semblance.training.rollout.state import Phase, State

DONE: Final[Mapping[Phase, str]] = {
    "promoting": "promoted",
    "rolling_back": "rolled back",
    "stopping": "stopped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where a roll-out stands, and what is to be done. ``evidence``: None for an ending that was found unfinished."""

    state: State
    decision: Decision
    evidence: Evidence | None


def start(registry: Registry, model: str, which: str, plan: RolloutConfig, events: str, now: datetime) -> State:
    """Let the version ``which`` (an alias or number) answer beside the champion, after its signature was verified.

    Raises UsageError if there is no such version, if it is the champion, or if another roll-out is going on;
    SemblanceError if it cannot be verified, StorageError if ``events`` cannot be written.
    """
    route = registry.route(model)
    if route.rollout or route.state:
        raise UsageError(
            f"A roll-out of {model} is going on ({route.rollout or 'unreadable'}); end it with `training rollout stop "
            f"{model}` before another one starts."
        )
    challenger = registry.find(model, which)
    _check(route.champion, challenger, plan)
    with storage.spool() as folder:
        registry.fetch(challenger, Path(folder))
    state = State(
        id=f"{model}-{challenger.version}-{now:%Y%m%dT%H%M%S}",
        model=model,
        champion=str(route.champion.version),
        challenger=str(challenger.version),
        events=events,
        plan=plan,
        position=Position(started=now, step=0, since=now),
    )
    _note(state, "started", now, ())
    registry.set_alias(challenger, CHALLENGER)
    registry.set_rollout(model, state.mapping())
    return state


def _check(champion: Version, challenger: Version, plan: RolloutConfig) -> None:
    if champion.version == challenger.version:
        raise UsageError(f"{challenger.name} is the champion already; name another version.")
    if champion.version.major != challenger.version.major and plan.mode != "blue_green":
        raise UsageError(
            f"{challenger.name} differs from {champion.name} in its major number, so their answers cannot be compared; "
            "use `mode: blue_green`."
        )


def load(registry: Aliases, model: str) -> State:
    """The roll-out of a model; raises UsageError if there is none."""
    route = registry.route(model)
    if not route.state and not route.rollout:
        raise UsageError(f"No roll-out of {model} is going on; begin one with `training rollout start`.")
    state = State.of(model, route.state)
    _undisturbed(state, route)
    return state


def _undisturbed(state: State, route: Route) -> None:
    champion = str(route.champion.version)
    if champion not in ((state.champion, state.challenger) if state.phase != "running" else (state.champion,)):
        raise SemblanceError(
            f"The champion of {state.model} is {champion}, and was {state.champion} when the roll-out {state.id} "
            f"started: its figures compare nothing now; end it with `training rollout stop {state.model}`."
        )


def look(registry: Aliases, model: str, now: datetime) -> Stand:
    """Read all events and decide, without doing anything."""
    state = load(registry, model)
    if state.phase != "running":
        unfinished = Decision(
            action="hold", reasons=(f"The roll-out is to be {DONE[state.phase]}; `step` finishes it.",)
        )
        return Stand(state=state, decision=unfinished, evidence=None)
    evidence = weigh(history.read(state.events, state.id), state.plan, state.position.since)
    return Stand(state=state, decision=decide(state.plan, state.position, evidence, now), evidence=evidence)


def step(registry: Aliases, model: str, now: datetime) -> Stand:
    """Decide, and do it. An ending that another process left unfinished is finished. Returns the new state."""
    stand = look(registry, model, now)
    state, decision = stand.state, stand.decision
    if state.phase != "running":
        finish(registry, state)
        return dataclasses.replace(stand, decision=Decision(action="hold", reasons=state.reasons))
    if decision.action == "advance":
        state = state.advanced(now)
        registry.set_rollout(model, state.mapping())
        _note(state, "advanced", now, decision.reasons, stand.evidence)
    elif decision.action == "promote":
        state = _end(registry, state, "promoting", now, decision.reasons, stand.evidence)
    elif decision.action == "rollback":
        state = _end(registry, state, "rolling_back", now, decision.reasons, stand.evidence)
    merge(state.events, now)
    return dataclasses.replace(stand, state=state)


def ended(stand: Stand) -> bool:
    """Whether a step ended the roll-out."""
    return stand.state.phase != "running"


def rollback(registry: Aliases, model: str, now: datetime, reason: str = "Asked for.") -> Version:
    """Let the champion with which the roll-out began answer everything, at once; returns it. No event is read.

    That holds also where a promotion was half done. Raises UsageError if there is no roll-out.
    """
    route = registry.route(model)
    if not route.state and not route.rollout:
        raise UsageError(
            f"No roll-out of {model} is going on; `training registry rollback {model}` returns to the champion before "
            f"{route.champion.version}."
        )
    try:
        state = State.of(model, route.state)
    except SemblanceError:  # unreadable: the aliases say enough
        _forget(registry, model)
        return route.champion
    _end(registry, state, "rolling_back", now, (reason,))
    return registry.find(model, state.champion)


def stop(registry: Aliases, model: str, now: datetime, reason: str = "Asked for.") -> State:
    """End a roll-out without a verdict: whoever is the champion goes on."""
    route = registry.route(model)
    if not route.state and not route.rollout:
        raise UsageError(f"No roll-out of {model} is going on.")
    state = State.of(model, route.state)
    if state.phase != "running":
        finish(registry, state)
        return state
    return _end(registry, state, "stopping", now, (reason,))


def _end(
    registry: Aliases,
    state: State,
    phase: Phase,
    now: datetime,
    reasons: tuple[str, ...],
    evidence: Evidence | None = None,
) -> State:
    state = state.ending(phase, now, reasons)
    registry.set_rollout(state.model, state.mapping())  # from here on, every process ends it alike
    _note(state, DONE[phase], now, reasons, evidence)
    finish(registry, state)
    return state


def finish(registry: Aliases, state: State) -> None:
    """Do what was decided; may be done again. There is a champion at every moment."""
    model = state.model
    if state.phase == "promoting":
        registry.set_alias(registry.find(model, state.champion), PREVIOUS)
        registry.set_alias(registry.find(model, state.challenger), CHAMPION)
    elif state.phase == "rolling_back":
        before = registry.find(model, state.champion)
        registry.set_alias(before, CHAMPION)
        if PREVIOUS in before.aliases:  # of a promotion that was half done
            registry.drop_alias(model, PREVIOUS)
    _forget(registry, model)


def _forget(registry: Aliases, model: str) -> None:
    registry.drop_alias(model, CHALLENGER)
    registry.set_rollout(model, None)  # last: until then, another process finds what is left to do


def _note(state: State, what: str, now: datetime, reasons: tuple[str, ...], evidence: Evidence | None = None) -> None:
    """Keep what was done and why beside the events. Only a start needs it: no ending waits for a store."""
    entry: dict[str, Any] = {"what": what, "time": now.isoformat(), "reasons": list(reasons), **state.mapping()}
    entry["evidence"] = None if evidence is None else evidence.plain()
    name = f"{now:%Y%m%dT%H%M%S}-{what.replace(' ', '-')}.json"
    try:
        storage.write_bytes(storage.join(state.events, "rollouts", state.id, name), readable_json(entry).encode())
    except StorageError:
        if what == "started":
            raise
