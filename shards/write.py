"""Commit a shard: spool, hash and publish the tar, then the rows, then the receipt, which marks it as done."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from semblance.manifests import storage, tables
from semblance.manifests.config import canonical_json
from semblance.manifests.errors import ConservationError, StorageError
from semblance.manifests.ids import digest
from semblance.manifests.records import HASHES_AS_TEXT, Outcome, Rejection, Sample
from semblance.shards import layout, tar
from semblance.shards.layout import Receipt, Stored

REJECT_PICTURES: Final = 8  # per video and reason
_TRIES: Final = 3
_TAR_COLUMNS: Final = ("shard", "tar_offset", "tar_bytes")  # known only when the tar is written


def seal(
    out: str,
    shard: str,
    outcomes: Sequence[Outcome],
    *,
    fingerprint: str,
    seed: int,
    picture_extension: str,
    overwrite: bool = False,
) -> Receipt:
    """Commit the outcomes of a shard's videos at ``out`` and return the receipt.

    ``seed`` shuffles the samples of all videos; rows of samples have the tar's order. An already committed shard,
    for instance by a worker that was presumed lost, is unchanged unless ``overwrite`` is set. Raises ConservationError
    if a video's counts do not add up, SemblanceError if writing fails.
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
    if not overwrite and (done := committed(out, key, fingerprint, thorough=True)) is not None:
        return done
    storage.remove(storage.join(out, layout.receipt_path(key)))  # its files are about to change
    with storage.spool() as spool:
        samples_tar, sample_rows = _write_samples(out, shard, samples, picture_extension, spool)
        rejects_tar, reject_rows = _write_rejects(out, key, outcomes, seed, spool)
    video_rows = [dict(outcome.video) | {"shard": shard if samples else None} for outcome in outcomes]
    parts = {
        table: _publish_rows(out, table, key, rows)
        for table, rows in (("samples", sample_rows), ("rejects", reject_rows), ("videos", video_rows))
    }
    receipt = Receipt(
        key=key,
        fingerprint=fingerprint,
        shard=samples_tar.path if samples_tar else None,
        sha256=samples_tar.sha256 if samples_tar else None,
        bytes=samples_tar.bytes if samples_tar else 0,
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
    return _write_receipt(out, receipt, video_rows)


def _write_receipt(out: str, receipt: Receipt, video_rows: Sequence[Mapping[str, Any]]) -> Receipt:
    """Write the receipt, and check that it matches the stored rows of the videos.

    Those rows contain times. They differ between two workers that seal the same shard because one was presumed lost;
    all other files of the two are equal.
    """
    url = storage.join(out, layout.receipt_path(receipt.key))
    for _ in range(_TRIES):
        storage.write_bytes(url, receipt.to_json().encode())
        if all(fits(out, stored, thorough=stored.path.startswith("manifests/")) for stored in receipt.stored()):
            return receipt
        videos = _publish_rows(out, "videos", receipt.key, video_rows)
        times = dict(receipt.times) | {"videos_bytes": videos.bytes, "videos_sha256": videos.sha256}
        receipt = replace(receipt, times=times)
    raise StorageError(f"{out} does not keep written files (shard {receipt.key}); check the disk, then run again.")


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
    """Whether a shard's receipt exists, belongs to this build, and matches its files by size (thorough: by hash)."""
    return committed(out, key, fingerprint, thorough=thorough) is not None


def committed(out: str, key: str, fingerprint: str, *, thorough: bool) -> Receipt | None:
    """The receipt of a finished shard; None if it is missing, of another build, or does not match its files."""
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
    """The JSON next to a picture: the sample's row without the columns that the tar determines, keys sorted.

    Hashes are 16 hexadecimal digits: many readers of JSON round whole numbers of 64 bits, or refuse them.
    """
    given = {name: value for name, value in row.items() if name not in _TAR_COLUMNS}
    text = {name: f"{given[name]:016x}" for name in HASHES_AS_TEXT if given.get(name) is not None}
    return canonical_json(given | text).encode()


def read_sample_json(data: bytes) -> dict[str, Any]:
    """The row that ``sample_json`` wrote; raises ValueError if it is not JSON, or a hash is not hexadecimal."""
    row = json.loads(data)
    return {
        name: int(value, 16) if name in HASHES_AS_TEXT and isinstance(value, str) else value
        for name, value in row.items()
    }


def _write_samples(
    out: str, shard: str, samples: Sequence[Sample], extension: str, spool: Path
) -> tuple[Stored | None, list[dict[str, Any]]]:
    """Publish the tar; its stored form (None without samples) and the rows, in the tar's order."""
    if not samples:
        storage.remove(storage.join(out, shard))  # left by an earlier, failed attempt
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
    selected = _selected(outcomes, seed)
    members = [(f"{rejection.row['sample_id']}.jpg", rejection.picture or b"") for rejection in selected]
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
            rows.append(dict(rejection.row) | dict(zip(_TAR_COLUMNS, place, strict=True)))
    return stored, rows


def _selected(outcomes: Sequence[Outcome], seed: int) -> list[Rejection]:
    """At most eight rejected faces with a picture per video and reason, selected by hash."""
    groups: defaultdict[tuple[str, str], list[Rejection]] = defaultdict(list)
    for outcome in outcomes:
        for rejection in outcome.rejections:
            if rejection.picture is not None:
                groups[rejection.row["video_id"], rejection.row["reason"]].append(rejection)
    selected = [
        rejection
        for group in groups.values()
        for rejection in sorted(group, key=lambda rejection: digest(seed, rejection.row["sample_id"]))[:REJECT_PICTURES]
    ]
    return sorted(selected, key=lambda rejection: str(rejection.row["sample_id"]))


def _publish_tar(
    out: str, path: str, members: Sequence[tuple[str, bytes]], local: Path
) -> tuple[Stored, dict[str, int]]:
    with local.open("w+b") as file:
        offsets = tar.write(file, members)
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
