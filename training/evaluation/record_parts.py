"""The objects in an evaluation record."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from semblance.quality.audit.evidence import Part

Level = Literal["frame", "video", "video (mean)"]
Mark = Literal["seen", "mixed", "unseen method", "unseen dataset", "unknown"]


class Figure(Part):
    """A figure with the middle 95 % of its draws."""

    value: float | None = Field(description="null: not measured, as a class is missing or too small for the metric")
    low: float | None = Field(description="lower end; null: fewer than ten groups of a class")
    high: float | None = Field(description="upper end; null: as for low")


class Mean(Part):
    """A figure over runs that differ by their seed."""

    mean: float = Field(description="mean over the runs")
    sd: float = Field(description="sample standard deviation (n - 1)")


class Build(Part):
    """An evaluated build."""

    out: str = Field(description="its folder or prefix, as given to the command")
    dataset: str = Field(description="name of its dataset")
    fingerprint: str | None = Field(description="of inputs, recipe, model weights and schema; null: not recorded")
    protocol: str | None = Field(description="protocol of its active split; null: not recorded")
    synthetic: bool = Field(description="whether every person and video was invented by `ingest demo`")
    pictures: int = Field(description="evaluated pictures")
    videos: int = Field(description="videos with an evaluated picture")


class TrainedOn(Part):
    """A build that a model was trained on."""

    out: str = Field(description="its folder at the time of training")
    dataset: str = Field(description="name of its dataset")
    fingerprint: str = Field(description="its fingerprint at the time of training")
    split_column: str = Field(description="the column of its protocol")
    methods: list[str] = Field(description="methods of the fakes and reals trained on, as far as they are named")


class Model(Part):
    """A model of a run: the only one, or a member of an ensemble."""

    name: str = Field(description="name of the run that it comes from")
    weight: float = Field(description="its share of the logit; all add up to 1")
    recipe: str = Field(description="name of the training recipe")
    changes: list[str] = Field(description="what the recipe changes of the one of that name: `key: old -> new`")
    seed: int = Field(description="seed of training")
    epoch: int = Field(description="epoch of the checkpoint, from 1")
    epochs: int = Field(description="epochs planned")
    step: int = Field(description="optimiser steps until the checkpoint")
    sha256: str = Field(description="SHA-256 of the checkpoint")
    trained: list[TrainedOn] = Field(description="the builds trained on")


class External(Part):
    """A detector from outside: a function or a service."""

    kind: Literal["function", "service"] = Field(description="a Python function, or an HTTP service")
    source: str = Field(description="module:function or file.py:function as given, or the address without its query")
    file: str | None = Field(description="name of the function's source file; null: a service, or there is none")
    sha256: str | None = Field(description="SHA-256 of that file, not of what it imports or loads; null: as for file")


class Run(Part):
    """An evaluated run, or an external detector."""

    name: str = Field(description="name of its folder, or that given to --external; rows name it as `model`")
    kind: Literal["run", "ensemble", "external"] = Field(description="what it is")
    path: str | None = Field(description="its folder, as given to the command; null: it is external")
    ensemble: bool = Field(description="whether it combines several models, with calibrated probabilities")
    frame_temperature: float = Field(description="divides the logit of a picture before it becomes a probability")
    video_temperature: float = Field(description="divides the logit of a video before it becomes a probability")
    models: list[Model] = Field(description="its models; empty if it is external")
    external: External | None = Field(description="null: it is a run")


class Threshold(Part):
    """The logit at or above which a video or face is called fake, chosen on val: the best balanced accuracy there."""

    model: str = Field(description="name of the model")
    level: Level = Field(description="what is scored")
    logit: float = Field(description="the threshold")
    source: str = Field(description="where it was chosen, in words; without a val it is probability 0.5")


class Metric(Part):
    """A kind of figure."""

    name: str = Field(description="key of the figure in rows")
    title: str = Field(description="heading on the page")
    better: Literal["higher", "lower"] | None = Field(description="direction of improvement; null: describes the data")
    source: str = Field(description="definition")
    thresholded: bool = Field(description="whether it depends on the threshold")
    reals: int = Field(description="reals that it needs at least")
    fakes: int = Field(description="fakes that it needs at least")


class Row(Part):
    """The figures of a model for one part of the data."""

    model: str = Field(description="name of the model: a run, or NAME+plain: a mirrored run without its mirror images")
    level: Level = Field(
        description="frame: faces with a known label; video: maximum over persons; video (mean): mean over persons"
    )
    dataset: str | None = Field(description="null: all datasets")
    compression: str | None = Field(description="null: all compressions, or unknown")
    method: str | None = Field(description="null: all methods; else its fakes and the reals of the same compression")
    mark: Mark = Field(description="whether the model was trained on such data; unknown: it is external")
    reals: int = Field(description="real faces or videos in the figures")
    fakes: int = Field(description="fake faces or videos in the figures")
    scored: int = Field(description="videos with a kept face")
    listed: int = Field(description="videos that the split lists")
    unlabelled: int = Field(description="faces left out since nobody knows whether they were altered")
    threshold: float = Field(description="the threshold of the figures, a logit")
    figures: dict[str, Figure] = Field(description="every metric by name")
    filled: dict[str, Figure] = Field(description="the same with faceless videos at probability 0.5; empty by frame")


class Means(Part):
    """The figures over seeds for one part of the data."""

    level: Level = Field(description="as in a row")
    dataset: str | None = Field(description="as in a row")
    compression: str | None = Field(description="as in a row")
    method: str | None = Field(description="as in a row")
    figures: dict[str, Mean] = Field(description="every metric that all runs have")


class Seeds(Part):
    """Runs whose recipes and training builds are equal but for the seed."""

    name: str = Field(description="what the names of the runs begin with")
    runs: list[str] = Field(description="the runs")
    seeds: list[int] = Field(description="their seeds, in the same order")
    means: list[Means] = Field(description="means over the runs")


class Test(Part):
    """DeLong's paired test, which takes videos as independent."""

    value: float = Field(description="AUC of the first minus AUC of the second")
    low: float = Field(description="lower end of the 95 % interval")
    high: float = Field(description="upper end")
    p: float | None = Field(description="two-sided; null: no variance, but a difference")


class Comparison(Part):
    """Two runs on the same videos, AUC by video by maximum."""

    dataset: str | None = Field(description="null: all datasets")
    first: str = Field(description="a run")
    second: str = Field(description="the other run")
    videos: int = Field(description="videos that were compared")
    first_auc: float = Field(description="AUC of the first")
    second_auc: float = Field(description="AUC of the second")
    change: Figure = Field(description="first minus second, over shared draws of whole groups")
    p: float | None = Field(description="two-sided, from these draws; null: fewer than ten groups of a class")
    p_holm: float | None = Field(description="p, corrected for all differences on this dataset (Holm)")
    delong: Test | None = Field(description="null: fewer than ten groups of a class")
    delong_holm: float | None = Field(description="DeLong's p, corrected for all differences on this dataset (Holm)")


class LeftOut(Part):
    """A run on a method that its training lacked, though it trained on the dataset; AUC by video."""

    model: str = Field(description="name of the model")
    dataset: str = Field(description="name of the dataset")
    compression: str | None = Field(description="null: unknown, or the dataset has one")
    method: str = Field(description="the method that training lacked")
    auc: Figure = Field(description="AUC on this method")
    trained: list[str] = Field(description="methods of the same dataset and compression that it trained on")
    inside: float | None = Field(description="mean AUC over those")
    gap: float | None = Field(description="inside minus the AUC on the method left out")


class Transfer(Part):
    """A threshold by video on another dataset than it was chosen on."""

    model: str = Field(description="name of the run")
    source: str | None = Field(description="null: val; else the dataset whose evaluated videos it is the best on")
    dataset: str = Field(description="the dataset that it is used on")
    threshold: float = Field(description="the threshold, a logit")
    balanced_accuracy: float = Field(description="balanced accuracy at this threshold")
    best: float = Field(description="the largest that any threshold reaches there")
    loss: float = Field(description="best minus balanced_accuracy")


class Wrong(Part):
    """A real with one of the highest scores of a run, or a fake with one of the lowest."""

    model: str = Field(description="name of the run")
    video_id: str = Field(description="the video")
    dataset: str = Field(description="its dataset")
    method: str | None = Field(description="its method; null: not published")
    compression: str | None = Field(description="its compression; null: unknown")
    label: int = Field(description="0 real, 1 fake")
    logit: float = Field(description="its score by maximum")
    score: float = Field(description="the probability of fake")
    wrong: bool = Field(description="whether val's threshold errs on it")
    sample_ids: list[str] = Field(description="pictures of the person who gave it its score")


class Change(Part):
    """A model on the same videos before and under a condition, at val's threshold."""

    model: str = Field(description="name of the model")
    kind: str = Field(description="JPEG, resize or build")
    name: str = Field(description="name of the condition")
    strength: float | None = Field(description="JPEG quality or scale; null for a build")
    videos: int = Field(description="videos in both")
    pictures: int = Field(description="pictures in both")
    before: Figure = Field(description="AUC by video before")
    after: Figure = Field(description="AUC by video under the condition")
    change: Figure = Field(description="after minus before, over shared draws")
    balanced_before: Figure = Field(description="balanced accuracy before")
    balanced_after: Figure = Field(description="balanced accuracy under the condition")
    cut: list[str] = Field(description="how a build's crops are cut otherwise than those trained on, in sentences")


class Group(Part):
    """A model on the videos of one group of --groups."""

    model: str = Field(description="name of the model")
    group: str = Field(description="name of the group")
    videos: int = Field(description="its videos")
    figures: dict[str, Figure] = Field(description="auc, fpr, fnr, positive (share called fake), base (share of fakes)")


class Kept(Part):
    """What is left as the least certain videos are left out."""

    coverage: float = Field(description="share of the videos that is kept")
    wrong: float = Field(description="share of wrong decisions among them")


class Risk(Part):
    """Selective prediction by Monte-Carlo dropout, by video, at val's threshold."""

    model: str = Field(description="name of the run")
    passes: int = Field(description="passes of dropout")
    videos: int = Field(description="videos")
    uncertain: int = Field(description="of them, uncertain ones")
    wrong: float = Field(description="share of wrong decisions, of all")
    wrong_certain: float | None = Field(description="of the certain ones; null: there are none")
    curve: list[Kept] = Field(description="as the least certain are left out, from few videos to all")


class Cost(Part):
    """What inference costs for one crop."""

    model: str = Field(description="name of the run")
    device: str = Field(description="device")
    alone_ms: float = Field(description="milliseconds, alone")
    batch_ms: float = Field(description="milliseconds, in a batch of 32")
    gflop: float = Field(description="floating-point operations, in thousand millions")
    memory_mib: float = Field(description="peak memory in MiB")
    energy_j: float | None = Field(description="joules in a batch; null: not metered")
    metered: str = Field(description="the counter, or why there is none")
