"""The run folder: its files, and the check that keeps two runs out of one folder.

::

    DIR/recipe.json             the complete training recipe (``TrainingRecipe``)
    DIR/datasets.json           a list: each build with its dataset's name, fingerprint, role (``train``, ``other``, or
                                ``weights``: learned by a run that its weights are from), split column, recipe, counts
                                of its splits, methods and compressions trained on, the kinds of ids that its split
                                keeps apart, the builds that it was repacked from, whether its faces were cut by the
                                dataset's authors
    DIR/seen.parquet            hashed ids of all that it was trained and selected on (training/guard/seen.py)
    DIR/run.json                versions, commit, precision, device, ranks, workers, the tracker's run id: for
                                information only
    DIR/checkpoints/last.ckpt   everything needed to resume (training/runs/checkpoint.py)
    DIR/checkpoints/best.ckpt   the weights with the best val AUC by video; evaluation uses them
    DIR/metrics/steps.jsonl     one line per optimiser step, written some steps late: step, epoch, loss and its parts,
                                lr; skipped: true, and null for what is not finite, where 16 bits overflowed
    DIR/metrics/epochs.jsonl    one line per epoch: step, epoch, val/loss, val/auc_frame, val/auc_video, the same for
                                each dataset (val/auc_video/NAME) and for others (other/auc_video/NAME)
    DIR/../mlflow.db, ../mlflow MLflow's store of all runs beside this one, unless another is named, and their files;
                                DIR/wandb with --tracking wandb
    DIR/failure.json            after a loss that is not a finite number: the step and all its sample ids

Files are replaced atomically. The two metrics tables grow by complete lines. A resumed run first cuts them back to the
step of its checkpoint, so they hold each step once.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from semblance.manifests import storage
from semblance.manifests.config import canonical_json, differences, readable_json
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.recipes.base import TrainingRecipe

_PACKAGES: Final = ("semblance", "torch", "lightning", "timm", "albumentations", "webdataset", "numpy", "polars")


class RunDir:
    """The paths and files of a run folder; creating this object reads and writes nothing."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.recipe_file = self.path / "recipe.json"
        self.last = self.path / "checkpoints" / "last.ckpt"
        self.best = self.path / "checkpoints" / "best.ckpt"
        self.steps = self.path / "metrics" / "steps.jsonl"
        self.epochs = self.path / "metrics" / "epochs.jsonl"

    def recipe(self) -> TrainingRecipe:
        """The recipe of the run; raises UsageError if the folder does not hold a run."""
        try:
            return TrainingRecipe.model_validate_json(self.recipe_file.read_text("utf-8"))
        except FileNotFoundError as error:
            raise UsageError(
                f"{self.path} is not a run (recipe.json is missing); start one with `training fit --run {self.path}`."
            ) from error
        except ValueError as error:
            raise SemblanceError(f"{self.recipe_file} is damaged; start a new run.") from error

    def builds(self, role: str) -> list[str]:
        """The builds with this role, ``train`` or ``other``; raises UsageError if the folder does not hold a run."""
        file = self.path / "datasets.json"
        if not file.exists():
            raise UsageError(f"{self.path} is not a run (datasets.json is missing); name builds with --data.")
        return [str(record["out"]) for record in read_json(file) if record["role"] == role]

    @property
    def begun(self) -> bool:
        """Whether there is anything in the folder, or a file in its place."""
        return self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir()))

    def check(self, recipe: TrainingRecipe, *, resume: bool) -> None:
        """Check that the folder is empty or, with ``resume``, that it holds a run with this recipe.

        Raises UsageError if it holds anything else, SemblanceError with the differences for another recipe.
        """
        if not resume:
            if self.begun:
                raise UsageError(
                    f"{self.path} is not empty; add --resume to continue its run, or choose another --run."
                )
        elif changed := differences(self.recipe().model_dump(mode="json"), recipe.model_dump(mode="json")):
            raise SemblanceError(
                f"The run in {self.path} has another recipe ({'; '.join(changed[:5])}); resume it with its own "
                "recipe, or start a new run."
            )

    def begin(self, recipe: TrainingRecipe, datasets: Sequence[Mapping[str, Any]], step: int) -> None:
        """Write the recipe and datasets of the run, and remove metrics after ``step``, at which it starts or resumes.

        Also removes the partial files of a killed run.
        """
        storage.sweep(str(self.path))
        write_json(self.recipe_file, recipe.model_dump(mode="json"))
        write_json(self.path / "datasets.json", list(datasets))
        for table in (self.steps, self.epochs):
            rows = [row for row in read_lines(table) if row["step"] <= step]
            if table.exists():
                _write(table, "".join(canonical_json(row) + "\n" for row in rows))

    def log(self, table: Path, row: Mapping[str, Any]) -> None:
        """Append one line to a metrics table."""
        table.parent.mkdir(parents=True, exist_ok=True)
        with table.open("a", encoding="utf-8") as file:
            file.write(canonical_json(dict(row)) + "\n")


def read_lines(table: Path) -> list[dict[str, Any]]:
    """The rows of a metrics table, none if it does not exist. An incomplete last line is ignored."""
    if not table.exists():
        return []
    lines = table.read_text("utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def read_json(file: Path) -> Any:
    """The content of a file, an empty dictionary if it does not exist. Raises SemblanceError if it is damaged."""
    try:
        value = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SemblanceError(f"{file} is damaged; remove it, or start a new run.") from error
    return value


def write_json(file: Path, value: Any) -> None:
    """Write ``file`` atomically."""
    _write(file, readable_json(value))


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that can change a result."""
    installed = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed[package] = "absent"
    return installed


def commit() -> str | None:
    """The Git commit of this code, with ``-dirty`` if files differ from it; None if it is not from a checkout."""
    here = Path(__file__).resolve()

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(here.parent), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # else it is installed below a checkout of something else
        return git("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _write(file: Path, text: str) -> None:
    with storage.writing(str(file), "choose another folder, then run again") as out:
        out.write(text.encode())
