"""The record type for facts about a dataset: terms, people, release, size, labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from semblance.manifests.registry import Registry

Basis = Literal["person", "recording"]  # what the ids of people identify
Fractions = tuple[float, float, float]  # shares of train, val and test
DEFAULT: Final = "*"  # the key for groups or methods without their own entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Datasheet:
    """What a user must know about a dataset, for CARD.md."""

    title: str
    homepage: str
    citation: str
    terms: str
    consent: str
    known_leaks: str
    label_noise: str
    intended_use: str = "Research on the detection of manipulated faces in video."
    unintended_use: str = "Identifying people, or training generators of their likeness."


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The day (ISO 8601) on which a dataset or a part of it was published, and the source for it."""

    date: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The class names of another project for reals, by group (the first folder of ``part``), and fakes, by method."""

    real: Mapping[str, str]
    fake: Mapping[str, str]

    def of_real(self, part: str | None) -> str | None:
        """The name for a real face of a video in ``part``."""
        return self.real.get(group_of(part), self.real.get(DEFAULT))

    def of_fake(self, method: str | None) -> str | None:
        """The name for a fake by ``method``."""
        return self.fake.get(method or "", self.fake.get(DEFAULT))


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """A dataset as its authors describe it.

    ``identity_basis``: what the ids of people identify; None if the dataset has none. ``identity_note``: what a split
    can guarantee about people. ``fractions``: the default shares of train, val and test. ``val_from_train``: the
    authors published no val, so a part of train becomes it. ``paired``: the layout names a fake's original.
    ``releases``: by group (the first folder of ``part``) or method, else ``DEFAULT``. ``full``: the full size of
    everything that a reader counts. ``labels``: by export format. ``mask_note``: what its masks mark.
    """

    name: str
    datasheet: Datasheet
    identity_note: str
    identity_basis: Basis | None = None
    fractions: Fractions = (0.8, 0.1, 0.1)
    val_from_train: bool = False
    paired: bool = True
    releases: Mapping[str, Release] = field(default_factory=dict)
    full: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, Labels] = field(default_factory=dict)
    mask_note: str | None = None

    def release_of(self, part: str | None, method: str | None) -> Release | None:
        """When a video was published: with its group, else its method, else the dataset; None if unknown."""
        releases = (self.releases.get(name) for name in (group_of(part), method or "", DEFAULT))
        return next((release for release in releases if release is not None), None)


def group_of(part: str | None) -> str:
    """The group of the layout that a part belongs to: ``youtube`` of ``youtube/c23``."""
    return (part or "").partition("/")[0]


DATASETS: Final[Registry[DatasetInfo]] = Registry("dataset", "--dataset")


def register(info: DatasetInfo) -> DatasetInfo:
    """Make a dataset known to every package; raises ValueError if its name is taken."""
    return DATASETS.add(info.name, info)
