"""MLflow: runs in experiments of one store, with their datasets and files."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from semblance.manifests.config import canonical_json
from semblance.manifests.errors import SemblanceError
from semblance.training.runs.tracking.base import Reference

T = TypeVar("T")
_ABSENT: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # MLflow's codes, of a model and of an alias
_FLUSH: Final = 100  # metrics per write
_LONGEST: Final = 6000  # characters of a parameter; MLflow rejects longer ones
_KIND: Final = {"mlflow.experimentKind": "custom_model_development"}  # its page opens on runs, not on traces
_FILE: Final = "sqlite:///"


class MLflow:
    """A run in MLflow. Metrics are sent in groups, so that steps do not wait for the store."""

    def __init__(self, address: str, uri: str, name: str, experiment: str, run_id: str | None = None) -> None:
        """Open the store at ``uri`` (``sqlite:///...`` or a server), and start a run or continue ``run_id``.

        A store in a file keeps the files of its runs in the folder ``mlflow`` beside it. Several processes may open it
        at once. Raises SemblanceError if the store cannot be reached.
        """
        from mlflow.exceptions import MlflowException

        with told(uri):
            self._client = client(uri)
            experiment_id = experiment_of(self._client, uri, experiment)
            if run_id is not None:
                try:
                    self._client.update_run(run_id, status="RUNNING")
                except MlflowException:  # a store that was removed, or a run folder that was moved without its store
                    run_id = None
            if run_id is None:
                run_id = self._client.create_run(experiment_id, run_name=name).info.run_id
        self._experiment_id, self._uri = experiment_id, uri
        self._settle(address, str(run_id), experiment)

    def _settle(self, address: str, run_id: str, experiment: str) -> None:
        self.reference = Reference(address=address, run_id=run_id)
        page = f"#/experiments/{self._experiment_id}/runs?workflowType=machine_learning"
        if self._uri.startswith(_FILE):
            shown = f"`mlflow ui --backend-store-uri {self._uri}`, then http://127.0.0.1:5000/{page}"
        else:
            shown = f"{self._uri.rstrip('/')}/{page}"
        self.hint = f"{experiment!r} in MLflow: {shown}"
        self._buffer: list[Any] = []

    @classmethod
    def existing(cls, reference: Reference, uri: str) -> MLflow:
        """The run of a ``reference``, to add to it; raises SemblanceError if the store or the run is gone."""
        run = cls.__new__(cls)
        if uri.startswith(_FILE) and not Path(uri.removeprefix(_FILE)).exists():
            raise SemblanceError(f"The MLflow store {uri} is gone.")
        with told(uri):
            run._client, run._uri = client(uri), uri
            run._experiment_id = run._client.get_run(reference.run_id).info.experiment_id
            experiment = run._client.get_experiment(run._experiment_id).name
        run._settle(reference.address, reference.run_id, experiment)
        return run

    def describe(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        from mlflow.entities import Param, RunTag

        params = [Param(name, str(value)[:_LONGEST]) for name, value in parameters.items()]
        with told(self._uri):
            self._client.log_batch(
                self.reference.run_id,
                params=params,
                tags=[RunTag(name, value[:_LONGEST]) for name, value in tags.items()],
            )

    def datasets(self, records: Sequence[Mapping[str, Any]]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        contexts = {"train": "training", "other": "evaluation"}
        inputs = [
            DatasetInput(
                Dataset(
                    name=str(record["name"]),
                    digest=str(record["fingerprint"])[:36],  # the longest that MLflow accepts
                    source_type="semblance",
                    source=canonical_json({"out": str(record["out"]), "split_column": record.get("split_column")}),
                    profile=canonical_json(record.get("counts", {})),
                ),
                [InputTag("mlflow.data.context", contexts.get(str(record["role"]), "evaluation"))],
            )
            for record in records
        ]
        with told(self._uri):
            self._client.log_inputs(self.reference.run_id, inputs)

    def log(self, step: int, figures: Mapping[str, float | None]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._buffer += [Metric(name, value, now, step) for name, value in figures.items() if value is not None]
        if len(self._buffer) >= _FLUSH:
            self.flush()

    def attach(self, file: Path, folder: str = "") -> None:
        with told(self._uri):
            self._client.log_artifact(self.reference.run_id, str(file), folder or None)

    def child(self, name: str) -> MLflow:
        return self._another(name, {"mlflow.parentRunId": self.reference.run_id})

    def sibling(self, name: str) -> MLflow:
        return self._another(name, {})

    def _another(self, name: str, tags: dict[str, str]) -> MLflow:
        run = MLflow.__new__(MLflow)
        run._client, run._uri, run._experiment_id = self._client, self._uri, self._experiment_id
        with told(self._uri):
            run_id = self._client.create_run(self._experiment_id, run_name=name, tags=tags).info.run_id
        run._settle(self.reference.address, run_id, self._client.get_experiment(self._experiment_id).name)
        return run

    def flush(self) -> None:
        buffer, self._buffer = self._buffer, []
        with told(self._uri):
            for first in range(0, len(buffer), 1000):  # the most that MLflow takes at once
                self._client.log_batch(self.reference.run_id, metrics=buffer[first : first + 1000])

    def close(self, status: str | None) -> None:
        self.flush()
        if status is not None:
            with told(self._uri):
                self._client.set_terminated(self.reference.run_id, status)


def client(uri: str) -> Any:
    """MLflow's client of the store at ``uri``, which is made if it is a file that does not exist."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    for logger in ("mlflow", "alembic"):  # after the import, which configures them
        logging.getLogger(logger).setLevel(logging.WARNING)
    with alone(uri), warnings.catch_warnings():
        # SQLAlchemy 2.1 deprecates what mlflow 3.17 still uses when it first opens its store
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy")
        _make_store(uri)
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)  # the first request makes the store
    return client


def _make_store(uri: str) -> None:
    """Make a store in a file under another name first: an interruption must not leave one without all its tables."""
    from mlflow.tracking import MlflowClient

    store = Path(uri.removeprefix(_FILE))
    if not uri.startswith(_FILE) or store.exists():
        return
    for stale in store.parent.glob(f".{store.name}.*.partial"):
        stale.unlink()
    partial = store.with_name(f".{store.name}.{os.urandom(8).hex()}.partial")
    MlflowClient(f"{_FILE}{partial}").search_experiments(max_results=1)
    partial.replace(store)


def experiment_of(client: Any, uri: str, name: str) -> str:
    """The id of an experiment, which is made if there is none of that name."""
    with alone(uri):
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        files = None
        if uri.startswith(_FILE):
            files = (Path(uri.removeprefix(_FILE)).parent / "mlflow").resolve().as_uri()
        return str(client.create_experiment(name, files, _KIND))


@contextlib.contextmanager
def alone(uri: str) -> Iterator[None]:
    """Keep other processes from making the tables of a store in a file at the same time."""
    if not uri.startswith(_FILE):
        yield
        return
    store = Path(uri.removeprefix(_FILE))
    store.parent.mkdir(parents=True, exist_ok=True)
    with store.with_name(f".{store.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def told(uri: str, advice: str = "see --tracking", kind: type[SemblanceError] = SemblanceError) -> Iterator[None]:
    """Say in a sentence what the store, or the folder of its files, refuses."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise kind(f"The MLflow store {uri} cannot be used ({reason}); {advice}.") from error


def absent(ask: Callable[[], T]) -> T | None:
    """What MLflow's registry answers, None if it says that there is no such model, version or alias."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        return None
