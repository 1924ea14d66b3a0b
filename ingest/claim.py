"""An output folder belongs to one build: claimed at the start, refused to any other, sealed at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.planning import Plan, plan_rows
from manifests import storage, store
from manifests.recipe import canonical_json, differences
from manifests.records import SemblanceError

CLAIM: Final = "build.json"  # written first: whose folder this is
DATASET: Final = "dataset.json"  # written last: it is done
INPUTS: Final = "inputs.parquet"  # every input file's size and version, for a readable refusal
_SHOWN: Final = 6


def belongs(plan: Plan, out: str) -> bool:
    """Whether ``out`` is this plan's own already; False where it is free. Writes nothing.

    Raises SemblanceError where ``out`` holds anything else, naming the differences.
    """
    known = read(out, CLAIM)
    if known is not None and known.get("fingerprint") != plan.fingerprint:
        raise SemblanceError(_refusal(plan, out, known))
    if known is None and (names := storage.list_names(out)):
        raise SemblanceError(
            f"{out} holds files that no build made ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}); "
            "choose an empty or new folder with --out."
        )
    return known is not None


def take(plan: Plan, out: str) -> None:
    """Make ``out``, which is free or this plan's own, this plan's own."""
    if not storage.exists(storage.join(out, CLAIM)):
        claimed = {"fingerprint": plan.fingerprint, "parts": plan.parts}
        storage.write_bytes(storage.join(out, CLAIM), _json(claimed))
    _write_tables(plan, out)


def read(out: str, name: str) -> dict[str, Any] | None:
    """A JSON object at the top of a build; None where it is absent.

    Raises SemblanceError where it cannot be read.
    """
    url = storage.join(out, name)
    if not storage.exists(url):
        return None
    try:
        value = json.loads(storage.read_bytes(url))
    except ValueError as error:
        raise SemblanceError(f"{url} is damaged ({error}); restore it, or build into another --out.") from error
    if not isinstance(value, dict):
        raise SemblanceError(f"{url} is damaged (no JSON object); restore it, or build into another --out.")
    return value


def finish(out: str, description: Mapping[str, Any], card: str) -> None:
    """Write the card and, last of all, dataset.json."""
    storage.write_bytes(storage.join(out, "CARD.md"), card.encode())
    storage.write_bytes(storage.join(out, DATASET), _json(description))


def _write_tables(plan: Plan, out: str) -> None:
    """The plan's own tables, those of them that an interrupted start left unwritten."""
    if not storage.exists(storage.join(out, INPUTS)):
        _write_inputs(plan, storage.join(out, INPUTS))
    findings = storage.join(out, "manifests", "findings.parquet")
    if not storage.exists(findings):
        store.write_rows(findings, [asdict(finding) for finding in plan.discovery.findings], "findings")
    if not storage.exists(storage.join(out, "plan.parquet")):
        store.write_rows(storage.join(out, "plan.parquet"), plan_rows(plan.videos), "plan")


def _write_inputs(plan: Plan, url: str) -> None:
    table = pa.Table.from_pylist([asdict(stat) for stat in plan.inputs], schema=_INPUTS_SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    storage.write_bytes(url, sink.getvalue().to_pybytes())


_INPUTS_SCHEMA: Final = pa.schema([("path", pa.string()), ("bytes", pa.int64()), ("version", pa.string())])


def _refusal(plan: Plan, out: str, known: Mapping[str, Any]) -> str:
    before = dict(known.get("parts", {}))
    now = dict(plan.parts)
    lines = []
    if before.pop("inputs", None) != now.pop("inputs"):
        lines += _input_differences(plan, out)
    lines = [*differences(before, now), *lines]
    shown = lines[:_SHOWN] + ([f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])
    listing = "".join(f"\n  {line}" for line in shown)
    return f"{out} holds another build; choose another --out, or undo what differs:{listing}"


def _input_differences(plan: Plan, out: str) -> list[str]:
    url = storage.join(out, INPUTS)
    if not storage.exists(url):
        return ["inputs: changed"]
    before = {row["path"]: (row["bytes"], row["version"]) for row in store.read_rows(url)}
    now = {stat.path: (stat.bytes, stat.version) for stat in plan.inputs}
    lines = [f"input {path}: new" for path in sorted(now.keys() - before.keys())]
    lines += [f"input {path}: gone" for path in sorted(before.keys() - now.keys())]
    for path in sorted(before.keys() & now.keys()):
        if before[path][0] != now[path][0]:
            lines.append(f"input {path}: {before[path][0]} -> {now[path][0]} bytes")
        elif before[path] != now[path]:
            lines.append(f"input {path}: touched since (another modification time or etag)")
    return lines


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(json.loads(canonical_json(value)), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
