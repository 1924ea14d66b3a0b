"""Verify a build: files against receipts, rows against the plan, and the active split for leaks."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from semblance.manifests import build_files, leaks, persons, storage
from semblance.manifests import tables as store
from semblance.manifests.build_files import CLAIM, DATASET
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import SPLIT_COLUMNS, Finding
from semblance.shards import layout, tar
from semblance.shards.layout import Receipt
from semblance.shards.lock import LOCK
from semblance.shards.read import MASK, PICTURES
from semblance.shards.write import fits, read_sample_json, sample_json

_GREY: Final = b"\x08\x00"  # bit depth and colour type in a PNG header: 8 bits, greyscale
_COUNTED: Final = {  # the columns needed to count rows and compare their splits
    "plan": ["video_id", "shard", *SPLIT_COLUMNS],
    "samples": ["video_id", "verdict", *SPLIT_COLUMNS],
    "rejects": ["video_id", "unit", *SPLIT_COLUMNS],
    "videos": ["video_id", "faces_seen", "crops_kept", "crops_rejected", *SPLIT_COLUMNS],
}
_MAGIC: Final = {"jpg": b"\xff\xd8\xff", "png": b"\x89PNG", "webp": b"RIFF"}
_AGAIN: Final = "run the same `ingest build` again to rebuild this shard"


@dataclass(slots=True, kw_only=True)
class Report:
    """The problems that a verification found, and how much it read.

    ``problems``: sentences on files and rows; ``leaks``: findings on the active split, as in ``quality audit``.
    """

    deep: bool
    problems: list[str] = field(default_factory=list)
    leaks: list[Finding] = field(default_factory=list)
    shards: int = 0  # with a receipt
    uncounted: int = 0  # planned shards whose rows are not in the counts below, because of damage
    videos: int = 0
    samples: int = 0
    rejects: int = 0

    @property
    def leaking(self) -> bool:
        """Whether the active split breaks a promise of its protocol."""
        return any(leak.level == "broken" for leak in self.leaks)

    def add(self, what: str, where: str, remedy: str = _AGAIN) -> None:
        self.problems.append(f"{where}: {what}; {remedy}.")


def verify(out: str, *, deep: bool) -> Report:
    """Check a build against its own plan and receipts, and its active split for leaks; ``deep`` reads every byte.

    Raises SemblanceError if ``out`` is not a build.
    """
    report = Report(deep=deep)
    plan = store.read_plan(out)
    dataset = _dataset(out, report)
    report.leaks = leaks.findings(plan, *leaks.active_protocol(dataset, plan))
    planned: dict[str, list[dict[str, Any]]] = {}
    for row in plan.select(_COUNTED["plan"]).to_dicts():
        planned.setdefault(row["shard"], []).append(row)
    expected = {"plan.parquet", DATASET, CLAIM, "inputs.parquet", "CARD.md", "manifests/findings.parquet"}
    expected |= {persons.FILE, LOCK}  # written later, by `quality persons`; a build is running, or was killed
    for shard, rows in planned.items():
        receipt = _receipt(out, layout.key_of(shard), dataset, report)
        counted = False
        if receipt is not None:
            expected |= {stored.path for stored in receipt.stored()} | {layout.receipt_path(receipt.key)}
            counted = _verify_shard(out, shard, receipt, rows, report)
        report.uncounted += not counted
    for stat in storage.walk(out) if deep else []:
        if stat.path not in expected and not stat.path.startswith(("report/", "manifests/flags/")):
            report.add("is not listed in any receipt", stat.path, "remove it if no build is running")
    return report


def _dataset(out: str, report: Report) -> dict[str, Any]:
    try:
        value = build_files.read(out)
    except SemblanceError:
        report.add("is damaged", DATASET, "remove it and run the same `ingest build` again")
        return {}
    if value is None:
        report.add("is missing: the build is not finished", DATASET, "run the same `ingest build` again to finish it")
    return value or {}


def _receipt(out: str, key: str, dataset: Mapping[str, Any], report: Report) -> Receipt | None:
    path = layout.receipt_path(key)
    try:
        receipt = layout.read_receipt(out, key)
    except ValueError:
        report.add("the receipt is damaged", path)
        return None
    if receipt is None:
        report.add("is missing: this shard is not finished", path)
    elif not dataset or receipt.fingerprint == dataset.get("fingerprint"):
        return receipt
    else:
        report.add("the receipt belongs to another build", path)
    return None


def _verify_shard(out: str, shard: str, receipt: Receipt, planned: list[dict[str, Any]], report: Report) -> bool:
    """Check one shard; whether its rows could be read and are counted."""
    report.shards += 1
    faults = len(report.problems)
    for stored in receipt.stored():
        if not fits(out, stored, thorough=report.deep):
            same_size = report.deep and fits(out, stored, thorough=False)
            retry = "run the same `ingest build` with --retry damaged to rebuild this shard"
            report.add(
                "differs from the committed file"
                if same_size
                else "is missing or differs in size from the committed file",
                stored.path,
                retry if same_size else _AGAIN,
            )
    if len(report.problems) > faults and not report.deep:
        return False
    try:
        tables = {
            table: store.read_rows(
                storage.join(out, layout.manifest_path(table, receipt.key)), None if report.deep else _COUNTED[table]
            )
            for table in layout.PARTS
        }
    except (OSError, ValueError) as error:
        report.add(f"the rows cannot be read ({str(error).splitlines()[0]})", f"manifests/*/{receipt.key}.parquet")
        return False
    samples, rejects, videos = (tables[table] for table in layout.PARTS)
    report.videos, report.samples = report.videos + len(videos), report.samples + len(samples)
    report.rejects += len(rejects)
    if [row["video_id"] for row in videos] != [row["video_id"] for row in planned]:
        report.add("the rows do not match the planned videos", layout.manifest_path("videos", receipt.key))
    if (len(samples), len(rejects), len(videos)) != (receipt.samples, receipt.rejects, receipt.videos):
        report.add("the row counts differ from the receipt", layout.receipt_path(receipt.key))
    _check_splits(shard, planned, tables, report)
    _check_conservation(samples, rejects, videos, report)
    if report.deep and receipt.shard is not None:
        _check_tar(out, shard, samples, report)
    if report.deep and any(stored.path == layout.rejects_path(receipt.key) for stored in receipt.files):
        _check_rejects_tar(out, layout.rejects_path(receipt.key), rejects, report)
    return True


def _check_splits(
    shard: str, planned: list[dict[str, Any]], tables: Mapping[str, list[dict[str, Any]]], report: Report
) -> None:
    """Every row has the splits of its video in the plan, as far as its version has them, and the path has its split."""
    planned_splits = {row["video_id"]: [row.get(name) for name in SPLIT_COLUMNS] for row in planned}
    if misplaced := sorted(row["video_id"] for row in planned if row["split"] != layout.split_of(shard)):
        report.add(f"the path does not match the split of {misplaced[0]}", shard)
    for table, rows in tables.items():
        moved = {
            row["video_id"]
            for row in rows
            if [row.get(name) for name in SPLIT_COLUMNS] != planned_splits.get(row["video_id"])
        }
        for name in sorted(moved)[:1]:
            more = f" and {len(moved) - 1} more" if len(moved) > 1 else ""
            report.add(
                f"the splits of {name}{more} differ from the plan", layout.manifest_path(table, layout.key_of(shard))
            )


def _check_conservation(
    samples: list[dict[str, Any]], rejects: list[dict[str, Any]], videos: list[dict[str, Any]], report: Report
) -> None:
    """Law 1: per video, faces seen = crops kept + rejected, and as many rows."""
    kept = Counter(row["video_id"] for row in samples if row["verdict"] == "keep")
    rejected = Counter(row["video_id"] for row in rejects if row["unit"] == "face")
    for row in videos:
        name = row["video_id"]
        if (row["faces_seen"], row["crops_kept"], row["crops_rejected"]) != (
            kept[name] + rejected[name],
            kept[name],
            rejected[name],
        ):
            report.add(
                f"{row['faces_seen']} faces seen, but {kept[name]} kept and {rejected[name]} rejected", f"video {name}"
            )


def _check_tar(out: str, shard: str, samples: list[dict[str, Any]], report: Report) -> None:
    """Law 4: each row has one picture, one JSON and its mask if it has one, at the given offset; no other members."""
    rows = {row["sample_id"]: row for row in samples}
    pictures: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    masks: Counter[str] = Counter()
    try:
        with storage.reading(storage.join(out, shard)) as file:
            for member in tar.read(file):
                name, _, suffix = member.name.partition(".")
                row = rows.get(name)
                if row is None or suffix not in (*PICTURES, "json", MASK):
                    report.add(f"member {member.name} has no row", shard)
                elif suffix == "json":
                    notes[name] += 1
                    if member.data != sample_json(row):
                        _check_json(member, row, shard, report)
                elif suffix == MASK:
                    masks[name] += 1
                    if not member.data.startswith(_MAGIC["png"]) or member.data[24:26] != _GREY:
                        report.add(f"{member.name} is not a single-channel PNG", shard)
                elif suffix in PICTURES:
                    pictures[name] += 1
                    _check_picture(member, row, suffix, shard, report)
    except (SemblanceError, OSError) as error:
        report.add(str(error), shard)
        return
    for name, row in rows.items():
        if (pictures[name], notes[name]) != (1, 1):
            report.add(f"sample {name} has {pictures[name]} pictures and {notes[name]} JSON files", shard)
        if masks[name] != bool(row["mask"]):
            report.add(f"sample {name} has {masks[name]} masks, but its row says {int(bool(row['mask']))}", shard)


def _check_json(member: tar.Member, row: Mapping[str, Any], shard: str, report: Report) -> None:
    try:
        note = read_sample_json(member.data)
    except (ValueError, AttributeError):
        report.add(f"{member.name} is not valid JSON", shard)
        return
    for sentence in contradictions(note, row):
        report.add(f"{member.name} {sentence}", shard)


def contradictions(note: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[str]:
    """Where a picture's JSON and its row differ; the JSON has full precision, the table 32 bits."""
    for name, value in note.items():
        known = row.get(name)
        if not _alike(value, list(known) if isinstance(value, list) and known is not None else known):
            yield f"has {name} = {value}, but its row has {known}"


def _alike(a: object, b: object) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_alike(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= 1e-6 * max(abs(a), abs(b), 1.0)
    return a == b


def _check_picture(member: tar.Member, row: Mapping[str, Any], suffix: str, shard: str, report: Report) -> None:
    if (member.offset, len(member.data)) != (row["tar_offset"], row["tar_bytes"]):
        report.add(f"{member.name} is not at the offset in its row", shard)
    if hashlib.sha256(member.data).hexdigest() != row["sha256"] or not member.data.startswith(_MAGIC[suffix]):
        report.add(f"{member.name} differs from the committed picture", shard)


def _check_rejects_tar(out: str, path: str, rejects: list[dict[str, Any]], report: Report) -> None:
    places = {f"{row['sample_id']}.jpg": (row["tar_offset"], row["tar_bytes"]) for row in rejects if row["shard"]}
    try:
        with storage.reading(storage.join(out, path)) as file:
            found = {member.name: (member.offset, len(member.data)) for member in tar.read(file)}
    except (SemblanceError, OSError) as error:
        report.add(str(error), path)
        return
    if found != places:
        report.add("the pictures do not match the rows", path)
