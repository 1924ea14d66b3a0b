"""Another chance: the videos that failed, or the shards whose bytes are not those that were committed."""

from __future__ import annotations

from typing import Final, Literal

from semblance.ingest.plan import Plan
from semblance.manifests import storage, tables
from semblance.manifests.records import FAILURES
from semblance.shards.layout import key_of, manifest_path, receipt_path
from semblance.shards.write import committed, fits

Again = Literal["failed", "damaged"]
_CHANCE: Final = FAILURES - {"unlabelled"}  # the plan decides that, and what it found missing


def failed(plan: Plan, out: str) -> dict[str, frozenset[str]]:
    """Shard -> its videos that are worth another try: those that failed, and the fakes that such an original guides.

    Only shards that are done are named. Videos that the plan itself cannot use stay out.
    """
    shards = plan.by_shard()
    found: dict[str, set[str]] = {}
    done = []
    for shard in shards:
        receipt = committed(out, key_of(shard), plan.fingerprint, thorough=False)
        if receipt is None:
            continue
        done.append(shard)
        if not _CHANCE & receipt.statuses.keys():
            continue
        rows = tables.read_rows(storage.join(out, manifest_path("videos", receipt.key)), ["video_id", "status"])
        bad = {row["video_id"] for row in rows if row["status"] in _CHANCE}
        found[shard] = bad & {video.video_id for video in shards[shard] if video.fault is None}
    originals = plan.original_of()
    again = {name for names in found.values() for name in names}
    for shard in done:
        guided = {
            video.video_id
            for video in shards[shard]
            if video.video_id in originals and originals[video.video_id].video_id in again
        }
        found[shard] = found.get(shard, set()) | guided
    return {shard: frozenset(names) for shard, names in found.items() if names}


def drop_damaged(plan: Plan, out: str) -> int:
    """Take the receipts away of shards whose files have the right size and other bytes; how many there were."""
    count = 0
    for shard in plan.by_shard():
        key = key_of(shard)
        receipt = committed(out, key, plan.fingerprint, thorough=False)
        if receipt is not None and not all(fits(out, stored, thorough=True) for stored in receipt.stored()):
            storage.remove(storage.join(out, receipt_path(key)))
            count += 1
    return count
