"""What a run keeps while it trains: metrics, checkpoints, the best weights, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from semblance.manifests.errors import NotANumberError
from semblance.training.loop.module import DetectorModule
from semblance.training.runs import checkpoint, folder
from semblance.training.runs.folder import RunDir
from semblance.training.runs.tracking import Tracker


class Keeper(Callback):
    """Writes on rank 0 alone; decides on all ranks, from figures that all of them have.

    ``every``: optimiser's steps between two last.ckpt inside an epoch; one more comes at each epoch's end.
    """

    tracker: Tracker | None = None

    def __init__(self, run: RunDir, *, every: int, say: Callable[[str], None]) -> None:
        self.run, self.every, self.say = run, every, say
        self.best: tuple[float, float] | None = None  # AUC by video on val, minus the loss there
        self.best_epoch = -1
        self.stopped = False
        self._since = time.monotonic()
        self._losses: list[float] = []
        self._place: tuple[int, int] | None = None  # after the last batch, where that ended an optimiser's step

    def restore(self, progress: dict[str, Any]) -> None:
        self.best = tuple(progress["best"]) if progress["best"] is not None else None
        self.best_epoch, self.stopped = progress["best_epoch"], progress["stopped"]

    def on_train_epoch_start(self, trainer: Trainer, task: DetectorModule) -> None:  # type: ignore[override]
        self._since, self._losses = time.monotonic(), []
        if task.place(0) == 0 and task.step:
            self._save(trainer, task, trainer.current_epoch, 0)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, task: DetectorModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        del outputs, batch
        last = batch_idx + 1 == trainer.num_training_batches
        self._place = None
        if (batch_idx + 1) % task.recipe.accumulate and not last:
            return
        task.step += 1
        self._place = None if last else (trainer.current_epoch, task.place(batch_idx) + 1)
        if task.average is not None:
            task.average.update_parameters(task.model)
        parts, task.parts = task.parts, []
        row = {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}
        row["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        self._losses.append(row["loss"])
        if trainer.is_global_zero:
            self.run.log(self.run.steps, {"step": task.step, "epoch": trainer.current_epoch, **row})
            if self.tracker is not None:
                self.tracker.log(task.step, {f"train/{name}": value for name, value in row.items()})
        if task.step % self.every == 0 and self._place is not None:
            self._save(trainer, task, *self._place)

    def on_validation_end(self, trainer: Trainer, task: DetectorModule) -> None:  # type: ignore[override]
        figures, epoch = task.figures, trainer.current_epoch
        value = (figures["val/auc_video"] or 0.0, -(figures["val/loss"] or 0.0))
        better = self.best is None or value > self.best
        if better:
            self.best, self.best_epoch = value, epoch
        patience = task.recipe.early_stop
        if patience is not None and epoch - self.best_epoch >= patience:
            self.stopped = trainer.should_stop = True
        if not trainer.is_global_zero:
            return
        if better:
            checkpoint.save(self.run.best, self._weights(task, epoch=epoch))
        self.run.log(self.run.epochs, {"step": task.step, "epoch": epoch, **figures})
        if self.tracker is not None:
            self.tracker.log(task.step, figures)
            self.tracker.flush()
        self.say(self._line(task, epoch, better))

    def on_train_end(self, trainer: Trainer, task: DetectorModule) -> None:  # type: ignore[override]
        self._save(trainer, task, trainer.current_epoch, 0)

    def on_exception(self, trainer: Trainer, task: DetectorModule, exception: BaseException) -> None:  # type: ignore[override]
        if isinstance(exception, SIGTERMException) and self._place is not None:  # it comes between two batches
            self._save(trainer, task, *self._place)
        if isinstance(exception, NotANumberError) and trainer.is_global_zero:
            found = {"step": exception.step, "epoch": exception.epoch, "sample_ids": list(exception.sample_ids)}
            folder.write_json(self.run.path / "failure.json", found)

    def _line(self, task: DetectorModule, epoch: int, better: bool) -> str:
        figures = task.figures
        loss = f"loss {sum(self._losses) / len(self._losses):.4f}, " if self._losses else ""
        frame, video = (_shown(figures[f"val/auc_{level}"]) for level in ("frame", "video"))
        others = ", ".join(
            f"{name.rpartition('/')[2]} {_shown(value)}"
            for name, value in figures.items()
            if name[:15] == "other/auc_video"
        )
        stop = f"; no better figure for {task.recipe.early_stop} epochs: stopped" if self.stopped else ""
        return (
            f"epoch {epoch + 1} of {task.recipe.epochs}, step {task.step}: {loss}val loss {figures['val/loss']:.4f}, "
            f"val AUC {frame} by frame, {video} by video{' (best so far)' if better else ''}"
            f"{f'; others by video: {others}' if others else ''}; {time.monotonic() - self._since:.0f} s{stop}"
        )

    def _weights(self, task: DetectorModule, *, epoch: int) -> dict[str, Any]:
        return {
            "recipe": task.recipe.model_dump(mode="json"),
            "datasets": list(task.material.datasets),
            "versions": folder.versions(),
            "epoch": epoch,
            "step": task.step,
            "figures": task.figures,
            "model": task.model.state_dict(),
            "loss": task.loss.state_dict(),
            "average": task.average.module.state_dict() if task.average is not None else None,
        }

    def _save(self, trainer: Trainer, task: DetectorModule, epoch: int, position: int) -> None:
        """last.ckpt; ``epoch`` and ``position`` are where to go on."""
        if not trainer.is_global_zero:
            return
        assert task.schedule is not None
        loader = task.train_loader()
        place = loader.state_dict() | {"epoch": epoch, "position": position}
        progress = {"best": self.best, "best_epoch": self.best_epoch, "stopped": self.stopped}
        state = self._weights(task, epoch=epoch) | {
            "optimiser": trainer.optimizers[0].state_dict(),
            "schedule": task.schedule.scheduler.state_dict(),
            "scaler": trainer.precision_plugin.state_dict(),
            "updates": int(task.average.n_averaged) if task.average is not None else 0,
            "place": place,
            "progress": progress,
        }
        if self.tracker is not None:
            self.tracker.flush()
        checkpoint.save(self.run.last, state)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
