"""MLflow's one door: a run's recipe, fingerprints and metrics."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Mapping
from typing import Any, Final

from manifests.records import SemblanceError

EXPERIMENT: Final = "semblance"
_FLUSH: Final = 100  # metrics
_LONGEST: Final = 6000  # characters of a parameter that MLflow takes


class Tracker:
    """Metrics go to MLflow in groups, so that its store costs no step its time."""

    def __init__(self, uri: str, name: str, artifacts: str, run_id: str | None = None) -> None:
        """Open the store at ``uri`` (``sqlite:///...`` or a server) and begin a run, or go on with ``run_id``.
        ``artifacts``: where a new store says that files would lie.

        Raises SemblanceError where the store cannot be reached.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        for chatty in ("mlflow", "alembic"):  # after the import, which sets them up
            logging.getLogger(chatty).setLevel(logging.WARNING)
        with warnings.catch_warnings():
            # SQLAlchemy 2.1 deprecates what mlflow 3.17 still uses when it first opens its store
            warnings.filterwarnings("ignore", message="The ``noload`` loader strategy")
            try:
                self._client = MlflowClient(uri)
                known = self._client.get_experiment_by_name(EXPERIMENT)
                experiment = known.experiment_id if known else self._client.create_experiment(EXPERIMENT, artifacts)
                if run_id is not None:
                    self.run_id = self._client.get_run(run_id).info.run_id
                    self._client.update_run(run_id, status="RUNNING")
                else:
                    self.run_id = self._client.create_run(experiment, run_name=name).info.run_id
            except MlflowException as error:
                reason = str(error).splitlines()[0]
                raise SemblanceError(f"MLflow's store {uri} cannot be used ({reason}); see --tracking.") from error
        self._waiting: list[Any] = []

    def describe(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Write down what the run is made from."""
        from mlflow.entities import Param, RunTag

        self._client.log_batch(
            self.run_id,
            params=[Param(name, str(value)[:_LONGEST]) for name, value in parameters.items()],
            tags=[RunTag(name, value[:_LONGEST]) for name, value in tags.items()],
        )

    def log(self, step: int, figures: Mapping[str, float | None]) -> None:
        """Add figures of a step; None is left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._waiting += [Metric(name, value, now, step) for name, value in figures.items() if value is not None]
        if len(self._waiting) >= _FLUSH:
            self.flush()

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._client.log_batch(self.run_id, metrics=waiting)

    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        self.flush()
        self._client.set_terminated(self.run_id, status)
