"""Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from semblance.manifests.errors import SemblanceError
from semblance.training.runs.tracking.base import Reference

PROJECT: Final = "semblance"


class Wandb:
    """A run in project ``semblance``, configured by wandb's own environment variables; ``experiment`` is its group.

    WANDB_MODE=offline keeps everything in DIR/wandb for ``wandb sync``. wandb accepts steps in increasing order only,
    so steps that a resumed run repeats keep their first values. Tests cover the offline mode only.
    """

    def __init__(self, folder: Path, name: str, experiment: str, run_id: str | None = None) -> None:
        import wandb

        settings = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._run = wandb.init(
                project=PROJECT,
                group=experiment,
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
        self.reference = Reference(address="wandb", run_id=str(self._run.id))
        self.hint = f"wandb project {PROJECT}, or with WANDB_MODE=offline `wandb sync {folder / 'wandb'}`"

    def describe(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        self._run.config.update({**parameters, **tags}, allow_val_change=True)

    def datasets(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._run.config.update({"datasets": [dict(record) for record in records]}, allow_val_change=True)

    def log(self, step: int, figures: Mapping[str, float | None]) -> None:
        self._run.log({name: value for name, value in figures.items() if value is not None}, step=step)

    def attach(self, file: Path, folder: str = "") -> None:
        del folder  # wandb keeps files by name
        self._run.save(str(file), base_path=str(file.parent), policy="now")

    def child(self, name: str) -> Wandb:
        del name  # wandb nests nothing
        return self

    def sibling(self, name: str) -> Wandb:
        return self.child(name)

    def flush(self) -> None:
        """Nothing to do: wandb sends by itself."""

    def close(self, status: str | None) -> None:
        self._run.finish(exit_code=0 if status in ("FINISHED", None) else 1)
