"""The registry of dataset readers."""

from __future__ import annotations

from typing import Final, TypeVar

from semblance.ingest.sources.base import Source
from semblance.manifests.datasets import DATASETS
from semblance.manifests.registry import Registry

SOURCES: Final[Registry[Source]] = Registry("dataset", "--dataset")
Reader = TypeVar("Reader", bound=type[Source])


def register(reader: Reader) -> Reader:
    """Decorate a reader so that ``--dataset`` takes its name, and every package knows what its ``info`` says.

    Raises ValueError where the name is taken.
    """
    one = reader()
    SOURCES.add(one.name, one)
    if DATASETS.get(one.name) is not one.info:  # a reader outside Semblance brings its facts along
        DATASETS.add(one.name, one.info)
    return reader


def source(name: str) -> Source:
    """The reader of a dataset's layout; raises UsageError for an unknown name."""
    return SOURCES.find(name)
