"""The JSON files of a build: build.json, written first, owns the folder; dataset.json, written last, describes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from semblance.manifests import schema, storage
from semblance.manifests.config import readable_json
from semblance.manifests.errors import SemblanceError

CLAIM: Final = "build.json"  # the fingerprint and its parts
DATASET: Final = "dataset.json"  # of a finished build: recipe, versions, counts
_REMEDY: Final = {
    CLAIM: "restore it, or build into another folder",
    DATASET: "restore it, or remove it and run the command that builds it again",
}

File = Literal["build.json", "dataset.json"]


def read(out: str, name: File = DATASET) -> dict[str, Any] | None:
    """The JSON object in ``name`` of the build folder ``out`` (a path or URL); None if there is no such file.

    Raises SemblanceError if the file is not a JSON object.
    """
    url = storage.join(out, name)
    try:
        value = json.loads(storage.read_bytes(url))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise SemblanceError(f"{url} is damaged ({error}); {_REMEDY[name]}.") from error
    if not isinstance(value, dict):
        raise SemblanceError(f"{url} is damaged (not a JSON object); {_REMEDY[name]}.")
    return value


def description(out: str) -> dict[str, Any]:
    """The ``dataset.json`` of a build in any state; empty if it is missing or damaged."""
    try:
        return read(out) or {}
    except SemblanceError:
        return {}


def finished(out: str) -> dict[str, Any]:
    """The ``dataset.json`` of the finished build ``out``.

    Raises SemblanceError if ``out`` has no build or an unfinished one, if the file is damaged, or if the build's schema
    has another major version.
    """
    dataset = read(out)
    if dataset is not None:
        if (version := dataset.get("versions", {}).get("schema")) is not None:
            schema.check_major(out, version)
        return dataset
    if not storage.exists(storage.join(out, "plan.parquet")):
        raise SemblanceError(f"{out} is not a build (no plan.parquet); pass the folder that `ingest build` wrote.")
    raise SemblanceError(f"{out} is not finished (no dataset.json); run the command that builds it again first.")


def write(out: str, name: File, value: Mapping[str, Any]) -> None:
    """Write ``name`` of the build folder ``out`` atomically; equal values give equal bytes."""
    storage.write_bytes(storage.join(out, name), readable_json(dict(value), indent=2).encode())
