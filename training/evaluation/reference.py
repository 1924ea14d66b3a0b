"""The format of ``evaluation.json``: its JSON Schema, and the Markdown of docs/evaluation-json.md."""

from __future__ import annotations

from typing import Any, Final

from semblance.quality.audit import reference
from semblance.training.evaluation.record import SCHEMA, Record

COMMAND: Final = "training evaluation-schema"
_INTRODUCTION: Final = f"""# The evaluation as JSON

Made by `{COMMAND} --markdown`; do not edit it by hand. Format `{SCHEMA}`.

`training evaluate` writes evaluation.json beside its page. Every figure of the page is in it. Its JSON Schema (draft
2020-12) is [evaluation.schema.json](evaluation.schema.json), printed by `{COMMAND}`. `tables/figures.csv` has the
figures of all rows once more, one a line.

To compare runs, read `differences`; to see what a figure rests on, read `reals`, `fakes`, `scored` and `mark` of its
row. Unknown values are null, never invented. The file names videos and people as the dataset does. It holds no
pictures. Paths are those that were given to the command.

## Versions

The format has one number. Fields may be added to `{SCHEMA}`; readers should ignore fields that they do not
know. If a field is removed, or its meaning changes, the number grows. `versions.semblance` is the version of the
software.
"""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the record, as it is written."""
    return reference.json_schema(Record, SCHEMA)


def markdown() -> str:
    """The reference of every object in the record, the outermost first."""
    return reference.described(json_schema(), _INTRODUCTION)
