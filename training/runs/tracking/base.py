"""The interface of trackers, and what a run folder keeps of its run in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where a run is tracked, as run.json keeps it.

    The address ``mlflow`` is the store beside the run, so that the folder of both may be moved.
    """

    address: str
    run_id: str


class Tracker(Protocol):
    """A place that a run reports to; ``reference`` finds the run again, and ``hint`` says how to look at it.

    All methods raise SemblanceError if the place cannot be used.
    """

    reference: Reference
    hint: str

    def describe(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Log the run's parameters and tags."""

    def datasets(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Log the builds of datasets.json as inputs."""

    def log(self, step: int, figures: Mapping[str, float | None]) -> None:
        """Log figures of a step; those that are None are omitted."""

    def attach(self, file: Path, folder: str = "") -> None:
        """Copy a file into ``folder`` of the run's files."""

    def child(self, name: str) -> Tracker:
        """A run nested in this one, for an evaluation; close it by itself."""

    def sibling(self, name: str) -> Tracker:
        """A run of the same experiment, for an ensemble; close it by itself."""

    def flush(self) -> None:
        """Send buffered figures."""

    def close(self, status: str | None) -> None:
        """Send what is buffered and end the run as FINISHED, FAILED or KILLED; None leaves its status."""
