"""Committing a shard: spool, hash, publish the tar, then the rows, then the receipt, which is the mark "done"."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from semblance.manifests import storage, tables
from semblance.manifests.config import canonical_json
from semblance.manifests.errors import ConservationError, StorageError
from semblance.manifests.records import Outcome, Rejection, Sample, digest
from semblance.shards import layout
from semblance.shards import tar as tario
from semblance.shards.layout import Receipt, Stored

REJECT_PICTURES: Final = 8  # a video and reason
_TRIES: Final = 3
_LATE: Final = ("shard", "tar_offset", "tar_bytes")  # known only when the tar is written


def seal(
    out: str,
    shard: str,
    outcomes: Sequence[Outcome],
    *,
    fingerprint: str,
    seed: int,
    picture_extension: str,
    anew: bool = False,
) -> Receipt:
    """Commit the outcomes of a shard's videos at ``out`` and return the receipt.

    The tar's order is mixed across the videos by ``seed``; rows of samples stand in the tar's order.
    A shard that is committed already, by a worker that was taken for lost, stays as it is unless it is to be
    made ``anew``. Raises ConservationError where a video's counts do not fit, SemblanceError where nothing can be
    written.
    """
    key = layout.key_of(shard)
    for outcome in outcomes:
        check_conservation(outcome)
    samples = sorted(
        (sample for outcome in outcomes for sample in outcome.samples),
        key=lambda sample: digest(seed, sample.row["sample_id"]),
    )
    names = Counter(sample.row["sample_id"] for sample in samples)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ConservationError(f"sample ids occur twice: {twice[:3]}")
    if not anew and (done := committed(out, key, fingerprint, thorough=True)) is not None:
        return done
    storage.remove(storage.join(out, layout.receipt_path(key)))  # what it vouches for is about to change
    with storage.spool() as spool:
        tar, sample_rows = _write_samples(out, shard, samples, picture_extension, spool)
        rejects_tar, reject_rows = _write_rejects(out, key, outcomes, seed, spool)
    video_rows = [dict(outcome.video) | {"shard": shard if samples else None} for outcome in outcomes]
    parts = {
        table: _publish_rows(out, table, key, rows)
        for table, rows in (("samples", sample_rows), ("rejects", reject_rows), ("videos", video_rows))
    }
    receipt = Receipt(
        key=key,
        fingerprint=fingerprint,
        shard=tar.path if tar else None,
        sha256=tar.sha256 if tar else None,
        bytes=tar.bytes if tar else 0,
        samples=len(samples),
        rejects=len(reject_rows),
        videos=len(video_rows),
        files=(parts["samples"], parts["rejects"], *([rejects_tar] if rejects_tar else [])),
        statuses=dict(Counter(row["status"] for row in video_rows)),
        times={
            "videos_bytes": parts["videos"].bytes,
            "videos_sha256": parts["videos"].sha256,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    return _settled(out, receipt, video_rows)


def _settled(out: str, receipt: Receipt, video_rows: Sequence[Mapping[str, Any]]) -> Receipt:
    """Write the receipt, and see that it fits the rows of the videos.

    Those rows tell seconds, so they differ between two workers that seal the same shard because one was taken for
    lost; everything else that the two write is the same.
    """
    url = storage.join(out, layout.receipt_path(receipt.key))
    for _ in range(_TRIES):
        storage.write_bytes(url, receipt.to_json().encode())
        if all(fits(out, stored, thorough=stored.path.startswith("manifests/")) for stored in receipt.stored()):
            return receipt
        videos = _publish_rows(out, "videos", receipt.key, video_rows)
        times = dict(receipt.times) | {"videos_bytes": videos.bytes, "videos_sha256": videos.sha256}
        receipt = replace(receipt, times=times)
    raise StorageError(
        f"{out} does not keep what is written to it (shard {receipt.key}); check the disk, then run again."
    )


def check_conservation(outcome: Outcome) -> None:
    """Law 1 for one video: faces seen = crops kept + crops rejected, and rows for all of them."""
    row = outcome.video
    kept = sum(sample.row["verdict"] == "keep" for sample in outcome.samples)
    rejected = sum(rejection.row["unit"] == "face" for rejection in outcome.rejections)
    if (row["faces_seen"], row["crops_kept"], row["crops_rejected"]) != (kept + rejected, kept, rejected):
        raise ConservationError(
            f"{row['video_id']}: {row['faces_seen']} faces seen, but {kept} kept and {rejected} rejected"
        )


def is_done(out: str, key: str, fingerprint: str, *, thorough: bool) -> bool:
    """Whether a shard's receipt is there, is this build's, and its files fit it by size (thorough: by hash)."""
    return committed(out, key, fingerprint, thorough=thorough) is not None


def committed(out: str, key: str, fingerprint: str, *, thorough: bool) -> Receipt | None:
    """The receipt of a shard that is done; None where there is none, another build's, or files that do not fit it."""
    try:
        receipt = layout.read_receipt(out, key)
    except ValueError:
        return None
    if receipt is None or (receipt.fingerprint, receipt.key) != (fingerprint, key):
        return None
    return receipt if all(fits(out, stored, thorough=thorough) for stored in receipt.stored()) else None


def fits(out: str, stored: Stored, *, thorough: bool) -> bool:
    """Whether a committed file has the receipt's size (thorough: and hash)."""
    url = storage.join(out, stored.path)
    try:
        if storage.size(url) != stored.bytes:
            return False
        return not thorough or sha256_of(url) == stored.sha256
    except FileNotFoundError:
        return False


def sha256_of(url: str) -> str:
    """SHA-256 in hex of a stored file."""
    with storage.reading(url) as file:
        h = hashlib.sha256()
        while block := file.read(1 << 20):
            h.update(block)
    return h.hexdigest()


def sample_json(row: Mapping[str, Any]) -> bytes:
    """The JSON beside a picture: the sample's row without what only the tar decides, keys sorted."""
    return canonical_json({name: value for name, value in row.items() if name not in _LATE}).encode()


def _write_samples(
    out: str, shard: str, samples: Sequence[Sample], extension: str, spool: Path
) -> tuple[Stored | None, list[dict[str, Any]]]:
    """Publish the tar; its stored form (None without samples) and the rows, in the tar's order."""
    if not samples:
        storage.remove(storage.join(out, shard))  # of an earlier, failed attempt
        return None, []
    rows, members = [], []
    for sample in samples:
        row = dict(sample.row) | {
            "encoded_bytes": len(sample.picture),
            "sha256": hashlib.sha256(sample.picture).hexdigest(),
        }
        sample_id = row["sample_id"]
        members.append((f"{sample_id}.{extension}", sample.picture))
        members.append((f"{sample_id}.json", sample_json(row)))
        if sample.mask is not None:
            members.append((f"{sample_id}.mask.png", sample.mask))
        rows.append(row)
    stored, offsets = _publish_tar(out, shard, members, spool / "samples.tar")
    for row in rows:
        row |= {
            "shard": shard,
            "tar_offset": offsets[f"{row['sample_id']}.{extension}"],
            "tar_bytes": row["encoded_bytes"],
        }
    return stored, rows


def _write_rejects(
    out: str, key: str, outcomes: Sequence[Outcome], seed: int, spool: Path
) -> tuple[Stored | None, list[dict[str, Any]]]:
    """Publish some pictures of rejected faces; the tar's stored form and the rows of all rejections."""
    path = layout.rejects_path(key)
    chosen = _chosen(outcomes, seed)
    members = [(f"{one.row['sample_id']}.jpg", one.picture or b"") for one in chosen]
    if members:
        stored, offsets = _publish_tar(out, path, members, spool / "rejects.tar")
    else:
        storage.remove(storage.join(out, path))
        stored, offsets = None, {}
    sizes = {name: len(picture) for name, picture in members}
    rows = []
    for outcome in outcomes:
        for rejection in outcome.rejections:
            name = f"{rejection.row.get('sample_id')}.jpg"
            place = (path, offsets[name], sizes[name]) if name in offsets else (None, None, None)
            rows.append(dict(rejection.row) | dict(zip(_LATE, place, strict=True)))
    return stored, rows


def _chosen(outcomes: Sequence[Outcome], seed: int) -> list[Rejection]:
    """At most eight rejected faces with a picture a video and reason, by hash."""
    groups: defaultdict[tuple[str, str], list[Rejection]] = defaultdict(list)
    for outcome in outcomes:
        for rejection in outcome.rejections:
            if rejection.picture is not None:
                groups[rejection.row["video_id"], rejection.row["reason"]].append(rejection)
    chosen = [
        rejection
        for group in groups.values()
        for rejection in sorted(group, key=lambda one: digest(seed, one.row["sample_id"]))[:REJECT_PICTURES]
    ]
    return sorted(chosen, key=lambda one: str(one.row["sample_id"]))


def _publish_tar(
    out: str, path: str, members: Sequence[tuple[str, bytes]], local: Path
) -> tuple[Stored, dict[str, int]]:
    with local.open("w+b") as file:
        offsets = tario.write(file, members)
    return _publish(out, path, local), offsets


def _publish_rows(out: str, table: str, key: str, rows: Sequence[Mapping[str, Any]]) -> Stored:
    with storage.spool() as spool:
        local = spool / "part.parquet"
        tables.write_rows(str(local), rows, table)  # type: ignore[arg-type]
        return _publish(out, layout.manifest_path(table, key), local)


def _publish(out: str, path: str, local: Path) -> Stored:
    stored = Stored(path=path, bytes=local.stat().st_size, sha256=sha256_of(str(local)))
    storage.publish(str(local), storage.join(out, path))
    return stored
