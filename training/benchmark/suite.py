"""A suite: which detectors (rows) are judged on which data (columns), read from a YAML file."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from semblance.manifests import config, storage
from semblance.manifests.config import Config
from semblance.quality.statistics import bootstrap

Kind = Literal["seen", "unseen method", "unseen dataset", "compressed", "low quality"]
QUALITY: Final = ("compressed", "low quality")  # kinds that say how the pictures are, not whether they are new

Name = Annotated[str, Field(min_length=1, pattern=r"^\S(.*\S)?$")]


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Row(Config):
    """A detector: ``runs``, a folder or a pattern of runs that differ by their seed alone, or an ``external`` one."""

    name: Name
    runs: str | None = None
    external: str | None = None  # module:function, file.py:function, or the address of a service

    @model_validator(mode="after")
    def _one(self) -> Row:
        if (self.runs is None) == (self.external is None):
            raise ValueError(f"row {self.name!r} needs one of runs and external")
        return self


class Degrade(Config):
    """What is done to the stored crops: reduced and enlarged again, then encoded as JPEG."""

    resize: float | None = Field(default=None, gt=0, lt=1)  # of the side
    jpeg: int | None = Field(default=None, ge=1, le=100)  # quality, 4:2:0

    @model_validator(mode="after")
    def _something(self) -> Degrade:
        if self.resize is None and self.jpeg is None:
            raise ValueError("degrade needs jpeg: QUALITY, resize: SCALE, or both")
        return self

    def __str__(self) -> str:
        parts = (("resize", self.resize), ("JPEG", self.jpeg))
        return ", ".join(f"{name} {value:g}" for name, value in parts if value is not None)


class Column(Config):
    """Data that all rows are judged on: one split of the build ``data``, or the part of it that is named.

    ``kind``: what the column is meant to show, checked against what each run was trained on; None: what each run's
    record says. ``method``: fakes of these methods, with all reals.
    """

    name: Name
    data: str
    kind: Kind | None = None
    split: str = "test"
    split_column: str | None = None  # None: that of the first run
    compression: str | None = None
    method: Annotated[tuple[Name, ...], BeforeValidator(_several)] = ()
    degrade: Degrade | None = None

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What it is a part of: columns with the same are scored together."""
        return self.data, self.split, self.split_column

    @model_validator(mode="after")
    def _possible(self) -> Column:
        if self.degrade is not None and self.kind not in (None, "low quality"):
            raise ValueError(f"column {self.name!r} degrades its pictures, so its kind is low quality, not {self.kind}")
        return self


class Asked(Config):
    """What is asked of the rows; None: not asked. The defaults are the plan's."""

    consistency: float | None = Field(default=0.9, gt=0)  # mean AUC on unseen datasets / AUC on seen ones, more than
    gain: float | None = 0.05  # over the baseline, relative, more than
    ensemble_gain: float | None = 0.02  # over its best member, relative, more than
    robustness: float | None = Field(default=0.8, ge=0, le=1)  # balanced accuracy under attack, more than
    latency: float | None = Field(default=2.0, gt=0)  # seconds per video, less than


class Suite(Config):
    """Rows by columns. ``baseline``: the row that gains are measured against. ``cost``: inference is timed too."""

    title: Name = "Benchmark"
    baseline: str | None = None
    rows: tuple[Row, ...] = Field(min_length=1)
    columns: tuple[Column, ...] = Field(min_length=1)
    asked: Asked = Asked()
    published: bool = True
    cost: bool = False
    draws: int = Field(default=bootstrap.DRAWS, ge=0)
    seed: int = Field(default=0, ge=0)
    allow_leaks: bool = False
    allow_other_crops: bool = False

    @model_validator(mode="after")
    def _named(self) -> Suite:
        for kind, named in (("rows", self.rows), ("columns", self.columns)):
            names = [one.name for one in named]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f"two {kind} are named {twice!r}; rename one")
        if self.baseline is not None and self.baseline not in (rows := [row.name for row in self.rows]):
            raise ValueError(f"the baseline {self.baseline!r} is no row; rows are {', '.join(rows)}")
        return self


def read(file: str | Path) -> Suite:
    """The suite in a YAML or JSON file; its paths become relative to the working directory, as the file's are to it.

    Raises UsageError in one sentence if it cannot be read, has an unknown key or a wrong value.
    """
    values = config.read_file(str(file), "suite")
    return placed(config.parse(Suite, values, str(file), "suite"), Path(file).parent)


def placed(suite: Suite, folder: Path) -> Suite:
    """The suite with its relative paths taken from ``folder``; addresses such as ``s3://`` stay."""
    return suite.model_copy(
        update={
            "rows": tuple(_row(folder, row) for row in suite.rows),
            "columns": tuple(column.model_copy(update={"data": _out(folder, column.data)}) for column in suite.columns),
        }
    )


def _row(folder: Path, row: Row) -> Row:
    if row.runs is not None:
        return row.model_copy(update={"runs": _run(folder, row.runs)})
    file, colon, function = (row.external or "").rpartition(":")
    if not file.endswith(".py"):  # a module, or a service
        return row
    return row.model_copy(update={"external": f"{os.path.normpath(folder / file)}{colon}{function}"})


def _out(folder: Path, data: str) -> str:
    return data if storage.is_remote(data) else os.path.normpath(folder / data)


def _run(folder: Path, pattern: str) -> str:
    """A run's place; the folder of a suite is never part of a pattern."""
    if not glob.has_magic(pattern) or (folder / pattern).exists():
        return os.path.normpath(folder / pattern)
    return pattern if os.path.isabs(pattern) else os.path.join(glob.escape(str(folder)), pattern)
