"""The run folder: what a training leaves behind, and the claim that keeps two trainings out of one folder.

::

    DIR/recipe.json             the complete training recipe (``TrainingRecipe``)
    DIR/datasets.json           a list: each build with its dataset's name, fingerprint, role (``train``, ``other``),
                                split column, recipe, the counts of its sides, methods and compressions trained on
    DIR/run.json                versions, precision, device, ranks, workers, the tracker's run id: what decides nothing
    DIR/checkpoints/last.ckpt   everything needed to go on (training/checkpoint.py)
    DIR/checkpoints/best.ckpt   the weights with the best figure on val; what evaluation takes
    DIR/metrics/steps.jsonl     a line an optimiser's step: step, epoch, loss and its parts, lr
    DIR/metrics/epochs.jsonl    a line an epoch: step, epoch, val/loss, val/auc_frame, val/auc_video, the same for each
                                dataset (val/auc_video/NAME) and for others (other/auc_video/NAME)
    DIR/mlflow.db               MLflow's store, unless another is named; DIR/wandb with --tracking wandb
    DIR/failure.json            after a loss that is no number: the step and all its sample ids

Files are replaced as a whole, the two tables of metrics grow by whole lines; a resumed run first cuts them back to its
checkpoint's step, so they hold each step once.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from semblance.manifests import storage
from semblance.manifests.config import canonical_json, differences, readable_json
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.recipes.base import TrainingRecipe

_PACKAGES: Final = ("semblance", "torch", "lightning", "timm", "albumentations", "webdataset", "numpy", "polars")


class RunDir:
    """A run folder by its path; nothing is read or written until asked."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.recipe_file = self.path / "recipe.json"
        self.last = self.path / "checkpoints" / "last.ckpt"
        self.best = self.path / "checkpoints" / "best.ckpt"
        self.steps = self.path / "metrics" / "steps.jsonl"
        self.epochs = self.path / "metrics" / "epochs.jsonl"

    def recipe(self) -> TrainingRecipe:
        """The recipe of the run; raises UsageError where the folder holds none."""
        try:
            return TrainingRecipe.model_validate_json(self.recipe_file.read_text("utf-8"))
        except FileNotFoundError as error:
            raise UsageError(
                f"{self.path} holds no run (no recipe.json); start one with `training fit --run {self.path}`."
            ) from error
        except ValueError as error:
            raise SemblanceError(f"{self.recipe_file} is damaged; start a new run.") from error

    def builds(self, role: str) -> list[str]:
        """The builds of the run that were ``train`` or ``other``; raises UsageError where the folder holds no run."""
        file = self.path / "datasets.json"
        if not file.exists():
            raise UsageError(f"{self.path} holds no run (no datasets.json); name builds with --data.")
        return [str(one["out"]) for one in read_json(file) if one["role"] == role]

    def check(self, recipe: TrainingRecipe, *, resume: bool) -> None:
        """Make sure that the folder is free, or with ``resume`` that it holds a run with this recipe.

        Raises UsageError where it holds anything else, SemblanceError, with the differences, for another recipe.
        """
        if not resume:
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise UsageError(
                    f"{self.path} is not empty; go on with the run in it with --resume, or name another --run."
                )
        elif changed := differences(self.recipe().model_dump(mode="json"), recipe.model_dump(mode="json")):
            raise SemblanceError(
                f"The run in {self.path} has another recipe ({'; '.join(changed[:5])}); resume it with its own, or "
                "start a new run."
            )

    def begin(self, recipe: TrainingRecipe, datasets: Sequence[Mapping[str, Any]], step: int) -> None:
        """Write down what the run is, and forget metrics after ``step``, from which it goes on; half-written files of a
        killed run go.
        """
        storage.sweep(str(self.path))
        write_json(self.recipe_file, recipe.model_dump(mode="json"))
        write_json(self.path / "datasets.json", list(datasets))
        for table in (self.steps, self.epochs):
            kept = [row for row in read_lines(table) if row["step"] <= step]
            if table.exists():
                _write(table, "".join(canonical_json(row) + "\n" for row in kept))

    def log(self, table: Path, row: Mapping[str, Any]) -> None:
        """Add one line to a table of metrics."""
        table.parent.mkdir(parents=True, exist_ok=True)
        with table.open("a", encoding="utf-8") as file:
            file.write(canonical_json(dict(row)) + "\n")


def read_lines(table: Path) -> list[dict[str, Any]]:
    """The rows of a table of metrics; empty where it is not there. A torn last line is left out."""
    if not table.exists():
        return []
    lines = table.read_text("utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def read_json(file: Path) -> Any:
    """A file of ours; an empty dictionary where it is not there. Raises SemblanceError where it is damaged."""
    try:
        value = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SemblanceError(f"{file} is damaged; remove it, or start a new run.") from error
    return value


def write_json(file: Path, value: Any) -> None:
    """Make ``file`` appear as a whole."""
    _write(file, readable_json(value))


def versions() -> dict[str, str]:
    """What the result depends on beside recipe and data."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def _write(file: Path, text: str) -> None:
    with storage.writing(str(file), "choose another folder, then run again") as out:
        out.write(text.encode())
