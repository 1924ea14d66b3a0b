"""Gates before a promotion: what a version must have shown, and where it must not be worse than the champion.

A figure that is absent fails its gate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from semblance.manifests.config import Config, parse, read_file
from semblance.manifests.errors import UsageError
from semblance.training.benchmark.record import Record as Benchmark
from semblance.training.evaluation.record import Record
from semblance.training.evaluation.record_parts import Figure, Level, Row
from semblance.training.metrics.registry import METRICS


class Part(Config):
    """A metric at a level for one part of the data; None: all of it."""

    metric: str
    level: Level = "video"
    dataset: str | None = None
    compression: str | None = None
    method: str | None = None

    @model_validator(mode="after")
    def _is_known(self) -> Part:
        if self.metric not in METRICS:
            raise ValueError(f"unknown metric {self.metric!r}; known ones are {', '.join(METRICS)}")
        return self

    def __str__(self) -> str:
        place = [one for one in (self.dataset, self.compression, self.method) if one is not None]
        return f"{self.metric} by {self.level}{' on ' if place else ''}{', '.join(place)}"


class Minimum(Part):
    """What a figure must be. ``bound: interval``: the worse end of its interval must be so."""

    at_least: float | None = None
    at_most: float | None = None
    bound: Literal["value", "interval"] = "value"

    @model_validator(mode="after")
    def _has_one_limit(self) -> Minimum:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give one of at_least and at_most")
        return self


class Against(Part):
    """A figure that may be worse than the champion's by at most ``worse_by``, on the same data."""

    worse_by: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _has_a_better(self) -> Against:
        if METRICS[self.metric].better is None:
            raise ValueError(f"{self.metric} describes the data, so no model is better by it")
        return self


class Condition(Config):
    """AUC by video under a condition of the evaluation, by its ``kind`` (JPEG, resize, build) and strength or name."""

    kind: str
    strength: float | None = None
    name: str | None = None
    at_least: float = Field(ge=0, le=1)
    figure: Literal["auc", "balanced_accuracy"] = "auc"


class AttackGate(Config):
    """Balanced accuracy under an attack of the evaluation, at a strength."""

    attack: str
    strength: float | None = None
    level: Literal["frame", "video"] = "frame"
    at_least: float = Field(ge=0, le=1)


class Integration(Config):
    """What the package itself must show on this machine.

    ``answers``: the largest difference of a logit from the run's, over the pictures in the package; ``features``: of a
    feature of OpenVINO's graphs from torch's. ``latency_ms``: of one crop by torch, on the device that inference uses.
    """

    answers: float = Field(default=1e-4, ge=0)
    features: float = Field(default=1e-4, ge=0)
    latency_ms: float | None = Field(default=None, gt=0)


class Gates(Config):
    """All gates. ``benchmark``: texts that benchmark.json's ``answers`` ask; the verdict on each must be met."""

    minimum: tuple[Minimum, ...] = ()
    against_champion: tuple[Against, ...] = ()
    conditions: tuple[Condition, ...] = ()
    attacks: tuple[AttackGate, ...] = ()
    benchmark: tuple[str, ...] = ()
    integration: Integration = Integration()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A gate, its limit and what was found; ``value`` is None if there is no such figure."""

    gate: str
    limit: str
    value: float | None
    passed: bool
    note: str = ""

    def __str__(self) -> str:
        found = "absent" if self.value is None else f"{self.value:.4g}"
        return f"{self.gate}: {found}, must be {self.limit}{f' ({self.note})' if self.note else ''}"


def read(file: Path) -> Gates:
    """The gates in a YAML file; raises UsageError for a wrong one."""
    return parse(Gates, read_file(str(file), "gates"), str(file), "gates file")


def read_benchmark(file: Path) -> Benchmark:
    """A benchmark.json; raises UsageError if it is none."""
    try:
        return Benchmark.model_validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{file} is no benchmark.json of this version ({reason}).") from error


def judge(
    gates: Gates,
    run: str,
    record: Record | None,
    champion: tuple[str, Record | None] | None,
    benchmark: Benchmark | None,
) -> list[Judged]:
    """Every gate on figures. ``run``: the run's name in its evaluation; ``champion``: name and evaluation of the
    champion's run, None if there is no other champion, and then nothing is compared with it.
    """
    return [
        *(_minimum(one, run, record) for one in gates.minimum),
        *(_against(one, run, record, *champion) for one in gates.against_champion if champion is not None),
        *(_condition(one, run, record) for one in gates.conditions),
        *(_attack(one, run, record) for one in gates.attacks),
        *(judged for text in gates.benchmark for judged in _benchmark(text, run, benchmark)),
    ]


def within(gate: str, value: float | None, *, at_least: float | None = None, at_most: float | None = None) -> Judged:
    """A value against its limits; a NaN passes nothing."""
    said = [] if at_least is None else [f"at least {at_least:g}"]
    said += [] if at_most is None else [f"at most {at_most:g}"]
    passed = value is not None and (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    return Judged(gate=gate, limit=" and ".join(said), value=value, passed=passed)


def _minimum(one: Minimum, run: str, record: Record | None) -> Judged:
    figure = _figure(one, run, record)
    value = figure.value if figure is not None else None
    gate = str(one)
    if one.bound == "interval":
        gate = f"{'lower' if one.at_least is not None else 'upper'} end of {gate}"
        value = None if figure is None else figure.low if one.at_least is not None else figure.high
    return within(gate, value, at_least=one.at_least, at_most=one.at_most)


def _against(one: Against, run: str, record: Record | None, their_run: str, theirs: Record | None) -> Judged:
    """The loss against the champion, in the metric's own unit."""
    gate, limit = f"{one}, worse than the champion's by", f"at most {one.worse_by:g}"
    ours, other = _figure(one, run, record), _figure(one, their_run, theirs)
    note = ""
    if record is not None and theirs is not None and _data(record) != _data(theirs):
        ours, note = None, "the champion was evaluated on other data"
    elif other is None or other.value is None:
        note = "the champion has no such figure"
    if ours is None or ours.value is None or other is None or other.value is None:
        return Judged(gate=gate, limit=limit, value=None, passed=False, note=note)
    loss = other.value - ours.value if METRICS[one.metric].better == "higher" else ours.value - other.value
    return Judged(gate=gate, limit=limit, value=loss, passed=loss <= one.worse_by)


def _condition(one: Condition, run: str, record: Record | None) -> Judged:
    named = " ".join([one.kind, *([] if one.name is None else [one.name])])
    named += "" if one.strength is None else f" {one.strength:g}"
    found = [
        change
        for change in (record.changes if record is not None else ())
        if (change.model, change.kind) == (run, one.kind)
        and one.name in (None, change.name)
        and one.strength in (None, change.strength)
    ]
    values = [(change.after if one.figure == "auc" else change.balanced_after).value for change in found]
    return within(f"{one.figure} by video under {named}", _worst(values), at_least=one.at_least)


def _attack(one: AttackGate, run: str, record: Record | None) -> Judged:
    found = [
        attack.robust.value
        for attack in (record.attacks if record is not None else ())
        if (attack.model, attack.attack, attack.level) == (run, one.attack, one.level)
        and one.strength in (None, attack.strength)
    ]
    at = "" if one.strength is None else f" at {one.strength:g}"
    return within(f"balanced accuracy by {one.level} under {one.attack}{at}", _worst(found), at_least=one.at_least)


def _benchmark(text: str, run: str, benchmark: Benchmark | None) -> Iterator[Judged]:
    found = [] if benchmark is None else benchmark.answers
    rows = [one for one in found if one.asked == text and one.row in (None, run)]
    if not rows:
        note = "no benchmark was given" if benchmark is None else f"the benchmark does not ask it of {run}"
        yield Judged(gate=text, limit="met", value=None, passed=False, note=note)
    for one in rows:
        note = one.verdict if one.data == "-" else f"{one.verdict}, {one.data}"
        yield Judged(gate=text, limit="met", value=one.measured.value, passed=one.verdict == "met", note=note)


def _worst(values: list[float | None]) -> float | None:
    """The lowest; None if one is absent, or there is none."""
    known = [value for value in values if value is not None]
    return min(known) if known and len(known) == len(values) else None


def _figure(part: Part, run: str, record: Record | None) -> Figure | None:
    rows = [row for row in (record.rows if record is not None else ()) if (row.model, row.level) == (run, part.level)]
    for row in rows:
        if (row.dataset, row.compression, row.method) == (part.dataset, part.compression, part.method):
            return row.figures.get(part.metric)
    return _only(part, rows)


def _only(part: Part, rows: list[Row]) -> Figure | None:
    """All of the data is the only dataset, and all of a dataset its only compression."""
    datasets = {row.dataset for row in rows}
    if part.dataset is None and len(datasets) == 1:
        part = part.model_copy(update={"dataset": datasets.pop()})
    compressions = {row.compression for row in rows if row.dataset == part.dataset and row.method is not None}
    wanted = {part.compression} | (compressions if part.compression is None and len(compressions) == 1 else set())
    for row in rows:
        if row.dataset == part.dataset and row.method == part.method and row.compression in wanted:
            return row.figures.get(part.metric)
    return None


def _data(record: Record) -> tuple[object, ...]:
    return record.split, record.split_column, sorted((one.dataset, one.fingerprint or "") for one in record.builds)
