"""A suite: which detectors (rows) are judged on which data (columns), read from a YAML file."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from semblance.manifests import config, storage
from semblance.manifests.config import Config
from semblance.manifests.errors import UsageError
from semblance.quality.statistics import bootstrap
from semblance.training.attacks import ATTACKS, EPS
from semblance.training.evaluation import attacked, smoothing
from semblance.training.evaluation.strikes import shown

Kind = Literal["seen", "unseen method", "unseen dataset", "compressed", "low quality", "adversarial", "certified"]
# kinds that say how the pictures are, not whether they are new
QUALITY: Final[tuple[Kind, ...]] = ("compressed", "low quality", "adversarial", "certified")

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


class Attack(Config):
    """An attack on the runs, on a fixed slice of ``pictures``. ``strength``: largest change of a value in [0, 1]."""

    name: str
    strength: float = Field(default=EPS, gt=0, le=1)
    pictures: int = Field(default=attacked.PICTURES, ge=2)
    quick: bool = False  # with few iterations

    @model_validator(mode="after")
    def _known(self) -> Attack:
        if self.name not in list(ATTACKS):
            raise ValueError(f"the attack {self.name!r} is not known; known are {', '.join(ATTACKS)}")
        return self

    def __str__(self) -> str:
        return f"{self.name} at {shown(self.strength)}" + (", few iterations" if self.quick else "")


class Certify(Config):
    """Randomised smoothing of the runs, on a fixed slice of ``pictures``, judged at the L2 ``radius``."""

    radius: float = Field(gt=0)
    sigma: float = smoothing.SIGMA
    samples: int = smoothing.SAMPLES
    alpha: float = smoothing.ALPHA
    pictures: int = smoothing.PICTURES

    @model_validator(mode="after")
    def _possible(self) -> Certify:
        try:
            cap = self.options.cap
        except UsageError as error:
            raise ValueError(str(error).replace("--certify-", "").replace("--", "")) from error
        if self.radius > cap:
            raise ValueError(f"so many samples certify at most a radius of {cap:.3f}, not {self.radius:g}")
        return self

    @property
    def options(self) -> smoothing.Options:
        """The same for an evaluation. Raises UsageError for values that mean nothing."""
        values = self.model_dump(exclude={"radius"})
        return smoothing.Options(**values, at=(self.radius,))

    def __str__(self) -> str:
        return f"certified at L2 {self.radius:g}, noise {self.sigma:g}"


class Column(Config):
    """Data that all rows are judged on: one split of the build ``data``, or the part of it that is named.

    ``kind``: what the column is meant to show, checked against what each run was trained on; None: what each run's
    record says. ``method``: fakes of these methods, with all reals. With ``attack`` or ``certify`` it is no column of
    AUC: its runs are judged by their balanced accuracy under that.
    """

    name: Name
    data: str
    kind: Kind | None = None
    split: str = "test"
    split_column: str | None = None  # None: that of the first run
    compression: str | None = None
    method: Annotated[tuple[Name, ...], BeforeValidator(_several)] = ()
    degrade: Degrade | None = None
    attack: Attack | None = None
    certify: Certify | None = None

    @property
    def hard(self) -> bool:
        """Whether it is judged by robust or certified accuracy."""
        return self.attack is not None or self.certify is not None

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What it is a part of: columns with the same are scored together."""
        return self.data, self.split, self.split_column

    @model_validator(mode="after")
    def _possible(self) -> Column:
        if self.degrade is not None and self.kind not in (None, "low quality"):
            raise ValueError(f"column {self.name!r} degrades its pictures, so its kind is low quality, not {self.kind}")
        conditions = (("attack", "adversarial", self.attack), ("certify", "certified", self.certify))
        for key, kind, given in conditions:
            if given is not None and self.kind not in (None, kind):
                raise ValueError(f"column {self.name!r} has {key}, so its kind is {kind}, not {self.kind}")
            if given is None and self.kind == kind:
                raise ValueError(f"column {self.name!r} is {kind}, so it needs {key}: with its settings")
        if sum(given is not None for given in (self.degrade, self.attack, self.certify)) > 1:
            raise ValueError(f"column {self.name!r} has several of degrade, attack and certify; make a column of each")
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

    @property
    def ranked(self) -> list[Column]:
        """The columns of AUC."""
        return [one for one in self.columns if not one.hard]

    @model_validator(mode="after")
    def _named(self) -> Suite:
        for kind, named in (("rows", self.rows), ("columns", self.columns)):
            names = [one.name for one in named]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f"two {kind} are named {twice!r}; rename one")
        if not self.ranked:
            raise ValueError("all columns have attack or certify; add one without, on which rows are compared by AUC")
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
