"""A build from start to end: plan -> videos -> shards -> receipts -> dataset.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from semblance.ingest.detector import door
from semblance.ingest.plan import Plan
from semblance.ingest.run import describe, limits_record, replaced, retry, tasks
from semblance.ingest.run.dask import Cluster, connect
from semblance.ingest.run.log import ObserverGroup
from semblance.ingest.run.schedule import Driver, Observer
from semblance.manifests import build_files, persons, storage
from semblance.manifests.errors import SemblanceError
from semblance.shards import build_folder, lock
from semblance.shards.card import card
from semblance.shards.layout import key_of
from semblance.shards.write import is_done


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """How a build ended: whether it ``resumed`` an earlier run, and on how many shards it ``worked``."""

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

    ``observer`` is notified of every video and shard. ``workers``: the number of local processes (default: one per
    core); ``scheduler``: the address of a running Dask cluster to use instead. ``again``: ``failed`` processes failed
    videos again, whose files may be new, and seals their shards again where the result differs; ``damaged`` rebuilds
    shards whose bytes have changed. ``in_a_row``: stop the build after this many failures in a row.

    Raises SemblanceError for everything that the user can fix; committed shards stay committed.
    """
    observer = observer or ObserverGroup(())
    plan = replaced.reconciled(plan, out, again)
    resumed = build_folder.belongs(plan, out)
    description = build_files.read(out)
    if again is None and description is not None and not _pending(plan, out, {}):
        return Built(out=out, resumed=resumed, worked=0, description=description)
    with lock.held(out) as lease:
        plan = replaced.reconciled(plan, out, again)  # another run may have ended meanwhile
        if again == "damaged":
            retry.drop_damaged(plan, out)
        retried = retry.failed(plan, out) if again == "failed" else {}
        for shard, names in retry.unfinished(plan, out).items():
            retried[shard] = retried.get(shard, frozenset()) | names
        pending = _pending(plan, out, retried)
        if not pending and description is not None:
            return Built(out=out, resumed=resumed, worked=0, description=description)
        if pending:
            _work(plan, out, pending, retried, observer, lease, workers, scheduler, in_a_row)
        lease.check()
        build_folder.claim(plan, out)
        limits_record.record(plan, out)
        replaced.record(plan, out)
        if (table := plan.recipe.split.persons) is not None:
            storage.write_bytes(persons.url_of(out), storage.read_bytes(table))
        description = describe.describe(plan, out)
        build_folder.finish(out, description, card(description))
    return Built(out=out, resumed=resumed, worked=len(pending), description=description)


def _pending(plan: Plan, out: str, retried: Mapping[str, frozenset[str]]) -> list[str]:
    """The shards that are not done or have videos to retry."""
    return [
        shard
        for shard in plan.by_shard()
        if shard in retried or not is_done(out, key_of(shard), plan.fingerprint, thorough=False)
    ]


def _work(
    plan: Plan,
    out: str,
    pending: list[str],
    retried: Mapping[str, frozenset[str]],
    observer: Observer,
    lease: lock.Lease,
    workers: int | None,
    scheduler: str | None,
    in_a_row: int | None,
) -> None:
    shards = plan.by_shard()
    remaining = sum(len(retried.get(shard, shards[shard])) for shard in pending)
    door.prepare(plan.recipe.detect)
    with connect(workers, scheduler) as cluster:
        _check_workers(plan, cluster)
        build_folder.claim(plan, out)
        limits_record.record(plan, out)
        replaced.record(plan, out)
        retry.begin(out, retried)
        observer.started(len(plan.videos), len(plan.videos) - remaining, len(pending))
        driver = Driver(
            plan=plan, out=out, cluster=cluster, observer=observer, lease=lease, again=retried, in_a_row=in_a_row
        )
        driver.run(pending)
        retry.begin(out, {})
    if lost := _pending(plan, out, {}):
        raise SemblanceError(f"{lost[0]} in {out} disappeared after it was written; run the same command again.")


def _check_workers(plan: Plan, cluster: Cluster) -> None:
    """Raise SemblanceError unless every worker has this code and sees the same input."""
    first = next((video for video in plan.videos if video.fault != "missing"), None)
    try:
        seen = cluster.everywhere(tasks.sees, plan.root, first)
    except ModuleNotFoundError as error:
        raise SemblanceError(
            f"The workers of the cluster miss a package ({error}); install semblance there too."
        ) from error
    if blind := sorted(address for address, visible in seen.items() if not visible):
        raise SemblanceError(
            f"The worker at {blind[0]} cannot see {plan.root}; make the input available at that path on every worker."
        )
