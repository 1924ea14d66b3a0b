"""Ownership of a build folder: claimed at the start, refused to other builds, finished at the end."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from semblance.manifests import build_files, schema, storage, tables
from semblance.manifests.config import differences
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import SourceFinding
from semblance.shards.lock import LOCK

INPUTS: Final = "inputs.parquet"  # size and version of every input file, for a readable error
_REQUIRED: Final = (
    "synthetic",
    "datasheet",
    "identity_note",
    "facts",
    "protocols",
    "recipe",
    "counts",
)  # keys of dataset.json that repacking and export need
_MOST_LINES: Final = 6  # of differences in an error


class Claimant(Protocol):
    """The plan of a build or of a repacked build, which claims an output folder."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def parts(self) -> Mapping[str, Any]:
        """The content of the fingerprint; its key ``inputs`` is the digest of ``self.inputs``."""
        ...

    @property
    def inputs(self) -> Sequence[storage.Stat]:
        """Every input file, with its size and version."""
        ...

    @property
    def findings(self) -> Sequence[SourceFinding]: ...

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows of plan.parquet."""
        ...


def belongs(plan: Claimant, out: str, *, flag: str = "--out") -> bool:
    """Whether ``out`` already belongs to this plan; False if it is free. Writes nothing.

    Raises SemblanceError if ``out`` has any other content, with the differences and the command's ``flag``.
    """
    known = build_files.read(out, build_files.CLAIM)
    if known is not None and known.get("fingerprint") != plan.fingerprint:
        raise SemblanceError(_refusal(plan, out, known, flag))
    # A killed start leaves drafts and the lock behind.
    names = [name for name in storage.list_names(out) if not (storage.is_draft(name) or name == LOCK)]
    if known is None and names:
        raise SemblanceError(
            f"{out} has files that are not from a build ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}); "
            f"choose an empty or new folder with {flag}."
        )
    return known is not None


def claim(plan: Claimant, out: str, *, flag: str = "--out") -> None:
    """Claim ``out`` for this plan and mark it as unfinished.

    Raises SemblanceError as ``belongs`` does.
    """
    belongs(plan, out, flag=flag)  # again, now that the lock is held
    storage.remove(storage.join(out, build_files.DATASET))
    if not storage.exists(storage.join(out, build_files.CLAIM)):
        build_files.write(out, build_files.CLAIM, {"fingerprint": plan.fingerprint, "parts": dict(plan.parts)})
    _write_tables(plan, out)


def finish(out: str, description: Mapping[str, Any], card: str) -> None:
    """Write the card and, last, dataset.json; delete incomplete files of a killed run."""
    storage.sweep(out)
    storage.write_bytes(storage.join(out, "CARD.md"), card.encode())
    build_files.write(out, build_files.DATASET, description)


def finished(out: str) -> dict[str, Any]:
    """The dataset.json of the build at ``out``, which is to be repacked or exported.

    Raises SemblanceError if the build is unfinished, or has a schema version that cannot be copied completely: another
    major version, or a newer minor one, whose columns would be dropped. Columns missing in an older minor version are
    null.
    """
    description = build_files.finished(out)
    _check_version(out, description.get("versions", {}).get("schema"))
    if missing := [name for name in _REQUIRED if name not in description]:
        raise SemblanceError(
            f"{out} was built by another version of Semblance (its dataset.json has no {missing[0]!r}); build it again."
        )
    return description


def _check_version(out: str, text: object) -> None:
    """Raise SemblanceError if a build of this schema version cannot be copied completely."""
    if schema.check_major(out, text) > schema.CURRENT:
        raise SemblanceError(
            f"{out} was built by a newer version of Semblance (schema {text}, here {schema.CURRENT}), and its new "
            "columns would be dropped; update Semblance."
        )


def refuse_inside(out: str, to: str, *, flag: str = "--to") -> None:
    """Raise UsageError if ``to`` is the build ``out`` or inside it: deriving from a build never changes it."""
    if f"{_absolute(to)}/".startswith(f"{_absolute(out)}/"):
        raise UsageError(
            f"{to} is the build {out} or inside it, and a build is never changed; choose another place with {flag}."
        )


def _absolute(url: str) -> str:
    return (url if storage.is_remote(url) else os.path.realpath(url.removeprefix("file://"))).rstrip("/")


def _write_tables(plan: Claimant, out: str) -> None:
    """The tables of the plan, except those that an interrupted start has written already."""
    if not storage.exists(storage.join(out, INPUTS)):
        _write_inputs(plan, storage.join(out, INPUTS))
    findings = storage.join(out, "manifests", "findings.parquet")
    if not storage.exists(findings):
        tables.write_rows(findings, [asdict(finding) for finding in plan.findings], "findings")
    if not storage.exists(storage.join(out, "plan.parquet")):
        tables.write_rows(storage.join(out, "plan.parquet"), plan.rows, "plan")


def _write_inputs(plan: Claimant, url: str) -> None:
    table = pa.Table.from_pylist([asdict(stat) for stat in plan.inputs], schema=_INPUTS_SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    storage.write_bytes(url, sink.getvalue().to_pybytes())


_INPUTS_SCHEMA: Final = pa.schema([("path", pa.string()), ("bytes", pa.int64()), ("version", pa.string())])


def _refusal(plan: Claimant, out: str, known: Mapping[str, Any], flag: str) -> str:
    before = dict(known.get("parts", {}))
    if "recipe" in before:  # older versions counted the limits as a part
        before["recipe"] = {key: value for key, value in before["recipe"].items() if key != "limits"}
    now = dict(plan.parts)
    lines = []
    same_kind = ("repacked" in before) == ("repacked" in now)
    if before.pop("inputs", None) != now.pop("inputs") and same_kind:
        lines += _input_differences(plan, out)
    lines = [*differences(before, now), *lines]
    shown = lines[:_MOST_LINES] + ([f"... and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else [])
    listing = "".join(f"\n  {line}" for line in shown)
    return f"{out} contains another build; choose another {flag}, or undo the differences:{listing}"


def _input_differences(plan: Claimant, out: str) -> list[str]:
    url = storage.join(out, INPUTS)
    if not storage.exists(url):
        return ["inputs: changed"]
    before = {row["path"]: (row["bytes"], row["version"]) for row in tables.read_rows(url)}
    now = {stat.path: (stat.bytes, stat.version) for stat in plan.inputs}
    lines = [f"input {path}: new" for path in sorted(now.keys() - before.keys())]
    lines += [f"input {path}: missing" for path in sorted(before.keys() - now.keys())]
    for path in sorted(before.keys() & now.keys()):
        if before[path][0] != now[path][0]:
            lines.append(f"input {path}: {before[path][0]} -> {now[path][0]} bytes")
        elif before[path] != now[path]:
            lines.append(f"input {path}: changed (modification time, etag or hash differs)")
    return lines
