"""The objects in the record of a benchmark."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from semblance.quality.audit.evidence import Part
from semblance.training.evaluation.record_parts import Figure, Level

Role = Literal["seen", "unseen method", "unseen dataset", "compressed", "low quality", "adversarial", "certified"]
Verdict = Literal["met", "not met", "not shown", "too few groups to tell", "not measured"]


class Row(Part):
    """A detector: a run, an ensemble, or runs of one recipe that differ by their seed."""

    name: str = Field(description="its name in the suite")
    runs: list[str] = Field(description="names of its runs, in order of their seeds")
    seeds: list[int | None] = Field(description="their seeds; null: an ensemble, or not known")


class Column(Part):
    """Data that all rows are judged on."""

    name: str = Field(description="its name in the suite")
    data: str = Field(description="its build")
    datasets: list[str] = Field(description="names of its datasets")
    kind: str | None = Field(description="what the suite says that it shows; null: what each run's record says")
    split: str = Field(description="the evaluated split")
    split_column: str = Field(description="the column of its protocol; split: the active one of the build")
    compression: str | None = Field(description="videos of this compression alone; null: all")
    methods: list[str] = Field(description="fakes of these methods alone, with all reals; empty: all")
    degrade: str | None = Field(description="what was done to the stored crops; null: nothing")
    attack: str | None = Field(description="the attack on the runs, and its strength; null: none")
    certify: str | None = Field(description="the radius and noise of randomised smoothing; null: not certified")
    groups: int = Field(description="people, or else families, of the class that has fewer")
    evaluation: str = Field(description="path of its evaluation.json, relative to this file")


class Area(Part):
    """AUC at a level."""

    level: Level = Field(
        description="frame: faces with a known label; video: maximum over persons; video (mean): mean over persons"
    )
    auc: float | None = Field(description="the AUC, or its mean over runs; null: not measured")
    low: float | None = Field(description="lower end of the 95 % interval; null: over seeds, or too few groups")
    high: float | None = Field(description="upper end; null: as for low")
    sd: float | None = Field(description="sample standard deviation over runs (n - 1); null: one run")


class Cell(Part):
    """A row on a column."""

    row: str = Field(description="name of the row")
    column: str = Field(description="name of the column")
    mark: str = Field(description="whether the runs were trained on such data, by their own record")
    role: Role | None = Field(description="what the cell counts as in summaries; null: as nothing")
    fault: str | None = Field(description="how the record contradicts the column's kind; null: it does not")
    note: str | None = Field(description="what else the record says against the column's kind; null: nothing")
    reals: int = Field(description="real videos in the figures")
    fakes: int = Field(description="fake videos in the figures")
    scored: int = Field(description="videos with a kept face")
    listed: int = Field(description="videos that the column lists")
    groups: int = Field(description="people, or else families, of the class that has fewer")
    figures: list[Area] = Field(description="AUC at every level")


class Hard(Part):
    """Balanced accuracy of a row under attack, or certified, on a fixed slice of pictures."""

    row: str = Field(description="name of the row")
    column: str = Field(description="name of the column")
    kind: Literal["adversarial", "certified"] = Field(description="under attack, or certified at a radius")
    level: Literal["frame", "video"] = Field(description="what is judged; certificates are by frame")
    figure: Figure = Field(description="the balanced accuracy, over seeds their mean with the widest ends of intervals")
    clean: Figure = Field(description="that on the same slice without attack or noise")
    sd: float | None = Field(description="sample standard deviation over runs (n - 1); null: one run")
    reals: int = Field(description="reals judged")
    fakes: int = Field(description="fakes judged")
    reason: str | None = Field(description="why it was not measured, as a sentence; null: it was")


class Consistency(Part):
    """The mean AUC of a row on unseen columns divided by that on its seen ones, by video."""

    row: str = Field(description="name of the row")
    role: Role = Field(description="unseen dataset or unseen method")
    seen: list[str] = Field(description="the seen columns")
    unseen: list[str] = Field(description="the unseen columns")
    seen_auc: Figure = Field(description="mean AUC on the seen columns, and over runs")
    unseen_auc: Figure = Field(description="mean AUC on the unseen columns, and over runs")
    ratio: Figure = Field(description="the consistency, the mean over runs, over draws of groups and runs")
    sd: float | None = Field(description="sample standard deviation over runs (n - 1); null: one run")


class Gain(Part):
    """The mean AUC of a row minus that of another, on the same columns and draws, by video."""

    row: str = Field(description="name of the row")
    other: str = Field(description="name of the other row, or of a member")
    part: Role | None = Field(description="what the columns are to both; null: one column of its own")
    columns: list[str] = Field(description="the columns")
    points: Figure = Field(description="the difference of AUC")
    relative: Figure = Field(description="the difference divided by the AUC of the other")
    paired: bool = Field(description="whether runs are paired by seed")


class Members(Part):
    """An ensemble against the member that is best on the same columns."""

    row: str = Field(description="name of the row")
    members: list[str] = Field(description="the members that were evaluated")
    gain: Gain | None = Field(description="the gain; null: not measured")
    reason: str | None = Field(description="why it was not measured; null: it was")


class Answer(Part):
    """What was asked, and whether it is shown."""

    asked: str = Field(description="what was asked, in words")
    mark: float = Field(description="the number in it")
    row: str | None = Field(description="name of the row; null: of all")
    measured: Figure = Field(description="what was measured")
    verdict: Verdict = Field(description="whether it is shown")
    data: str = Field(description="what it rests on")
    note: str = Field(description="what else a reader should know; may be empty")


class Alarm(Part):
    """What a reader should know before the figures."""

    level: Literal["broken", "warning", "note"] = Field(description="how bad it is")
    kind: str = Field(description="its kind, in a few words")
    text: str = Field(description="what it is, as a sentence")


class Published(Part):
    """A figure that others published. It is not comparable with those measured here."""

    method: str = Field(description="name of the method")
    dataset: str = Field(description="the dataset; every method was trained on FF++ c23")
    auc: float = Field(description="AUC, or the lower end of a range")
    most: float | None = Field(description="upper end of the range; null: one figure")
    level: Literal["frame", "video"] = Field(description="what was scored")
    source: str = Field(description="where it was published")
    told: Literal["authors", "logs", "notes"] = Field(description="who tells it; notes: others, on the paper")
    chosen_on_test: Literal["yes", "no", "by its code", "unknown"] = Field(
        description="whether the checkpoint was chosen on the test data; by its code: the published code does so"
    )
