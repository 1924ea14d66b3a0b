"""``training rollout``: a new version beside the old one, until enough is known to decide."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semblance.manifests.console import friendly
from semblance.manifests.errors import StorageError, UsageError
from semblance.training.commands.output import say
from semblance.training.commands.registry import STORE, Model, PublicKey, Registry, registry_at, store_at

if TYPE_CHECKING:
    from semblance.training.rollout.run import Stand

app = typer.Typer(
    help="Try a version beside the champion, and promote it or roll it back by what is shown.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Now = Annotated[
    str | None,
    typer.Option("--now", help="Take this for the present time (ISO 8601, UTC): a faked clock, for rehearsals."),
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.")]
Plan = Annotated[Path, typer.Option("--plan", help="YAML file; see docs/rollout.md.")]


@app.command()
@friendly
def start(
    model: Model,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version to try, or an alias.")],
    plan: Plan,
    events: Annotated[str, typer.Option("--events", help="Folder or s3:// prefix where the services write events.")],
    public_key: PublicKey,
    registry: Registry = STORE,
    now: Now = None,
) -> None:
    """Let a verified version answer a share of subjects beside the champion."""
    from semblance.training.rollout import plan as plans
    from semblance.training.rollout import run

    found = plans.read(str(plan))
    state = run.start(registry_at(registry, public_key), model, version, found, events, _moment(now))
    say(
        f"{model} {state.challenger} answers {state.share:.0%} of subjects beside {state.champion}; roll-out {state.id}"
    )


@app.command()
@friendly
def status(
    model: Model,
    registry: Registry = STORE,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    now: Now = None,
) -> None:
    """Say where a roll-out stands, and what is missing; nothing is changed."""
    from semblance.training.rollout import describe, run

    moment = _moment(now)
    stand = run.look(store_at(registry), model, moment)
    if as_json:
        print(_json(stand))
        return
    for line in describe.lines(stand, moment):
        say(line)


@app.command()
@friendly
def step(
    model: Model,
    registry: Registry = STORE,
    watch: Annotated[
        float | None, typer.Option("--watch", min=1, help="Go on every so many seconds, until it is decided.")
    ] = None,
    now: Now = None,
) -> None:
    """Decide by all events so far, and do it: hold, go to the next step, promote or roll back."""
    from semblance.training.rollout import describe, run

    if watch is not None and now is not None:
        raise UsageError("--watch follows the real clock; leave --now out.")
    opened = store_at(registry)
    while True:
        moment = _moment(now)
        try:
            stand = run.step(opened, model, moment)
        except StorageError as error:
            if watch is None:
                raise
            say(f"{error} (tried again in {watch:g} s)")
        else:
            for line in describe.lines(stand, moment):
                say(line)
            if watch is None or run.ended(stand):
                return
        time.sleep(watch)


@app.command()
@friendly
def rollback(model: Model, registry: Registry = STORE, reason: Reason = "Asked for.", now: Now = None) -> None:
    """Take the challenger back at once; no event is read."""
    from semblance.training.rollout import run

    champion = run.rollback(store_at(registry), model, _moment(now), reason)
    say(f"{champion.name} answers everything; services follow when they next look at the registry")


@app.command()
@friendly
def stop(model: Model, registry: Registry = STORE, reason: Reason = "Asked for.", now: Now = None) -> None:
    """End a roll-out without a verdict; the champion stays."""
    from semblance.training.rollout import run

    state = run.stop(store_at(registry), model, _moment(now), reason)
    say(f"the roll-out {state.id} is ended")


@app.command()
@friendly
def simulate(
    plan: Plan,
    traffic: Annotated[
        list[str] | None,
        typer.Option("--traffic", help="Imagined traffic by key=value, such as per_day=500 or effect=0.02."),
    ] = None,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Number of simulated roll-outs.")] = 200,
    seed: Annotated[int, typer.Option("--seed", help="Of the random numbers.")] = 0,
) -> None:
    """Say how often and when a plan would promote or roll back with imagined traffic."""
    from semblance.manifests.config import apply_settings, parse
    from semblance.training.commands.output import shown
    from semblance.training.rollout import describe
    from semblance.training.rollout import plan as plans
    from semblance.training.rollout import simulate as simulation

    found = plans.read(str(plan))
    imagined = parse(simulation.Traffic, apply_settings({}, traffic or ()), "of --traffic", "imagined traffic")
    simulation.check(found)
    with shown(simulation.runs(found, imagined, runs, seed), runs) as watched:
        for line in describe.simulated(list(watched), imagined):
            say(line)


def _json(stand: Stand) -> str:
    values = {
        "state": stand.state.mapping(),
        "action": stand.decision.action,
        "reasons": list(stand.decision.reasons),
        "evidence": None if stand.evidence is None else stand.evidence.plain(),
    }
    return json.dumps(values, indent=1, ensure_ascii=False)


def _moment(text: str | None) -> datetime:
    from semblance.training.rollout.state import moment

    if text is None:
        return datetime.now(UTC)
    try:
        return moment(text)
    except ValueError as error:
        raise UsageError(f"--now {text!r} is no time; write it as 2026-01-31T12:00.") from error
