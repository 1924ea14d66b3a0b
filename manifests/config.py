"""Recipes: frozen configuration, its parsing, its canonical JSON, and the fingerprint computed from it."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from semblance.manifests.errors import UsageError


class Config(BaseModel):
    """Base of every recipe section: frozen, complete, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


C = TypeVar("C", bound=Config)


class OneOf:
    """Marks a section that is one of several kinds, selected by its key ``kind``: ``Annotated[Base, OneOf(kinds)]``.

    ``kinds`` is called at each validation, so kinds that are registered later are known.
    """

    def __init__(self, kinds: Callable[[], Mapping[str, type[Config]]]) -> None:
        self._kinds = kinds

    def section(self, value: Any) -> type[Config] | None:
        """The kind of a section; None if it is unknown or missing."""
        return self._kinds().get(str(value.get("kind"))) if isinstance(value, Mapping) else None

    def validate(self, value: Any) -> Any:
        """A section parsed from its values, or unchanged; raises ValueError if its kind is unknown."""
        kinds = self._kinds()
        if isinstance(value, tuple(kinds.values())):
            return value
        if (kind := self.section(value)) is not None:
            return kind.model_validate(value)
        if not isinstance(value, Mapping):
            raise ValueError(f"expected a section with the key kind, not {value!r}")
        raise ValueError(f"unknown kind {value.get('kind')!r}; known kinds are {', '.join(kinds)}")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value, info: value.model_dump(mode=info.mode), info_arg=True
            ),
        )


def canonical_json(value: Any) -> str:
    """The canonical JSON of ``value``: sorted keys, no whitespace, unescaped UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def readable_json(value: Any, indent: int = 1) -> str:
    """``value`` as JSON for people: indented, sorted keys, unescaped UTF-8, a newline at the end."""
    plain = json.loads(canonical_json(value))  # numeric keys are sorted as text
    return json.dumps(plain, sort_keys=True, indent=indent, ensure_ascii=False) + "\n"


def fingerprint(parts: Mapping[str, Any]) -> str:
    """SHA-256 in hex of the canonical JSON of ``parts``."""
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``(dotted key, leaf)`` of a nested mapping."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from flatten(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A line ``key: old -> new`` for every leaf that differs."""
    before, after = dict(flatten(old)), dict(flatten(new))
    return [
        f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, "absent") != after.get(key, "absent")
    ]


def load(kind: type[C], named: Mapping[str, Mapping[str, Any]], name_or_file: str, settings: Sequence[str] = ()) -> C:
    """One of the ``named`` recipes, or the one in a YAML or JSON file, after ``key=value`` settings.

    Raises UsageError for an unknown name, an unreadable file, an unknown key or a value out of range.
    """
    return parse(kind, apply_settings(read(named, name_or_file), settings), name_or_file)


def read(named: Mapping[str, Mapping[str, Any]], name_or_file: str) -> dict[str, Any]:
    """The values of a named recipe or a file, not yet validated; the default ``name`` is that of the file."""
    if name_or_file in named:
        return {"name": name_or_file} | copy.deepcopy(dict(named[name_or_file]))
    file = Path(name_or_file)
    if not file.is_file():
        raise UsageError(f"Unknown recipe {name_or_file!r}: it is neither a file nor one of {', '.join(named)}.")
    return {"name": file.stem} | read_file(name_or_file)


def read_file(file: str, what: str = "recipe") -> dict[str, Any]:
    """The values in a YAML or JSON file, not yet validated; ``what`` they are is said in errors."""
    try:
        values = yaml.safe_load(Path(file).read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"The {what} file {file} cannot be read as YAML or JSON ({_first_line(error)}).") from error
    if not isinstance(values, dict):
        raise UsageError(f"The {what} file {file} must be a mapping of keys to values.")
    return values


def apply_settings(values: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """``values`` with each ``dotted.key=value`` of the settings applied; values are parsed as YAML."""
    values = copy.deepcopy(values)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r} has no value; write it as key=value, e.g. --set seed=1.")
        _put(values, key.strip(), text)
    return values


def parse(kind: type[C], values: Mapping[str, Any], where: str, what: str = "recipe") -> C:
    """A validated recipe, or ``what`` it is; raises UsageError with the first fault in one sentence."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        path, known = _place(kind, fault["loc"], values)
        key = ".".join(path)
        if fault["type"] == "extra_forbidden":
            raise UsageError(
                f"The {what} {where} has the unknown key {key!r}; known keys here are {', '.join(known)}."
            ) from error
        reason = fault["msg"].removeprefix("Value error, ")
        raise UsageError(f"The {what} {where} has a wrong value{f' for {key!r}' if key else ''}: {reason}.") from error


def _put(values: dict[str, Any], key: str, text: str) -> None:
    """Store ``text``, parsed as YAML, under the dotted ``key``."""
    *sections, last = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UsageError(f"--set {key}: {section!r} is a value, not a section of the recipe.")
        values = inner
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {key}: {text!r} is not a YAML value.") from error


def _place(kind: type[Config], location: Sequence[int | str], values: Any) -> tuple[list[str], list[str]]:
    """The dotted path of a fault as the user writes it, and the keys of its section.

    If a section is one of several kinds, pydantic includes the kind in the location; a user does not write it.
    """
    path: list[str] = []
    section: type[Config] | None = kind
    kinds: dict[str, type[Config]] = {}
    for part in map(str, location):
        if part in kinds:
            section, kinds = kinds[part], {}
            continue
        path.append(part)
        if isinstance(values, Sequence) and not isinstance(values, str) and part.isdigit():
            values = values[int(part)] if int(part) < len(values) else None
            continue
        if section is None or part not in section.model_fields or len(path) == len(location):
            break
        field = section.model_fields[part]
        values = values.get(part) if isinstance(values, Mapping) else None
        if marker := next((entry for entry in field.metadata if isinstance(entry, OneOf)), None):
            section = marker.section(values)
            continue
        choices, by = _sections(field), field.discriminator
        kinds = {choice.model_fields[by].default: choice for choice in choices} if isinstance(by, str) else {}
        section = choices[0] if choices else None
    return path, sorted(section.model_fields) if section else []


def _sections(field: FieldInfo) -> list[type[Config]]:
    """The section types that a field accepts."""
    choices = get_args(field.annotation) or (field.annotation,)
    return [choice for choice in choices if isinstance(choice, type) and issubclass(choice, Config)]


def _first_line(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
