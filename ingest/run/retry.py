"""Selection of what a retry processes: failed videos, or shards whose bytes have changed since the commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from semblance.ingest.plan import Plan
from semblance.manifests import build_files, storage, tables
from semblance.manifests.records import FAILURES
from semblance.shards.layout import key_of, manifest_path, receipt_path
from semblance.shards.write import committed, fits

Again = Literal["failed", "damaged"]
_BEGUN: Final = "retrying"  # in build.json: shard -> ids of videos
_RETRIED: Final = FAILURES - {"unlabelled", "hdr"}  # decided by the plan and by the recipe


def failed(plan: Plan, out: str) -> dict[str, frozenset[str]]:
    """Shard -> its videos to retry: those that failed, and the fakes guided by an original that failed.

    Only completed shards are included, without the videos that the plan already marks as unusable.
    """
    shards = plan.by_shard()
    retried = failures(plan, out)
    originals = plan.original_of()
    failed_ids = {name for names in retried.values() for name in names}
    for shard in retried:
        guided = {
            video.video_id
            for video in shards[shard]
            if video.video_id in originals and originals[video.video_id].video_id in failed_ids
        }
        retried[shard] |= guided
    return {shard: frozenset(names) for shard, names in retried.items() if names}


def unfinished(plan: Plan, out: str) -> dict[str, frozenset[str]]:
    """What a retry that was interrupted had selected, of the shards that are complete.

    Some of its originals may have passed since, while their fakes still have the results without a guide.
    """
    begun = (build_files.read(out, build_files.CLAIM) or {}).get(_BEGUN) or {}
    return {
        shard: frozenset(begun[shard])
        for shard in plan.by_shard()
        if shard in begun and committed(out, key_of(shard), plan.fingerprint, thorough=False) is not None
    }


def begin(out: str, retried: Mapping[str, frozenset[str]]) -> None:
    """Note in build.json what is processed again, until all of it is; nothing: that it has ended."""
    known = build_files.read(out, build_files.CLAIM) or {}
    rest = {key: value for key, value in known.items() if key != _BEGUN}
    noted = {_BEGUN: {shard: sorted(names) for shard, names in retried.items()}} if retried else {}
    if known != (now := rest | noted):
        build_files.write(out, build_files.CLAIM, now)


def failures(plan: Plan, out: str) -> dict[str, set[str]]:
    """Completed shard -> its videos that failed, without those that the plan already marks as unusable."""
    failed: dict[str, set[str]] = {}
    for shard, videos in plan.by_shard().items():
        receipt = committed(out, key_of(shard), plan.fingerprint, thorough=False)
        if receipt is None:
            continue
        failed[shard] = set()
        if _RETRIED & receipt.statuses.keys():
            rows = tables.read_rows(storage.join(out, manifest_path("videos", receipt.key)), ["video_id", "status"])
            names = {row["video_id"] for row in rows if row["status"] in _RETRIED}
            failed[shard] = names & {video.video_id for video in videos if video.fault is None}
    return failed


def drop_damaged(plan: Plan, out: str) -> int:
    """Remove the receipts of shards whose files have the right size but other bytes; returns their number."""
    count = 0
    for shard in plan.by_shard():
        key = key_of(shard)
        receipt = committed(out, key, plan.fingerprint, thorough=False)
        if receipt is not None and not all(fits(out, stored, thorough=True) for stored in receipt.stored()):
            storage.remove(storage.join(out, receipt_path(key)))
            count += 1
    return count
