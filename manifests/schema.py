"""Arrow schemas of every table, and the version of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import pyarrow as pa

from semblance.manifests import columns
from semblance.manifests.columns import Column
from semblance.manifests.errors import SemblanceError


class Version(NamedTuple):
    """A schema version. A minor one only adds columns, so any build of the same major version can be read."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}" if self.minor > 0 else str(self.major)

    @classmethod
    def parse(cls, text: str) -> Version:
        """The version in ``text``, from dataset.json or a table's metadata; raises ValueError if it is not one.

        Versions up to 5 were single numbers. 5 only added columns to 4, so 4 counts as a minor version before 5.0.
        """
        if text in _SINGLE:
            return _SINGLE[text]
        major, _, minor = text.partition(".")
        return cls(int(major), int(minor or 0))


_SINGLE: Final = {"4": Version(5, -1)}
CURRENT: Final = Version(5, 1)  # a new column: one more minor version; a changed or removed one: a new major version
# As it enters fingerprints, so that a build resumes only under its own version; as text it enters the tables and
# dataset.json.
VERSION: Final[int | str] = CURRENT.major if not CURRENT.minor else str(CURRENT)


def check_major(out: str, text: object) -> Version:
    """The schema version ``text`` of the build ``out``; raises SemblanceError for another major version, or none."""
    try:
        version = Version.parse(str(text))
    except ValueError:
        version = None
    if version is None or version.major != CURRENT.major:
        raise SemblanceError(
            f"{out} was built by another version of Semblance (schema {text}, here {CURRENT}); build it again."
        )
    return version


COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = {
    "samples": (
        columns.SAMPLE_ID,
        *columns.IDENTITY,
        *columns.SPLITS,
        *columns.PLACE,
        *columns.FACE,
        columns.VERDICT,
        *columns.MEASURES,
        *columns.SAMPLE_END,
    ),
    "rejects": (
        columns.REJECT_ID,
        *columns.IDENTITY,
        *columns.SPLITS,
        *columns.REJECTS_PLACE,
        *columns.FACE,
        *columns.MEASURES,
        *columns.REJECTION,
    ),
    "videos": (*columns.PLANNED, columns.VIDEO_SHARD, *columns.OUTCOME, columns.BYTES),
    "plan": (*columns.PLANNED, columns.PLAN_SHARD, *columns.PLAN_END),
    "findings": columns.FINDING,
    "flags": columns.FLAG,
}


def _arrow(table: str) -> pa.Schema:
    return pa.schema([(column.name, column.type) for column in COLUMNS[table]])


def described(table: str) -> pa.Schema:
    """The schema of a table with unit, meaning and what null means as metadata of its fields.

    Tables on disk do not include this metadata: a better description must not change the bytes of a build.
    """
    return pa.schema(
        [
            pa.field(
                column.name,
                column.type,
                nullable=bool(column.null),
                metadata={"meaning": column.meaning, "unit": column.unit, "null": column.null or "never"},
            )
            for column in COLUMNS[table]
        ]
    )


SAMPLES: Final = _arrow("samples")
REJECTS: Final = _arrow("rejects")
VIDEOS: Final = _arrow("videos")
PLAN: Final = _arrow("plan")
FINDINGS: Final = _arrow("findings")
FLAGS: Final = _arrow("flags")

TABLES: Final[dict[str, pa.Schema]] = {
    "samples": SAMPLES,
    "rejects": REJECTS,
    "videos": VIDEOS,
    "plan": PLAN,
    "findings": FINDINGS,
    "flags": FLAGS,
}
TIMES: Final = ("seconds_decode", "seconds_detect", "seconds_total")  # outside determinism
