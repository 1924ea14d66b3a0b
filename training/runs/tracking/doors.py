"""Which tracker a run reports to: chosen by an address, found again by the run folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from semblance.manifests.errors import UsageError
from semblance.training.runs.tracking.base import Reference, Tracker

BESIDE: Final = "mlflow"  # an MLflow store in the folder that holds the run folder
WANDB: Final = "wandb"


def check(tracking: str | None) -> None:
    """Raise UsageError if the requested tracker is not installed."""
    if tracking == WANDB and importlib.util.find_spec("wandb") is None:
        raise UsageError("--tracking wandb needs the package wandb; install it with `pip install wandb`.")


def begin(tracking: str, run: Path, *, name: str, experiment: str, earlier: Mapping[str, Any] | None = None) -> Tracker:
    """Start a run named ``name`` in ``experiment``, or continue the one that run.json, ``earlier``, refers to.

    ``tracking``: ``mlflow`` is an MLflow store beside the folder ``run``, ``wandb`` Weights & Biases, and anything else
    the address of an MLflow store. A run that its store no longer has is started anew. Raises SemblanceError if the
    store cannot be reached.
    """
    known = reference(earlier or {})
    run_id = known.run_id if known is not None and known.address == tracking else None
    if tracking == WANDB:
        from semblance.training.runs.tracking.wandb_project import Wandb

        check(WANDB)
        return Wandb(run, name, experiment, run_id)
    from semblance.training.runs.tracking.mlflow_store import MLflow

    return MLflow(tracking, _uri(tracking, run), name, experiment, run_id)


def reopen(run: Path, record: Mapping[str, Any]) -> Tracker | None:
    """The MLflow run that the run.json of folder ``run``, ``record``, refers to; None if there is none.

    Raises SemblanceError if its store cannot be reached, or does not have it.
    """
    known = reference(record)
    if known is None or known.address == WANDB:
        return None
    from semblance.training.runs.tracking.mlflow_store import MLflow

    return MLflow.existing(known, _uri(known.address, run))


def reference(record: Mapping[str, Any]) -> Reference | None:
    """What run.json says of tracking; None if the run is not tracked."""
    tracked = record.get("tracking")
    if not isinstance(tracked, Mapping):
        return None
    return Reference(address=str(tracked["address"]), run_id=str(tracked["run_id"]))


def _uri(address: str, run: Path) -> str:
    return f"sqlite:///{run.resolve().parent / 'mlflow.db'}" if address == BESIDE else address
