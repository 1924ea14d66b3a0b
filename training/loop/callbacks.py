"""The recorder of a run: metrics, checkpoints, the best weights, and early stopping."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from semblance.manifests.errors import NotANumberError
from semblance.training.loop.module import DetectorModule
from semblance.training.loop.signals import StopSignal
from semblance.training.models import tuned
from semblance.training.runs import checkpoint, folder
from semblance.training.runs.folder import RunDir
from semblance.training.runs.tracking import Tracker


class RunRecorder(Callback):
    """Writes the run folder on rank 0 only; decides on all ranks, from figures that all of them have.

    ``save_every``: optimiser steps between two saves of last.ckpt inside an epoch; it is also saved after each epoch.
    ``log_every``: steps whose losses are fetched from the device together. They are written then, and checked: so a
    loss that is not a number ends the run some steps late. Before every checkpoint and validation all are checked.
    """

    tracker: Tracker | None = None

    def __init__(self, run: RunDir, *, save_every: int, say: Callable[[str], None], log_every: int = 1) -> None:
        self.run, self.save_every, self.log_every, self.say = run, save_every, log_every, say
        self.best: tuple[float, float] | None = None  # on val: AUC by video (0 without labels), and the negative loss
        self.best_epoch = -1
        self.stopped = False
        self._started = time.monotonic()
        self._losses: list[float] = []
        self._stop = StopSignal()
        # epoch and position to resume from, if the last batch ended an optimiser step; None otherwise
        self._resume_at: tuple[int, int] | None = None

    def restore(self, progress: dict[str, Any]) -> None:
        """Take over the ``progress`` of a last.ckpt."""
        self.best = tuple(progress["best"]) if progress["best"] is not None else None
        self.best_epoch, self.stopped = progress["best_epoch"], progress["stopped"]

    def on_train_start(self, trainer: Trainer, module: DetectorModule) -> None:  # type: ignore[override]
        del module
        if trainer.world_size > 1:
            self._stop.listen(trainer)

    def on_train_epoch_start(self, trainer: Trainer, module: DetectorModule) -> None:  # type: ignore[override]
        self._started, self._losses = time.monotonic(), []
        if module.position(0) == 0 and module.step:
            self._save(trainer, module, trainer.current_epoch, 0)
            self._stop.obey(trainer)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, module: DetectorModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        del outputs, batch
        last = batch_idx + 1 == trainer.num_training_batches
        self._resume_at = None
        if (batch_idx + 1) % module.recipe.accumulate and not last:
            return
        module.close_step(lr=trainer.optimizers[0].param_groups[0]["lr"])
        self._resume_at = None if last else (trainer.current_epoch, module.position(batch_idx) + 1)
        saves = module.step % self.save_every == 0 and self._resume_at is not None
        if last or saves or module.step % self.log_every == 0:
            self._pull(trainer, module, weights=last or saves)
        if saves and self._resume_at is not None:
            self._save(trainer, module, *self._resume_at)
        if self._resume_at is not None:
            self._stop.obey(trainer)

    def _pull(self, trainer: Trainer, module: DetectorModule, *, weights: bool) -> None:
        """Write the rows of the last steps, on all ranks together; raises NotANumberError, see ``Ledger.pull``.

        ``weights``: looks at them too, as before every checkpoint and validation.
        """
        rows = module.ledger.pull(module.weights() if weights else (), asked=self._stop.asked)
        self._stop.agreed = module.ledger.asked > 0
        for row in rows:
            if row["loss"] is not None and "skipped" not in row:
                self._losses.append(row["loss"])
            if trainer.is_global_zero:
                self.run.log(self.run.steps, row)
                if self.tracker is not None:
                    figures = {name: value for name, value in row.items() if name not in ("step", "epoch")}
                    known = {f"train/{name}": float(one) for name, one in figures.items() if one is not None}
                    self.tracker.log(row["step"], known)

    def on_validation_end(self, trainer: Trainer, module: DetectorModule) -> None:  # type: ignore[override]
        figures, epoch = module.figures, trainer.current_epoch
        value = (figures.get("val/auc_video") or 0.0, -(figures["val/loss"] or 0.0))
        better = self.best is None or value > self.best
        if better:
            self.best, self.best_epoch = value, epoch
        patience = module.recipe.early_stop
        if patience is not None and epoch - self.best_epoch >= patience:
            self.stopped = trainer.should_stop = True
        if not trainer.is_global_zero:
            return
        if better:
            checkpoint.save(self.run.best, self._weights(module, epoch=epoch))
        self.run.log(self.run.epochs, {"step": module.step, "epoch": epoch, **figures})
        if self.tracker is not None:
            self.tracker.log(module.step, figures)
            self.tracker.flush()
        self.say(self._progress(module, epoch, better))

    def on_train_end(self, trainer: Trainer, module: DetectorModule) -> None:  # type: ignore[override]
        self._save(trainer, module, trainer.current_epoch, 0)

    def on_exception(self, trainer: Trainer, module: DetectorModule, exception: BaseException) -> None:  # type: ignore[override]
        if isinstance(exception, SIGTERMException) and self._resume_at is not None:  # raised between two batches
            self._save_at_signal(trainer, module, *self._resume_at)
        if isinstance(exception, NotANumberError) and trainer.is_global_zero:
            failure = {"step": exception.step, "epoch": exception.epoch, "sample_ids": list(exception.sample_ids)}
            folder.write_json(self.run.path / "failure.json", failure)

    def _save_at_signal(self, trainer: Trainer, module: DetectorModule, epoch: int, position: int) -> None:
        """Save the current step, if it is sound. Ranks that did not stop together ask each other nothing."""
        if trainer.world_size > 1 and (module.ledger or not self._stop.agreed):
            return
        with contextlib.suppress(NotANumberError):
            self._pull(trainer, module, weights=True)
            self._save(trainer, module, epoch, position)

    def _progress(self, module: DetectorModule, epoch: int, better: bool) -> str:
        figures, labelled = module.figures, module.recipe.regime.labelled
        loss = f"train loss {sum(self._losses) / len(self._losses):.4f}, " if self._losses else ""
        scores = ""
        if labelled:
            frame, video = (_format(figures[f"val/auc_{level}"]) for level in ("frame", "video"))
            scores = f", val AUC {frame} by frame, {video} by video"
        told = ("val/loss", "val/auc_frame", "val/auc_video")
        own = [name for name in figures if name.count("/") == 1 and name.startswith("val/") and name not in told]
        scores += "".join(f", val {name[4:].replace('_', ' ')} {_format(figures[name])}" for name in own)
        others = ", ".join(
            f"{name.rpartition('/')[2]} {_format(value)}"
            for name, value in figures.items()
            if name[:15] == "other/auc_video"
        )
        stop = f"; stopped: no better epoch in the last {module.recipe.early_stop}" if self.stopped else ""
        return (
            f"epoch {epoch + 1} of {module.recipe.epochs}, step {module.step}: "
            f"{loss}val loss {figures['val/loss']:.4f}{scores}"
            f"{' (best so far)' if better else ''}"
            f"{f'; others by video: {others}' if others else ''}; {time.monotonic() - self._started:.0f} s{stop}"
        )

    def _weights(self, module: DetectorModule, *, epoch: int) -> dict[str, Any]:
        model, average = module.model, module.average
        return {
            "recipe": module.recipe.model_dump(mode="json"),
            "datasets": list(module.data.datasets),
            "seen": module.data.seen.state() if module.data.seen is not None else None,
            "versions": folder.versions(),
            "epoch": epoch,
            "step": module.step,
            "figures": module.figures,
            "model": tuned.kept(model, model.state_dict()),
            "loss": module.loss.state_dict(),
            "regime": module.regime.state_dict(),
            "sources": dict(module.sources),
            "average": tuned.kept(model, average.module.state_dict()) if average is not None else None,
            "licence": model.licence,
            "base": asdict(model.base) if model.base is not None else None,
        }

    def _save(self, trainer: Trainer, module: DetectorModule, epoch: int, position: int) -> None:
        """Write last.ckpt; a resumed run starts at ``epoch`` and ``position``."""
        if not trainer.is_global_zero:
            return
        assert module.schedule is not None
        loader = module.train_loader()
        place = loader.state_dict() | {"epoch": epoch, "position": position}
        progress = {"best": self.best, "best_epoch": self.best_epoch, "stopped": self.stopped}
        state = self._weights(module, epoch=epoch) | {
            "optimiser": trainer.optimizers[0].state_dict(),
            "schedule": module.schedule.scheduler.state_dict(),
            "scaler": trainer.precision_plugin.state_dict(),
            "updates": module.average.updates if module.average is not None else 0,
            "place": place,
            "progress": progress,
        }
        if self.tracker is not None:
            self.tracker.flush()
        checkpoint.save(self.run.last, state)


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
