"""The format of ``audit.json``: its JSON Schema, and the Markdown of docs/audit-json.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from semblance.quality.audit.record import SCHEMA, Record

COMMAND: Final = "quality audit-schema"
_INTRODUCTION: Final = """# The audit as JSON

Made by `{command} --markdown`; do not edit it by hand. Format `{schema}`.

`quality audit OUT --json audit.json` writes everything that an audit found. `--page review.html` shows the same record
to a reviewer. Its JSON Schema (draft 2020-12) is [audit.schema.json](audit.schema.json), printed by
`{command}`. A journal or a benchmark that asks for an audit can check the file with any validator:

```python
import json

from jsonschema import Draft202012Validator

validator = Draft202012Validator(json.load(open("docs/audit.schema.json")))
validator.validate(json.load(open("audit.json")))
```

To judge a submission, read `level` first, then `builds[].protocol.promises`: what is not promised, or has no known id,
is not shown. `builds[].dataset.fingerprint` says which build was audited. The file names videos and people as the
dataset does. It holds no pictures. Paths are those that were given to the command.

Unknown values are null, never invented. What could not be looked at, because only a plan was audited, is null too.
Lists are complete: no id is left out.

## Versions

The format has one number. Fields may be added to `{schema}`; readers should ignore fields that they do not
know. If a field is removed, or its meaning changes, the number grows. `versions.semblance` is the version of the
software.
"""


def json_schema(record: type[BaseModel] = Record, name: str = SCHEMA) -> dict[str, Any]:
    """The JSON Schema of a record, as it is written; ``name`` is that of its format."""
    made = record.model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:semblance:{name}", **_bare(made)}


def _bare(value: Any) -> Any:
    """Without the titles that pydantic makes of the names of fields."""
    if isinstance(value, list):
        return [_bare(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: _bare(one) for name, one in value.items() if not (name == "title" and isinstance(one, str))}


def markdown() -> str:
    """The reference of every object in the record, the outermost first."""
    return described(json_schema(), _INTRODUCTION.format(command=COMMAND, schema=SCHEMA))


def described(schema: Mapping[str, Any], introduction: str) -> str:
    """An introduction, then every object of a record's schema, the outermost first."""
    objects = {"Record": schema, **schema["$defs"]}
    order = list(dict.fromkeys(_reached("Record", objects)))
    parts = [introduction]
    parts += ["\n".join(_section(name, objects[name])) + "\n" for name in order]
    return "\n".join(parts)


def _reached(name: str, objects: Mapping[str, Any]) -> Iterator[str]:
    """An object and those in it, in the order of their fields."""
    yield name
    for field in objects[name].get("properties", {}).values():
        for other in re.findall(r"#/\$defs/(\w+)", str(field)):
            yield from _reached(other, objects)


def _section(name: str, described: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {name}"
    yield ""
    yield " ".join(described["description"].split())
    yield ""
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    for field, value in described["properties"].items():
        meaning = value.get("description", "").replace("|", "\\|").replace("<", "&lt;")
        yield f"| `{field}` | {_type(value)} | {meaning} |"


def _type(value: Mapping[str, Any]) -> str:
    """The type of a field in words; objects are links to their section."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return " or ".join(_type(one) for one in value["anyOf"])
    if "const" in value:
        return f'"{value["const"]}"'
    if "enum" in value:
        return ", ".join(f'"{one}"' for one in value["enum"])
    if value.get("type") == "array":
        return f"list of {_type(value['items'])}"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return f"object of {_type(inner)}" if isinstance(inner, dict) else "object"
    return str(value.get("type", "anything"))
