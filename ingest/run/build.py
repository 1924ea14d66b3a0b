"""The driver of a build: plan -> videos -> shards -> receipts -> dataset.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from semblance.ingest.detector import door
from semblance.ingest.plan import Plan
from semblance.ingest.run import describe, retry, tasks
from semblance.ingest.run.dask import Cluster, connect
from semblance.ingest.run.log import ObserverGroup
from semblance.ingest.run.schedule import Driver, Observer
from semblance.manifests.errors import SemblanceError
from semblance.shards import build_folder, lock
from semblance.shards.card import card
from semblance.shards.layout import key_of
from semblance.shards.write import is_done


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """How a build ended: ``resumed`` from an earlier run, ``worked`` on this many shards."""

    out: str
    resumed: bool
    worked: int
    description: dict[str, Any]  # dataset.json


def build(
    plan: Plan,
    out: str,
    observer: Observer | None = None,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    again: retry.Again | None = None,
    in_a_row: int | None = None,
) -> Built:
    """Build ``plan`` into ``out``, resuming where an earlier run of the same plan stopped.

    ``observer`` is told of every video and shard. ``workers``: local processes (default: one a core), or
    ``scheduler``: the address of a running Dask cluster. ``again``: process failed videos once more and seal their
    shards again where the result differs, or rebuild shards whose bytes are not those that were committed.
    ``in_a_row``: that many failures in a row end the build.

    Raises SemblanceError for everything that the user can fix; what is committed stays committed.
    """
    observer = observer or ObserverGroup(())
    resumed = build_folder.belongs(plan, out)
    description = build_folder.read(out, build_folder.DATASET)
    if again is None and description is not None and not _pending(plan, out, {}):
        return Built(out=out, resumed=resumed, worked=0, description=description)
    with lock.held(out) as ours:
        if again == "damaged":
            retry.drop_damaged(plan, out)
        chosen = retry.failed(plan, out) if again == "failed" else {}
        pending = _pending(plan, out, chosen)
        if not pending and description is not None:
            return Built(out=out, resumed=resumed, worked=0, description=description)
        if pending:
            _work(plan, out, pending, chosen, observer, ours, workers, scheduler, in_a_row)
        ours.check()
        build_folder.take(plan, out)
        description = describe.describe(plan, out)
        build_folder.finish(out, description, card(description))
    return Built(out=out, resumed=resumed, worked=len(pending), description=description)


def _pending(plan: Plan, out: str, chosen: Mapping[str, frozenset[str]]) -> list[str]:
    """The shards that are not done, or have videos that were chosen for another try."""
    return [
        shard
        for shard in plan.by_shard()
        if shard in chosen or not is_done(out, key_of(shard), plan.fingerprint, thorough=False)
    ]


def _work(
    plan: Plan,
    out: str,
    pending: list[str],
    chosen: Mapping[str, frozenset[str]],
    observer: Observer,
    ours: lock.Lease,
    workers: int | None,
    scheduler: str | None,
    in_a_row: int | None,
) -> None:
    shards = plan.by_shard()
    left = sum(len(chosen.get(shard, shards[shard])) for shard in pending)
    door.prepare(plan.recipe.detect)
    with connect(workers, scheduler) as cluster:
        _check_workers(plan, cluster)
        build_folder.take(plan, out)
        observer.started(len(plan.videos), len(plan.videos) - left, len(pending))
        driver = Driver(
            plan=plan, out=out, cluster=cluster, observer=observer, lease=ours, again=chosen, in_a_row=in_a_row
        )
        driver.run(pending)
    if lost := _pending(plan, out, {}):
        raise SemblanceError(f"{out} has lost what was written of {lost[0]}; run the same command again.")


def _check_workers(plan: Plan, cluster: Cluster) -> None:
    """Every worker must have this code and see the same input."""
    first = next((video for video in plan.videos if video.fault != "missing"), None)
    try:
        seen = cluster.everywhere(tasks.sees, plan.root, first)
    except ModuleNotFoundError as error:
        raise SemblanceError(f"The cluster's workers lack a package ({error}); install semblance there too.") from error
    if blind := sorted(address for address, sees in seen.items() if not sees):
        raise SemblanceError(
            f"The worker at {blind[0]} cannot see {plan.root}; "
            "put the input where every worker finds it under that path."
        )
