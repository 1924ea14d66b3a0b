"""An output folder belongs to one build: claimed at the start, refused to any other, sealed at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from semblance.manifests import schema, storage, tables
from semblance.manifests.config import canonical_json, differences
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import SourceFinding
from semblance.shards.lock import LOCK

CLAIM: Final = "build.json"  # written first: whose folder this is
DATASET: Final = "dataset.json"  # written last: it is done
INPUTS: Final = "inputs.parquet"  # every input file's size and version, for a readable refusal
_TOLD: Final = (
    "synthetic",
    "datasheet",
    "identity_note",
    "facts",
    "protocols",
    "recipe",
    "counts",
)  # of what is made from a build
_SHOWN: Final = 6


class Claimant(Protocol):
    """What wants a folder of its own: the plan of a build, or of the repacking of one."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def parts(self) -> Mapping[str, Any]:
        """What the fingerprint covers; ``inputs`` among it is the digest of ``self.inputs``."""
        ...

    @property
    def inputs(self) -> Sequence[storage.Stat]:
        """Every file that goes in, with its size and version."""
        ...

    @property
    def findings(self) -> Sequence[SourceFinding]: ...

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows of plan.parquet."""
        ...


def belongs(plan: Claimant, out: str, *, flag: str = "--out") -> bool:
    """Whether ``out`` is this plan's own already; False where it is free. Writes nothing.

    Raises SemblanceError where ``out`` holds anything else, naming the differences and the command's ``flag``.
    """
    known = read(out, CLAIM)
    if known is not None and known.get("fingerprint") != plan.fingerprint:
        raise SemblanceError(_refusal(plan, out, known, flag))
    found = storage.list_names(out)
    names = [name for name in found if not (storage.is_draft(name) or name == LOCK)]  # a killed start leaves those
    if known is None and names:
        raise SemblanceError(
            f"{out} holds files that no build made ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}); "
            f"choose an empty or new folder with {flag}."
        )
    return known is not None


def take(plan: Claimant, out: str, *, flag: str = "--out") -> None:
    """Make ``out``, which is free or this plan's own, this plan's own, and unfinished."""
    belongs(plan, out, flag=flag)  # still, now that nobody else writes there
    storage.remove(storage.join(out, DATASET))
    if not storage.exists(storage.join(out, CLAIM)):
        claimed = {"fingerprint": plan.fingerprint, "parts": dict(plan.parts)}
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
    """Write the card and, last of all, dataset.json; what a killed run left half-written goes."""
    storage.sweep(out)
    storage.write_bytes(storage.join(out, "CARD.md"), card.encode())
    storage.write_bytes(storage.join(out, DATASET), _json(description))


def finished(out: str) -> dict[str, Any]:
    """The dataset.json of the build at ``out``, which is about to be copied into another form.

    Raises SemblanceError where it is unfinished, or of a schema version that cannot be copied whole: another major
    version, or a newer minor one, whose columns would be dropped. An older minor version lacks columns, which are null.
    """
    if not storage.exists(storage.join(out, "plan.parquet")):
        raise SemblanceError(f"{out} holds no build (no plan.parquet); name the --out of an `ingest build`.")
    description = read(out, DATASET)
    if description is None:
        raise SemblanceError(f"{out} is not finished (no dataset.json); run the command that builds it again first.")
    _check_version(out, description.get("versions", {}).get("schema"))
    if missing := [name for name in _TOLD if name not in description]:
        raise SemblanceError(
            f"{out} was built by another version of Semblance (its dataset.json has no {missing[0]!r}); build it again."
        )
    return description


def _check_version(out: str, text: object) -> None:
    """Raise SemblanceError where a build of this schema version cannot be copied whole."""
    if schema.check_major(out, text) > schema.CURRENT:
        raise SemblanceError(
            f"{out} was built by a newer version of Semblance (schema {text}, here {schema.CURRENT}), and its new "
            "columns would be dropped; update Semblance."
        )


def refuse_inside(out: str, to: str, *, flag: str = "--to") -> None:
    """Raise UsageError where ``to`` lies in the build ``out``: what is made from a build never changes it."""
    if f"{_absolute(to)}/".startswith(f"{_absolute(out)}/"):
        raise UsageError(f"{to} lies in the build {out}, which stays as it is; choose a place outside it with {flag}.")


def _absolute(url: str) -> str:
    return (url if storage.is_remote(url) else os.path.realpath(url.removeprefix("file://"))).rstrip("/")


def _write_tables(plan: Claimant, out: str) -> None:
    """The plan's own tables, those of them that an interrupted start left unwritten."""
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
    now = dict(plan.parts)
    lines = []
    alike = ("repacked" in before) == ("repacked" in now)
    if before.pop("inputs", None) != now.pop("inputs") and alike:
        lines += _input_differences(plan, out)
    lines = [*differences(before, now), *lines]
    shown = lines[:_SHOWN] + ([f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])
    listing = "".join(f"\n  {line}" for line in shown)
    return f"{out} holds another build; choose another {flag}, or undo what differs:{listing}"


def _input_differences(plan: Claimant, out: str) -> list[str]:
    url = storage.join(out, INPUTS)
    if not storage.exists(url):
        return ["inputs: changed"]
    before = {row["path"]: (row["bytes"], row["version"]) for row in tables.read_rows(url)}
    now = {stat.path: (stat.bytes, stat.version) for stat in plan.inputs}
    lines = [f"input {path}: new" for path in sorted(now.keys() - before.keys())]
    lines += [f"input {path}: gone" for path in sorted(before.keys() - now.keys())]
    for path in sorted(before.keys() & now.keys()):
        if before[path][0] != now[path][0]:
            lines.append(f"input {path}: {before[path][0]} -> {now[path][0]} bytes")
        elif before[path] != now[path]:
            lines.append(f"input {path}: touched since (another modification time, etag or hash)")
    return lines


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(json.loads(canonical_json(value)), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
