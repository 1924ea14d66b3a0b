"""Experiment tracking: the only user of MLflow and Weights & Biases, for recipes, fingerprints and metrics."""

from __future__ import annotations

import importlib.util
import logging
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from semblance.manifests.errors import SemblanceError, UsageError

EXPERIMENT: Final = "semblance"
_FLUSH: Final = 100  # metrics per write
_LONGEST: Final = 6000  # characters of a parameter; MLflow rejects longer ones


class Tracker(Protocol):
    """A place that a run reports to; ``run_id`` is the tracker's id of the run."""

    run_id: str

    def describe(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Log the run's parameters and tags."""

    def log(self, step: int, figures: Mapping[str, float | None]) -> None:
        """Log figures of a step; those that are None are omitted."""

    def flush(self) -> None:
        """Send buffered figures."""

    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""


def check(tracking: str | None) -> None:
    """Raise UsageError if the requested tracker is not installed."""
    if tracking == "wandb" and importlib.util.find_spec("wandb") is None:
        raise UsageError("--tracking wandb needs the package wandb; install it with `pip install wandb`.")


def begin(tracking: str, folder: Path, name: str, run_id: str | None = None) -> Tracker:
    """Start a run named ``name``, or continue the one with ``run_id``.

    ``tracking``: ``sqlite`` is an MLflow store in the run's ``folder``, ``wandb`` Weights & Biases, and anything else
    the address of an MLflow store. Raises SemblanceError if the tracker cannot be reached.
    """
    if tracking == "wandb":
        return Wandb(folder, name, run_id)
    uri = f"sqlite:///{(folder / 'mlflow.db').resolve()}" if tracking == "sqlite" else tracking
    return MLflow(uri, name, (folder / "mlflow").resolve().as_uri(), run_id)


class MLflow:
    """A run in MLflow. Metrics are sent in groups, so that steps do not wait for the store."""

    def __init__(self, uri: str, name: str, artifacts: str, run_id: str | None = None) -> None:
        """Open the store at ``uri`` (``sqlite:///...`` or a server), and start a run or continue ``run_id``.

        ``artifacts``: the artifact location of a new store. Raises SemblanceError if the store cannot be reached.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        for logger in ("mlflow", "alembic"):  # after the import, which configures them
            logging.getLogger(logger).setLevel(logging.WARNING)
        with warnings.catch_warnings():
            # SQLAlchemy 2.1 deprecates what mlflow 3.17 still uses when it first opens its store
            warnings.filterwarnings("ignore", message="The ``noload`` loader strategy")
            try:
                self._client = MlflowClient(uri)
                found = self._client.get_experiment_by_name(EXPERIMENT)
                experiment = found.experiment_id if found else self._client.create_experiment(EXPERIMENT, artifacts)
                if run_id is not None:
                    self.run_id = self._client.get_run(run_id).info.run_id
                    self._client.update_run(run_id, status="RUNNING")
                else:
                    self.run_id = self._client.create_run(experiment, run_name=name).info.run_id
            except MlflowException as error:
                reason = str(error).splitlines()[0]
                raise SemblanceError(f"The MLflow store {uri} cannot be used ({reason}); see --tracking.") from error
        self._buffer: list[Any] = []

    def describe(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        from mlflow.entities import Param, RunTag

        self._client.log_batch(
            self.run_id,
            params=[Param(name, str(value)[:_LONGEST]) for name, value in parameters.items()],
            tags=[RunTag(name, value[:_LONGEST]) for name, value in tags.items()],
        )

    def log(self, step: int, figures: Mapping[str, float | None]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._buffer += [Metric(name, value, now, step) for name, value in figures.items() if value is not None]
        if len(self._buffer) >= _FLUSH:
            self.flush()

    def flush(self) -> None:
        buffer, self._buffer = self._buffer, []
        if buffer:
            self._client.log_batch(self.run_id, metrics=buffer)

    def close(self, status: str) -> None:
        self.flush()
        self._client.set_terminated(self.run_id, status)


class Wandb:
    """A run in project ``semblance`` of Weights & Biases, configured by its own environment variables.

    WANDB_MODE=offline keeps everything in DIR/wandb for ``wandb sync``. wandb accepts steps in increasing order only,
    so steps that a resumed run repeats keep their first values. Tests cover the offline mode only.
    """

    def __init__(self, folder: Path, name: str, run_id: str | None = None) -> None:
        check("wandb")
        import wandb

        settings = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._run = wandb.init(
                project=EXPERIMENT,
                name=name,
                id=run_id,
                resume=None if run_id is None else "allow",
                dir=str(folder),
                settings=settings,
            )
        except wandb.Error as error:
            reason = str(error).splitlines()[0]
            raise SemblanceError(
                f"Weights & Biases cannot be used ({reason}); log in with `wandb login`, or set WANDB_MODE=offline."
            ) from error
        self.run_id = str(self._run.id)

    def describe(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        self._run.config.update({**parameters, **tags}, allow_val_change=True)

    def log(self, step: int, figures: Mapping[str, float | None]) -> None:
        self._run.log({name: value for name, value in figures.items() if value is not None}, step=step)

    def flush(self) -> None:
        """Nothing to do: wandb sends by itself."""

    def close(self, status: str) -> None:
        self._run.finish(exit_code=0 if status == "FINISHED" else 1)
