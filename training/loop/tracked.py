"""A run in its tracker, and run.json: what the run was, where, and under which id it is tracked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lightning.pytorch import Trainer

from semblance.manifests.config import flatten
from semblance.manifests.errors import SemblanceError
from semblance.training.loop.module import DetectorModule
from semblance.training.runs import folder, tracking
from semblance.training.runs.folder import RunDir
from semblance.training.runs.tracking import Tracker


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Where a run is tracked.

    ``address``: ``mlflow`` (a store beside the run folder), an MLflow address, or ``wandb``. ``experiment`` groups
    runs; None is the names of their datasets. ``checkpoint``: best.ckpt is copied to the tracker too.
    """

    address: str = tracking.BESIDE
    experiment: str | None = None
    checkpoint: bool = False


def start(
    run: RunDir, module: DetectorModule, trainer: Trainer, told: Sequence[str], wished: Tracking | None
) -> Tracker | None:
    """Write run.json, and start the tracker's run or continue it."""
    file = run.path / "run.json"
    earlier: dict[str, Any] = folder.read_json(file)
    environment = {
        "versions": folder.versions(),
        "commit": folder.commit(),
        "precision": trainer.precision,
        "accelerator": type(trainer.accelerator).__name__,
        "ranks": trainer.world_size,
        "workers": module.workers,
        "terms": list(told),
        "licence": module.model.licence,
        "sources": dict(module.sources),
        "tracking": earlier.get("tracking"),
    }
    tracker = None
    if wished is not None:
        records = [record for record in module.data.datasets if record["role"] != "weights"]
        tracker = tracking.begin(
            wished.address,
            run.path,
            name=f"{module.recipe.name} {run.path.resolve().name}",
            experiment=wished.experiment or experiment_of(records),
            earlier=earlier,
        )
        reference = asdict(tracker.reference)
        if earlier.get("tracking") != reference:
            tags = {f"fingerprint/{record['name']}": str(record["fingerprint"]) for record in records}
            tags |= {f"version/{package}": version for package, version in folder.versions().items()}
            tags["mlflow.note.content"] = "\n".join(told)  # the description on the run's page
            tracker.describe(dict(flatten(module.recipe.model_dump(mode="json"))), tags)
            tracker.datasets(records)
        environment["tracking"] = reference
    folder.write_json(file, environment)
    return tracker


def end(tracker: Tracker, run: RunDir, status: str, wished: Tracking, say: Callable[[str], None]) -> None:
    """Copy the run's small files to the tracker, and best.ckpt if that is wished; then close it.

    A tracker that cannot be used any more is reported, and hides neither the run nor why it ended.
    """
    files = [run.recipe_file, run.path / "datasets.json", run.path / "run.json", run.steps, run.epochs]
    try:
        try:
            for file in [*files, *([run.best] if wished.checkpoint else [])]:
                if file.exists():
                    tracker.attach(file)
        finally:
            tracker.close(status)
    except SemblanceError as error:
        say(f"not tracked: {error}")


def experiment_of(records: Sequence[dict[str, Any]]) -> str:
    """The experiment of runs on the same datasets, e.g. ``semblance ffpp+dfdc``."""
    names = dict.fromkeys(str(record["dataset"]) for record in records if record["role"] == "train")
    return f"semblance {'+'.join(names)}"
