"""Inputs of failed videos that were replaced since the build began, which --retry failed accepts and records.

The fingerprint stays that of the inputs with which the build began. Any other input that changes is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

from semblance.ingest.plan import Plan
from semblance.ingest.run import retry
from semblance.manifests import build_files, storage, tables
from semblance.manifests.errors import SemblanceError
from semblance.shards import build_folder

_KEY: Final = "replaced"
_MOST: Final = 6  # paths in an error


def reconciled(plan: Plan, out: str, again: retry.Again | None) -> Plan:
    """The plan with the inputs with which the build at ``out`` began, and what has taken their place as ``replaced``.

    That is what earlier runs have accepted and, if failed videos are tried ``again``, the files of failed videos. A
    plan that differs in anything else comes back so that ``out`` refuses it. Raises SemblanceError if files of failed
    videos are new and ``again`` does not say so, and if a file changed again whose video has not failed.
    """
    claim = build_files.read(out, build_files.CLAIM)
    url = storage.join(out, build_folder.INPUTS)
    if claim is None or not storage.exists(url):
        return plan
    now = {stat.path: stat for stat in (*plan.inputs, *plan.replaced)}
    first = {row["path"]: storage.Stat(**row) for row in tables.read_rows(url)}
    last = first | {path: stat for path, stat in _accepted(claim).items() if path in first}
    changed = {path for path in now.keys() & last.keys() if now[path] != last[path]}
    forgiven = _with(plan, now, first)
    if not changed:
        return forgiven
    if forgiven.fingerprint != claim.get("fingerprint"):
        return _with(plan, now, {path: stat for path, stat in first.items() if path not in changed})
    failed = _failed(forgiven, out) if _same_videos(forgiven, out, changed) else set()
    if kept := sorted(changed - failed):
        lines = "".join(f"\n  {_difference(last[path], now[path])}" for path in kept[:_MOST])
        raise SemblanceError(
            f"{out} contains another build; choose another --out, or undo the differences (only the files of failed "
            f"videos may be replaced, and only if people, dates and splits stay the same):{lines}"
        )
    if again != "failed":
        names = ", ".join(sorted(changed)[:_MOST])
        raise SemblanceError(
            f"{len(changed)} {'file' if len(changed) == 1 else 'files'} of failed videos changed since {out} was built "
            f"({names}); add --retry failed to process them again."
        )
    return forgiven


def changes(plan: Plan, out: str) -> list[str]:
    """A line for each file that replaces one which this build's last run at ``out`` has seen."""
    return [_difference(before, after) for before, after in _new(plan, out)]


def record(plan: Plan, out: str) -> None:
    """Note the new files in the build.json of ``out``, which this build has claimed, and their sizes in its plan."""
    if new := _new(plan, out):
        known = build_files.read(out, build_files.CLAIM) or {}
        entries = [
            {"path": after.path, "bytes": [before.bytes, after.bytes], "version": [before.version, after.version]}
            for before, after in new
        ]
        build_files.write(out, build_files.CLAIM, known | {_KEY: [*known.get(_KEY, []), *entries]})
    if plan.replaced:
        tables.write_rows(storage.join(out, "plan.parquet"), plan.rows, "plan")


def listed(out: str) -> list[dict[str, Any]]:
    """Every replacement in the build at ``out``, in order: path, and bytes and version before and after."""
    return (build_files.read(out, build_files.CLAIM) or {}).get(_KEY) or []


def facts(entries: list[dict[str, Any]]) -> list[str]:
    """A sentence for the card for each file that was replaced during the build."""
    return [
        f"File of a failed video replaced during the build: {entry['path']}: "
        f"{entry['bytes'][0]} -> {entry['bytes'][1]} bytes"
        for entry in entries
    ]


def _with(plan: Plan, now: dict[str, storage.Stat], first: dict[str, storage.Stat]) -> Plan:
    """``plan`` with the inputs of ``first`` where it has them; those that are not the same ``now`` are ``replaced``."""
    paths = sorted(now)
    return replace(
        plan,
        inputs=tuple(first.get(path, now[path]) for path in paths),
        replaced=tuple(now[path] for path in paths if first.get(path, now[path]) != now[path]),
    )


def _new(plan: Plan, out: str) -> list[tuple[storage.Stat, storage.Stat]]:
    """The replaced inputs that no earlier run has accepted: as they were last, and as they are."""
    last = {stat.path: stat for stat in plan.inputs} | _accepted(build_files.read(out, build_files.CLAIM) or {})
    return [(last[stat.path], stat) for stat in plan.replaced if last[stat.path] != stat]


def _accepted(claim: dict[str, Any]) -> dict[str, storage.Stat]:
    """The last accepted replacement of each path."""
    return {
        entry["path"]: storage.Stat(path=entry["path"], bytes=entry["bytes"][1], version=entry["version"][1])
        for entry in claim.get(_KEY) or []
    }


def _same_videos(plan: Plan, out: str, changed: Collection[str]) -> bool:
    """Whether the plan has the videos that ``out`` was built from, but for the sizes of the ``changed`` files."""
    before = tables.read_rows(storage.join(out, "plan.parquet"))
    return [_without_size(row, changed) for row in plan.rows] == [_without_size(row, changed) for row in before]


def _without_size(row: dict[str, Any], changed: Collection[str]) -> dict[str, Any]:
    return row | {"bytes": None} if row["path"] in changed else row


def _failed(plan: Plan, out: str) -> set[str]:
    """The paths of files of which every planned video has failed."""
    names = {name for names in retry.failures(plan, out).values() for name in names}
    passed = {video.path for video in plan.videos if video.video_id not in names}
    masks = {video.mask for video in plan.videos if video.mask}
    return {video.path for video in plan.videos} - passed - masks


def _difference(before: storage.Stat, after: storage.Stat) -> str:
    if before.bytes == after.bytes:
        return f"input {after.path}: changed (modification time, etag or hash differs)"
    return f"input {after.path}: {before.bytes} -> {after.bytes} bytes"
