"""The registry of dataset readers."""

from __future__ import annotations

from typing import Final, TypeVar

from semblance.ingest.sources.base import Source
from semblance.manifests.datasets import DATASETS
from semblance.manifests.registry import Registry

SOURCES: Final[Registry[Source]] = Registry("dataset", "--dataset")
Reader = TypeVar("Reader", bound=type[Source])


def register(reader: Reader) -> Reader:
    """Decorate a reader so that ``--dataset`` accepts its name, and every package has the facts in its ``info``.

    Raises ValueError if the name is taken.
    """
    instance = reader()
    SOURCES.add(instance.name, instance)
    if DATASETS.get(instance.name) is not instance.info:  # a reader outside Semblance registers its own facts
        DATASETS.add(instance.name, instance.info)
    return reader


def source(name: str) -> Source:
    """The reader of a dataset's layout; raises UsageError for an unknown name."""
    return SOURCES.find(name)
