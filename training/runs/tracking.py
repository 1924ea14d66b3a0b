"""The trackers' one door: a run's recipe, fingerprints and metrics, to MLflow or to Weights & Biases."""

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
_FLUSH: Final = 100  # metrics
_LONGEST: Final = 6000  # characters of a parameter that MLflow takes


class Tracker(Protocol):
    """What a run tells as it goes; ``run_id`` is the tracker's own name for it."""

    run_id: str

    def describe(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Write down what the run is made from."""

    def log(self, step: int, figures: Mapping[str, float | None]) -> None:
        """Add figures of a step; None is left out."""

    def flush(self) -> None:
        """Send what waits."""

    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""


def check(tracking: str | None) -> None:
    """Raise UsageError where the tracker asked for is not installed."""
    if tracking == "wandb" and importlib.util.find_spec("wandb") is None:
        raise UsageError("--tracking wandb needs the package wandb; install it with `pip install wandb`.")


def begin(tracking: str, folder: Path, name: str, known: str | None = None) -> Tracker:
    """Begin a run named ``name``, or go on with the ``known`` one: ``sqlite`` is MLflow's store in the run's
    ``folder``, ``wandb`` Weights & Biases, all else the address of an MLflow store.

    Raises SemblanceError where the tracker cannot be reached.
    """
    if tracking == "wandb":
        return Wandb(folder, name, known)
    uri = f"sqlite:///{(folder / 'mlflow.db').resolve()}" if tracking == "sqlite" else tracking
    return MLflow(uri, name, (folder / "mlflow").resolve().as_uri(), known)


class MLflow:
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
        from mlflow.entities import Param, RunTag

        self._client.log_batch(
            self.run_id,
            params=[Param(name, str(value)[:_LONGEST]) for name, value in parameters.items()],
            tags=[RunTag(name, value[:_LONGEST]) for name, value in tags.items()],
        )

    def log(self, step: int, figures: Mapping[str, float | None]) -> None:
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
        self.flush()
        self._client.set_terminated(self.run_id, status)


class Wandb:
    """Project ``semblance`` of Weights & Biases, as its own settings say: WANDB_MODE=offline keeps all in DIR/wandb for
    ``wandb sync``. It takes steps in their order alone, so those that a resumed run does again stay as they were first.
    The test suite knows it offline, where the package is installed.
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
        """wandb sends on its own."""

    def close(self, status: str) -> None:
        self._run.finish(exit_code=0 if status == "FINISHED" else 1)
