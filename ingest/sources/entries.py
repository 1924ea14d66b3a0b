"""Metadata files as entries: pairs of name and value, including repeated names."""

from __future__ import annotations

import csv
import io
import json
from reprlib import Repr
from typing import Final

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import SourceFinding

_SHORT: Final = Repr()
_SHORT.maxstring = _SHORT.maxother = 120

Entry = tuple[str, object]  # a name and its value in the file


class Repeated(list[tuple[str, object]]):
    """The pairs of a JSON object with a repeated key; a dictionary would silently keep only the last."""


def read_entries(root: str, path: str) -> list[Entry]:
    """The entries of the metadata file ``path`` below ``root``: ``.csv`` as labels, others as JSON.

    Raises ValueError if the content is invalid, SemblanceError if the file cannot be read: a plan must not depend on
    the current state of network and permissions.
    """
    try:
        data = storage.read_bytes(storage.join(root, path))
    except OSError as error:
        raise SemblanceError(
            f"{path} below {root} exists but cannot be read ({error}); make it readable and try again."
        ) from error
    text = data.decode("utf-8-sig")
    return label_entries(text) if path.endswith(".csv") else json_entries(text)


def read_or_note(root: str, path: str, use: str, advice: str) -> tuple[list[Entry] | None, SourceFinding]:
    """The entries of a metadata file, None if its content is invalid; and the finding for it.

    ``use``: what is read from it. ``advice``: what to do if it is invalid. Raises SemblanceError if the file cannot be
    read.
    """
    try:
        return read_entries(root, path), SourceFinding(path=path, kind="metadata", reason=f"read: {use}")
    except ValueError as error:
        reason = f"cannot be read ({error}); videos without another label are unlabelled; {advice}"
        return None, SourceFinding(path=path, kind="unreadable_metadata", reason=reason)


def json_entries(text: str) -> list[Entry]:
    """The pairs of one JSON object; raises ValueError for anything else.

    An inner object with a repeated key is ``Repeated``.
    """
    value = _value(text)
    if isinstance(value, Repeated):
        return list(value)
    if not isinstance(value, dict):
        raise ValueError("the file is not a JSON object")
    return list(value.items())


def json_list(text: str) -> list[object]:
    """The items of one JSON array; raises ValueError for anything else."""
    value = _value(text)
    if not isinstance(value, list) or isinstance(value, Repeated):
        raise ValueError("the file is not a JSON array")
    return value


def label_entries(text: str) -> list[Entry]:
    """The rows of a table ``filename,label`` as ``(filename, {"is_fake": label})``.

    Raises ValueError if the first line does not name both columns, or the table is invalid.
    """
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        if not {"filename", "label"} <= set(reader.fieldnames or ()):
            raise ValueError("the first line does not name the columns filename and label")
        rows = list(reader)
    except csv.Error as error:
        raise ValueError(str(error)) from error
    return [((row["filename"] or "").strip(), {"is_fake": _number((row["label"] or "").strip())}) for row in rows]


def short(value: object) -> str:
    """A foreign value as one printable line of bounded length."""
    return _SHORT.repr(value)


def bad_row(path: str, name: str, reason: str) -> SourceFinding:
    """The finding for row ``name`` of the metadata file ``path``."""
    return SourceFinding(path=path, kind="bad_row", reason=f"row {short(name)}: {reason}")


def _value(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _object(pairs: list[tuple[str, object]]) -> object:
    value = dict(pairs)
    return value if len(value) == len(pairs) else Repeated(pairs)


def _number(text: str) -> int | str:
    return int(text) if text in ("0", "1") else text
